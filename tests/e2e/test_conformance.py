"""Releases of packages that no one here wrote, upgraded and judged by their own tests: one of what ``make conformance`` tries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BENCH = REPOSITORY / "bench/conformance"
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

IN_PLACE = {"itsdangerous-2.1.1-2.1.2"}
NAMED = {
    *(
        "click",
        "jinja2",
        "werkzeug",
        "starlette",
        "fastapi",
        "httpx",
        "h11",
        "attrs",
        "marshmallow",
        "requests",
        "networkx",
    ),
}
"""Packages that the table has to have, whatever the rule."""


def test_what_passes_in_a_fresh_start_passes_after_an_upgrade_in_place(tmp_path: Path) -> None:
    """The tests of the newer release, in a process that was the older one; they tell both apart, or call what has changed."""
    found = tmp_path / "found.json"
    command: list[str | Path] = [
        sys.executable,
        BENCH,
        "--only",
        *sorted(IN_PLACE),
        "--cache",
        tmp_path / "cache",
        "--json",
        found,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd=REPOSITORY)

    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = json.loads(found.read_text(encoding="utf-8"))
    assert {each["name"]: each["class"] for each in outcomes} == dict.fromkeys(IN_PLACE, "in place")
    assert all(each["upgraded"] == each["fresh"] > 50 and each["counts"] and each["pause"] for each in outcomes)


def test_the_table_has_enough_pairs_of_enough_packages() -> None:
    """Each of neighbours, with the digests of all that is fetched."""
    rows = json.loads((BENCH / "pairs.json").read_text(encoding="utf-8"))
    packages = {row["package"] for row in rows}

    assert len(rows) >= 40
    assert len(packages) >= 20
    assert packages >= NAMED
    assert all(len(digest) == 64 for row in rows for digest in (row["source"]["sha256"], *row["wheels"].values()))


def test_a_function_has_changed_where_it_does_something_else(tmp_path: Path) -> None:
    """Not where it has moved."""
    texts = {
        "old": "def f(): return 1\nclass A:\n    def m(self): return 1\n",
        "new": "\n\nX = 1\nclass A:\n    def m(self): return 2\n    def n(self): return [lambda: 3]\ndef f(): return 1\n",
    }
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text(text, encoding="utf-8")
    code = "import sys; from pathlib import Path; from conformance.changed import changed_functions\n"
    code += "print(sorted(changed_functions(*map(Path, sys.argv[1:]))))"
    command: list[str | Path] = [sys.executable, "-c", code, tmp_path / "old", tmp_path / "new"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=BENCH.parent)

    assert done.stdout == "['a.py:A.m', 'a.py:A.n', 'a.py:A.n.<locals>.<lambda>']\n", done.stderr
