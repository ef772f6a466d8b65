"""``python -m underway_runtime.observation PARENT ROOT VERSION OUT SCRATCH``: write the picture of a release, as the build asks for it.

PARENT is who asks, by its process id: this process and its imports end with it. ROOT is the release's directory, OUT the file to write,
SCRATCH an empty directory. Standard output gets one object of JSON: ``missing``,
``outside``, ``noise``, ``opaque``, ``nodes``, ``seconds``. The status is 1 where nothing can be seen, with the reason on standard error.

What one of the processes does not need it does not import: an import here is one in each of three interpreters.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
from pathlib import Path

from ..release.directory import ReleaseDirectory
from ..release.errors import UnderwayError

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Do what the command line asks for; the exit status of the process."""
    parent, *arguments = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        return 1  # it has ended before this process could ask to end with it
    if arguments == ["import"]:
        from . import importing

        importing.run(importing.task_of(sys.stdin.read()))
    return write(*arguments)


def write(root: str, version: str, out: str, scratch: str) -> int:
    """Take the picture and write it; the exit status."""
    from . import columns, encoded, sandbox

    gc.disable()  # it keeps all that it makes, and does not run for long
    directory = Path(root)
    environ = {"RELEASE_ROOT": root, "RELEASE_VSN": version}
    try:
        modules = sandbox.preloaded(ReleaseDirectory(directory), version)
        observed = sandbox.observe(modules, directory, Path(scratch), environ=environ)
    except (UnderwayError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    seen = observed.document
    Path(out).write_bytes(encoded.pack(seen))
    report = {
        "missing": seen["missing"],
        "outside": seen["outside"],
        "noise": len(seen["noise"]),
        "opaque": columns.opaque_types(seen),
        "nodes": len(seen["flags"]),
        "seconds": round(observed.seconds, 2),
        "output": observed.output,
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
