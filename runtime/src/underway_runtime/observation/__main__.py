"""``python -m underway_runtime.observation PARENT ROOT VERSION OUT SCRATCH``: write the picture of a release, as the build asks for it.

PARENT is who asks, by its process id: this process and its imports end with it. ROOT is the release's directory, OUT the file to write,
SCRATCH an empty directory. Standard output gets one object of JSON: ``missing``,
``outside``, ``noise``, ``opaque``, ``nodes``, ``seconds``. The status is 1 where nothing can be seen, with the reason on standard error.
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
from . import encoded, importing, sandbox

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Do what the command line asks for; the exit status of the process."""
    parent, *arguments = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        return 1  # it has ended before this process could ask to end with it
    if arguments == ["import"]:
        importing.run(importing.task_of(sys.stdin.read()))
    gc.disable()  # it keeps all that it makes, and does not run for long
    root, version, out, scratch = arguments
    place = Path(root)
    environ = {"RELEASE_ROOT": root, "RELEASE_VSN": version}
    try:
        modules = sandbox.preloaded(ReleaseDirectory(place), version)
        observed = sandbox.observe(modules, place, Path(scratch), environ=environ)
    except (UnderwayError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    Path(out).write_bytes(encoded.dump(observed.observation))
    seen = observed.observation.picture
    report = {
        "missing": dict(seen.missing),
        "outside": {kind: list(lines) for kind, lines in observed.observation.outside.items()},
        "noise": len(seen.noise),
        "opaque": sorted({seen.nodes[number].type for number in seen.opaque}),
        "nodes": len(seen.nodes),
        "seconds": round(observed.seconds, 2),
        "output": observed.output,
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
