"""What the planner and the swap do with pairs of versions, each compared with a fresh start.

A directory of pairs has a directory for each::

    NAME/1/, NAME/2/, ...  the distribution ``shop`` in version 1, 2, ..., as it lies in site-packages; what is below ``NAME@/``
                           is another distribution, ``entry_points.txt`` is that of the metadata
    NAME/probe.py          ``setup()``: its state in the old version (``async def``: everything runs in one loop);
                           ``result(state)``: anything for JSON, in the upgraded process, and in a fresh one after its own setup;
                           ``leave(state)``: called while frames are inside what changes; ``WITHIN``: the seconds these have.
                           It finds ``tell(function, *arguments)``: the repr of what is returned, or the exception as text
    NAME/case.json         ``note``; ``if_restart``: whether a RESTART is ``needless`` or ``justified``, as a person sees it;
                           ``expect``, ``expect_down``: what is right where that is not what a fresh start has; ``third``: it needs
                           the libraries of requirements-pairs.txt

Each pair is laid out as a release, planned both ways, and upgraded and put back in one process as far as the plan allows. On the
way back it is asked a second time, and compared with a fresh start that was asked as often:

=========== ==========================================================================================
right       as the fresh start of the version that it has come to
wrong       something else
conditional the process has refused what the plan says in a row that it may: what lives, and can't become another
refused     the process has refused what was planned in place, and no row has said so
restart     the plan takes a fresh interpreter; needless or justified as the case says
error       the pair itself fails, in a fresh start too
=========== ==========================================================================================
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1] / "tests/support")]

from code_server_helpers import REPOSITORY, Interpreter, laid_out  # noqa: E402
from node_helpers import this_interpreter  # noqa: E402
from pairs_layout import Library, lay_out, library  # noqa: E402
from underway.planner.plan import plan  # noqa: E402
from underway.planner.releases import open_release  # noqa: E402
from underway_runtime.release.instruction_json import to_json  # noqa: E402
from underway_runtime.release.relup import RelupEntry  # noqa: E402

PROCESS = Path(__file__).with_name("_pairs_process.py")
REQUIREMENTS = Path(__file__).with_name("requirements-pairs.txt")
TIMEOUT = 90
"""Seconds that a process may take."""
REASONS = 3
"""Rows of the plan that are shown of a RESTART."""

RIGHT, WRONG, REFUSED, RESTART, ERROR = "right", "wrong", "refused", "restart", "error"
CONDITIONAL = "conditional"
CONDITIONS = ("removed", "closure", "begun", "loop", "state", "made", "kind")
"""The kinds of rows that say on what it depends whether a process can follow."""
CONDITION = re.compile(r"\bif\b.*\b(then|still)\b")
"""How other rows say it."""

EXPECTED: Mapping[str, Mapping[str, Any]] = {
    "cls-property-changes-setter-names": {
        "expect_down": ["1", "('A', 1)", "AttributeError: 'A' object has no attribute 'g'", "5"]
    }
}
"""What is right of pairs whose probe changes its own state, by what the newer version makes of it, and no fresh start has that.

The setter of the newer version has put 5 into the instance as ``w``; the older one has no such property, and finds it there.
"""


@dataclass
class Outcome:
    """What became of one pair."""

    name: str
    verdict: str
    """Of the plan, the severest of all steps up."""
    up: str
    down: str = ""
    judged: str = ""
    """Whether a RESTART is needless or justified."""
    reasons: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def title(self) -> str:
        """The line of the table that it is counted in."""
        what = self.down if self.up == RIGHT and self.down in (WRONG, REFUSED, CONDITIONAL) else self.up
        return f"{what}, {self.judged}" if what in (RESTART, REFUSED) else what


class Failed(Exception):
    """The pair can't be tried."""


def outcome(place: Path, scratch: Path, interpreter: Interpreter, third: Library | None) -> Outcome:
    """Plan a pair, upgrade a process by it and go back, and compare with fresh starts."""
    case: dict[str, Any] = json.loads((place / "case.json").read_text(encoding="utf-8")) | EXPECTED.get(place.name, {})
    found = Outcome(place.name, "", ERROR, judged=case.get("if_restart", ""), note=case.get("note", ""))
    try:
        _try(place, case, scratch / place.name, interpreter, third if case.get("third") else None, found)
    except Exception as error:  # one that can't be planned is an outcome, not the end of all others
        found.reasons = str(error).splitlines()[-REASONS:]
    finally:
        shutil.rmtree(scratch / place.name, ignore_errors=True)
    return found


def _try(
    place: Path, case: Mapping[str, Any], root: Path, interpreter: Interpreter, third: Library | None, found: Outcome
) -> None:
    if case.get("third") and third is None:
        raise Failed("it needs libraries: --third")
    numbers = sorted(each.name for each in place.iterdir() if each.name.isdigit())
    lay_out(root, place, numbers, interpreter, third)
    up, down = _planned(root, numbers)
    verdicts = [each.verdict for each in up]
    found.verdict = max(verdicts, key=("HOT", "MIGRATE", "RESTART", "REFUSE").index)
    if found.verdict in ("RESTART", "REFUSE"):
        found.up, found.reasons = RESTART, _reasons(up)
        return
    back = [] if any(each.verdict in ("RESTART", "REFUSE") for each in down) else down
    steps = [*_steps(numbers[1:], up), *_steps(numbers[-2::-1], back)]
    told = _run(root, numbers[0], place, steps)
    middle = len(numbers) - 1
    found.up = _judge(found, up, told[:middle], case.get("expect", _fresh(root, numbers[-1], place)))
    if found.up == RIGHT:
        if not back:
            found.down = RESTART
            found.reasons += [f"down: {each}" for each in _reasons(down)]
            return
        wanted = case["expect_down"] if "expect_down" in case else _fresh(root, numbers[0], place, len(told))
        found.down = _judge(found, down, told[middle:], wanted)


def _judge(found: Outcome, plans: Sequence[RelupEntry], told: list[Mapping[str, Any]], wanted: object) -> str:
    """What a way has come to, by what was planned, and what the process has told of its steps."""
    for each in told:
        if "refused" in each:
            found.reasons += each["refused"][:REASONS]
            return CONDITIONAL if all(_is_told(problem, plans) for problem in each["refused"]) else REFUSED
    if told[-1].get("result") == wanted:
        return RIGHT
    found.reasons.append(f"{json.dumps(told[-1].get('result'))[:300]} instead of {json.dumps(wanted)[:300]}")
    return WRONG


def _is_told(problem: str, plans: Iterable[RelupEntry]) -> bool:
    """Whether a row of the plan says of the definition that is in the way that it may be."""
    rows = [row for entry in plans for row in entry.changes if row.change in CONDITIONS or CONDITION.search(row.reason)]
    names = {f"{row.module}{mark}{row.definition}" for row in rows for mark in ".:"}
    return any(re.match(rf"{re.escape(name)}(?![\w.])", problem) for name in names)


def _reasons(entries: Iterable[RelupEntry]) -> list[str]:
    rows = [row for each in entries for row in each.changes if row.verdict in ("RESTART", "REFUSE")]
    lines = dict.fromkeys(f"{row.module}:{row.definition} {row.change}: {row.reason}" for row in rows)
    return list(lines)[:REASONS]


def _planned(root: Path, numbers: list[str]) -> tuple[list[RelupEntry], list[RelupEntry]]:
    """The ways from each version to the next one, and back from the last, in this order."""
    up: list[RelupEntry] = []
    down: list[RelupEntry] = []
    with ExitStack() as cleanup:
        opened = [open_release(root / "releases" / number, cleanup) for number in numbers]
        for old, new in pairwise(opened):
            made = plan(new, [old], [old])
            up += made.up
            down += made.down
    return up, down[::-1]


def _steps(numbers: Iterable[str], entries: Iterable[RelupEntry]) -> Iterator[dict[str, Any]]:
    for number, entry in zip(numbers, entries, strict=False):
        yield {"version": number, "instructions": [to_json(each) for each in entry.instructions]}


def _fresh(root: Path, number: str, place: Path, times: int = 1) -> object:
    """The result in a new process that was asked so many times."""
    return _run(root, number, place, [{}] * times)[-1].get("result")


def _run(root: Path, number: str, place: Path, steps: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
    """What the process tells after each step; one without instructions changes nothing. Raises Failed."""
    task = json.dumps({"probe": str(place / "probe.py"), "steps": steps})
    python = root / "releases" / number / "bin/python"
    try:
        done = subprocess.run(
            [python, "-B", PROCESS], input=task, capture_output=True, text=True, timeout=TIMEOUT, env={}, cwd=root
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"the process took more than {TIMEOUT} s") from None
    try:
        told: list[Mapping[str, Any]] = json.loads(done.stdout.rpartition("\n=== ")[2])
    except ValueError:
        raise Failed(f"status {done.returncode}: {done.stderr.strip() or done.stdout[-300:]}") from None
    return told


def main() -> int:
    """Print a table, the reasons of what is not right, and the totals; exit with 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path, help="the directory of the pairs")
    parser.add_argument("names", nargs="*", help="these alone")
    parser.add_argument("--json", type=Path, help="write all outcomes to this file")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--third", type=Path, help=f"where {REQUIREMENTS.name} is installed, by pip's --target")
    arguments = parser.parse_args()
    places = sorted(each.parent for each in arguments.directory.glob("*/case.json"))
    chosen = [each for each in places if not arguments.names or each.name in arguments.names]
    with tempfile.TemporaryDirectory(prefix="underway-pairs-") as scratch:
        os.environ["UNDERWAY_TESTS"] = scratch  # where the helpers of the tests put what they make once
        interpreter = laid_out(this_interpreter(), Path(scratch))
        third = library(arguments.third, interpreter) if arguments.third else None
        with ThreadPoolExecutor(arguments.jobs) as pool:
            found = []
            for each in pool.map(lambda place: outcome(place, Path(scratch), interpreter, third), chosen):
                found.append(each)
                print(f"{each.name}\t{each.verdict}\t{each.up}\t{each.down}\t{each.judged}", flush=True)
                if each.title != RIGHT:
                    print("".join(f"\t  {reason}\n" for reason in each.reasons), end="", flush=True)
    print(f"\n{len(found)} pairs, {REPOSITORY.name}")
    for title, count in sorted(Counter(each.title for each in found).items()):
        print(f"{count:5}  {title}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(each) | {"class": each.title} for each in found], indent=1) + "\n")
    return int(any(each.title in (WRONG, ERROR) for each in found))


if __name__ == "__main__":
    sys.exit(main())
