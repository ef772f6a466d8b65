"""What a plan costs: against the definitions that change, and against all the code of the release; and where it is tried, with that.

Releases of made-up distributions are built, with their pictures, and planned in turn; processor time is that of all processes.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from _charts import Bar, Panel, draw
from _measure import PLOTS, TOOLS, rounds, run

sys.path[:0] = [str(Path(__file__).parents[1] / "tests/support")]

from wheels import locked_project, write_wheel  # noqa: E402

MODULES, FUNCTIONS = 10, 20
"""Of each distribution."""

SIZES = (15, 30, 60, 120)
CHANGES = (1, 10, 100, 1000)
USUAL = 60
"""Distributions where the number of changes is what varies."""

AIM = 2.0
"""Seconds of processor time."""

MODULE = '''\
"""A module."""
from __future__ import annotations

VERSION = "{version}"
HANDLERS = {{}}

class Application:
    """What is told of its version once."""

    def __init__(self, version: str) -> None:
        self.version, self.rooms = version, []

def handles(name):
    """Put a function into the table."""
    def put(function):
        HANDLERS[name] = function
        return function
    return put

{application}
'''

FUNCTION = '''
@handles("{name}")
def {name}(first: int, second: int = {number}) -> int:
    """Add it up."""
    total = first + {constant}
    for each in range(second):
        total += each * {number}
    return total
'''


@dataclass(frozen=True)
class Case:
    """Two releases of so many distributions, in which so many functions differ."""

    distributions: int
    changed: int
    tried: bool = False
    """Whether an object is made of what changes, so that sources do not tell what becomes of it."""

    def build(self, place: Path, version: str) -> Path:
        """Build one of the two; its root."""
        newer = version != "1.0"
        wheels = [self._wheel(place, number, newer) for number in range(self.distributions)]
        names = [f"bench_part{number}" for number in range(self.distributions)]
        main = "".join(f"import {name}\n" for name in names) + "def main() -> None: ...\n"
        wheels.append(
            write_wheel(place / "wheels", "bench_shop", {"bench_shop.py": main}, version=version, requires=names)
        )
        project = locked_project(place / "project", wheels)
        text = (project / "pyproject.toml").read_text().replace('version = "1"', f'version = "{version}"')
        (project / "pyproject.toml").write_text(
            f'{text}\n[tool.underway]\nmain = "bench_shop:main"\nsteps = ["underway.steps:assemble"]\n'
        )
        run(
            TOOLS / "underway",
            "release",
            "--quiet",
            "--python",
            sys.executable,
            "--path",
            place / "release",
            cwd=project,
        )
        return place / "release"

    def _wheel(self, place: Path, number: int, newer: bool) -> Path:
        first = number * MODULES * FUNCTIONS
        changed = min(max(self.changed - first, 0), MODULES * FUNCTIONS) if newer else 0
        version = "1.1" if changed else "1.0"
        modules = {f"bench_part{number}/m{m}.py": self._module(m, changed, version) for m in range(MODULES)}
        everything = f"from . import {', '.join(f'm{m}' for m in range(MODULES))}\n"
        files = {f"bench_part{number}/__init__.py": everything, **modules}
        return write_wheel(place / "wheels", f"bench_part{number}", files, version=version)

    def _module(self, number: int, changed: int, version: str) -> str:
        application = "APPLICATION = Application(VERSION)" if self.tried and not number else ""
        return MODULE.format(version=version if not number else "1", application=application) + "".join(
            FUNCTION.format(name=f"f{n}", number=n, constant=n + (1000 if number * FUNCTIONS + n < changed else 0))
            for n in range(FUNCTIONS)
        )


def cost(old: Path, new: Path) -> tuple[float, str]:
    """Seconds of processor time that a plan takes, and its verdict."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    verdict = os.path.join(new.parent, "verdict.json")
    run("sh", "-c", f'"{TOOLS / "underway"}" plan "{old}" "{new}" --json > "{verdict}"', cwd=new.parent)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, json.loads(Path(verdict).read_text())["verdict"]


def main() -> None:
    """Print a table and draw a chart."""
    usual = [Case(USUAL, changed) for changed in CHANGES]
    sizes = [Case(size, 1) for size in SIZES]
    tried = [Case(size, 1, tried=True) for size in SIZES]
    found: dict[Case, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="underway-bench-") as scratch:
        pairs = {}
        for case in dict.fromkeys([*usual, *sizes, *tried]):
            place = Path(scratch, f"{case.distributions}-{case.changed}-{case.tried}")
            pairs[case] = [case.build(place / version, version) for version in ("1.0", "1.1")]
            shutil.rmtree(place / "1.0/wheels")
        for _ in range(rounds(3)):
            for case, (old, new) in pairs.items():
                seconds, verdict = cost(old, new)
                found.setdefault(case, []).append(seconds)
                if verdict != "HOT":
                    sys.exit(f"{case} is planned {verdict}")
    titles = (
        (f"definitions that change, of {USUAL * MODULES * FUNCTIONS} in {USUAL} distributions", usual, "changed"),
        ("distributions, of which one changes in one definition", sizes, "distributions"),
        ("distributions, of which one changes, with a trial of what import makes of it", tried, "distributions"),
    )
    panels = []
    for title, cases, by in titles:
        print(f"\n{title}: seconds of processor time")
        bars = []
        for case in cases:
            label, middle = str(getattr(case, by)), median(found[case])
            print(f"  {label:>6}  {middle:6.2f}")
            bars.append(Bar(label, found[case], f"{middle:.2f} s", ours=True))
        panels.append(Panel(title, bars, AIM))
    PLOTS.mkdir(parents=True, exist_ok=True)
    foot = f"{os.cpu_count()} processors, Python {sys.version.split()[0]}; both ways between two releases, all processes together."
    (PLOTS / "planner.svg").write_text(draw("The cost of a plan", foot, panels), encoding="utf-8")
    print(f"  {PLOTS / 'planner.svg'}")


if __name__ == "__main__":
    main()
