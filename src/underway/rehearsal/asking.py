"""What asks the service: a file of traffic, or a function of the project's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from underway_runtime.release.references import is_reference

from ..errors import BuildError, ProjectError
from .player import Deadline, play
from .rehearsal import Ask
from .traffic import read

LONGEST = 600.0
"""Seconds that one call of a function may take, where the rehearsal has as much left."""

_PROGRAM = """\
import json, pkgutil, sys
reference, paths, urls = json.loads(sys.argv[1])
sys.path[:0] = paths
print("\\n" + json.dumps(pkgutil.resolve_name(reference)(*urls)))
"""


def asking(word: str, root: Path) -> Ask:
    """Who asks as a word of the command line says: the path of a file, or ``module:function`` of the project at `root`.

    A function is given the URL of each address, ``http://127.0.0.1:41234``, and returns what is compared, as JSON can say it. It runs in
    the project's virtual environment, if there is one. Raises ProjectError for what is neither.
    """
    file = Path(word)
    if file.is_file():
        exchanges = read(file)
        return lambda addresses, deadline: play(exchanges, addresses[0], deadline)
    if not is_reference(word):
        raise ProjectError(
            f'{word} is not a file of traffic, and not "module:function"; `underway record` makes such a file'
        )
    return lambda addresses, deadline: _call(word, root, addresses, deadline)


def _call(reference: str, root: Path, addresses: Sequence[tuple[str, int]], deadline: Deadline) -> list[Any]:
    of_project = root / ".venv/bin/python"
    python = of_project if of_project.is_file() else Path(sys.executable)
    urls = [f"http://{host}:{port}" for host, port in addresses]
    task = json.dumps([reference, [str(root / "src"), str(root)], urls])
    try:
        done = subprocess.run(
            [python, "-P", "-B", "-c", _PROGRAM, task],
            cwd=root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=deadline.left(LONGEST),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"{reference} takes too long") from None
    if done.returncode != 0:
        raise BuildError(f"{reference} failed:\n{done.stderr.strip()}")
    answer: Any = json.loads(done.stdout.rstrip("\n").rpartition("\n")[2])
    return answer if isinstance(answer, list) else [answer]
