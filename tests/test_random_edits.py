"""Edits by chance of packages that no one here wrote: what is planned in place becomes as a fresh start, up and down."""

from __future__ import annotations

import difflib
import random
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import pytest

from code_server_helpers import Interpreter
from conftest import Count
from random_trials import Package, Trial

SMALL = ("blinker", "h11")
OTHERS = (
    *("priority", "itsdangerous", "hyperframe", "attrs", "click", "flask", "h2", "hpack", "humanize"),
    *("hypercorn", "idna", "iniconfig", "jinja2", "markdown-it-py", "packaging", "pathspec", "pluggy"),
    *("sortedcontainers", "starlette", "toolz", "werkzeug", "wsproto"),
)
"""Those that drills try as well."""

PACKAGES = [*SMALL, *(pytest.param(name, marks=pytest.mark.drill) for name in OTHERS)]


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("name", PACKAGES)
def test_edits_by_chance_are_as_fresh_starts(tmp_path: Path, interpreter: Interpreter, count: Count, name: str) -> None:
    """What the plan puts in place is in all that can be seen and called as in a fresh start, and so is the way back."""
    with ExitStack() as cleanup:
        package = Package(name, tmp_path, interpreter, cleanup)
        tried = map(package.tried, package.edits(random.Random(name)))
        trials = list(islice((each for each in tried if not each.problem), count(6, 14)))
        wrong = [described(package, each) for each in trials if each.differences or each.refused]

    assert not wrong, "\n\n".join(wrong)


def described(package: Package, trial: Trial) -> str:
    """An edit as a patch, and what came of it."""
    files = trial.edit.files
    patch = [
        line
        for path in trial.edit.where
        for line in difflib.unified_diff(
            package.files.get(path, "").split("\n"), files.get(path, "").split("\n"), path, path, lineterm=""
        )
    ]
    return "\n".join(
        [f"{', '.join(trial.edit.kinds)}: {trial.up}, {trial.down}", *patch, *trial.refused, *trial.differences]
    )
