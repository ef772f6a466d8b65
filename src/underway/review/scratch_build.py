"""A project built into a directory of its own, to look at: by an interpreter of its own, since projects bring steps.

The parent asks with `built`, and the child answers. Two revisions of one step can't be imported into one process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..build.build import build
from ..build.plan import plan
from ..errors import BuildError, UnderwayError
from ..steps import TAR

_PROGRAM = """\
import json, sys
sys.path.insert(0, sys.argv[1])
from underway.review.scratch_build import answer
print(json.dumps(answer(json.load(sys.stdin))))
"""


_LOOKED_AT = {"quiet": True, "upgrade-from": []}
"""Options of what is built to be looked at."""


def built(root: Path, scratch: Path, name: str | None, overrides: Mapping[str, Any]) -> Path:
    """Build the release called `name` of the project at `root` below `scratch`, without an archive; returns its root.

    Raises BuildError with what the build said where it fails.
    """
    task = {"root": str(root), "name": name, "overrides": {**overrides, "path": str(scratch / "release"), **_LOOKED_AT}}
    done = subprocess.run(
        [sys.executable, "-P", "-B", "-c", _PROGRAM, str(Path(__file__).parents[2])],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
    )
    if done.returncode != 0:
        raise BuildError(done.stderr.strip() or f"the build ended with status {done.returncode}")
    outcome = json.loads(done.stdout.strip().rpartition("\n")[2])
    if "error" in outcome:
        raise BuildError(outcome["error"])
    return Path(outcome["path"])


def answer(task: Mapping[str, Any]) -> dict[str, str]:
    """Build what a task of `built` asks for; its path, or what was wrong, by the key ``path`` or ``error``."""
    try:
        planned = plan(Path(task["root"]), task["name"], task["overrides"])
        options = planned.definition.options
        steps = [step for step in options.steps if step != TAR]
        definition = replace(planned.definition, options=replace(options, steps=steps))
        return {"path": str(build(replace(planned, definition=definition)).release.path)}
    except UnderwayError as error:
        return {"error": str(error)}
