"""Packages that no one here wrote, edited by chance: what the plan says of an edit, and what a process becomes by it."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import random_bodies
import random_definitions
import random_modules
from census import LATE
from code_server_helpers import REPOSITORY, RUNTIME, Distribution, Interpreter, compile_all
from fresh import differences
from pairs_layout import Library, compiled_library, version_of
from random_edits import Edit, edit
from underway.planner.plan import plan
from underway.planner.releases import module_name, open_release
from underway_runtime.release.instruction_json import to_json
from underway_runtime.release.relup import Relup, RelupEntry

KINDS = (random_bodies, random_definitions, random_modules)
"""The modules that have entered their kinds of edits where `edit` draws from."""
TIMEOUT = 300
"""Seconds that one process may take with one task."""
PROCESS = Path(__file__).with_name("random_process.py")
MADE = ("instances", "methods")
"""What looks tell of instances."""
LEFT_OUT = re.compile(r"(^|/)(__main__|conftest)\.py$|(^|/)tests?/")
"""Files of a package that nobody imports."""


@dataclass
class Trial:
    """What became of one edit."""

    package: str
    edit: Edit
    up: str
    """The verdict of the plan, as that of the way back."""
    down: str = ""
    problem: str = ""
    """Why its version can't be started: such an edit tells nothing."""
    reasons: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """What was in the way though no instances were held any longer."""
    differences: list[str] = field(default_factory=list)


class Package:
    """A distribution of this environment, as version 1 of a release, with versions of it that are edited."""

    def __init__(self, name: str, root: Path, interpreter: Interpreter, cleanup: ExitStack) -> None:
        self.name, self.root, self._interpreter, self._cleanup = name, root, interpreter, cleanup
        self.files = sources_of(name)
        self._last = 1
        self._library = self._laid_out()
        self._add(1, self.files)
        self._first = _Process(self, 1, cleanup)

    def _laid_out(self) -> Library | None:
        lib = self.root / "lib"
        lib.mkdir(parents=True)
        (lib / RUNTIME).symlink_to(self._interpreter.runtime)
        (self.root / self._interpreter.directory.name).symlink_to(self._interpreter.directory)
        others = sorted(requirements(self.name))
        if not others:
            return None
        third = lib / "third-1.0"
        for each in others:
            for file in metadata.distribution(each).files or ():
                if ".." not in file.parts and "__pycache__" not in file.parts:
                    (third / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file.locate(), third / file)
        compile_all(self._interpreter, third)
        return compiled_library(third)

    def _add(self, number: int, files: Mapping[str, str]) -> None:
        distribution = Distribution(self.name.replace("-", "_"), f"{number}.0", files)
        place = self.root / "lib" / distribution.directory
        distribution.install(place)
        compile_all(self._interpreter, place)
        version_of(self.root, str(number), [distribution], self._interpreter, self._library)

    def modules(self, files: Iterable[str]) -> list[str]:
        return [name for path in sorted(files) if (name := module_name(path)) and not LEFT_OUT.search(path)]

    def tried(self, changed: Edit) -> Trial:
        """Plan an edit, and become it and version 1 again as far as the plan allows; compared with fresh starts."""
        self._last += 1
        number = self._last
        self._add(number, changed.files)
        made = self._planned(number)
        up, down = made.up[0], made.down[0]
        trial = Trial(self.name, changed, up.verdict, down.verdict, reasons=[*_reasons(up)])
        if up.verdict in ("RESTART", "REFUSE"):
            return trial
        with ExitStack() as cleanup:
            fresh = _Process(self, number, cleanup)
            if fresh.problems.keys() - self._first.problems.keys():
                trial.problem = str(fresh.problems)
                return trial
            steps = [fresh.modules | _step(number, up)]
            if down.verdict not in ("RESTART", "REFUSE"):
                steps.append(self._first.modules | _step(1, down))
            told = self._first.ask(steps)
            if told.get("refused"):  # a process that has instances may be handed over
                told = self._first.ask(steps, held=False)
            trial.refused = told.get("refused", [])
            for way, version, process, one in zip(
                ("up", "down"), (number, 1), (fresh, self._first), told["looks"], strict=False
            ):
                found = [line for line in _unlike(one, process.look) if not _stays(line, process.state)]
                if found:
                    other = _Process(self, version, cleanup, seed=7)
                    noise = {*map(_path, _unlike(other.look, process.look))}
                    found = [line for line in found if _path(line) not in noise]
                trial.differences += [f"{way} {line}" for line in found]
        return trial

    def _planned(self, number: int) -> Relup:
        with ExitStack() as cleanup:
            old, new = (open_release(self.root / f"releases/{each}", cleanup) for each in (1, number))
            return plan(new, [old], [old])

    def edits(self, chance: random.Random) -> Iterator[Edit]:
        """Edits without end, each of version 1; one in four is of two at once."""
        while True:
            yield edit(self.files, chance, 2 if chance.random() < 0.25 else 1)


class _Process:
    """A process of a version, that is asked."""

    def __init__(self, package: Package, number: int, cleanup: ExitStack, seed: int = 1) -> None:
        python = package.root / f"releases/{number}/bin/python"
        work = package.root / "work"
        work.mkdir(exist_ok=True)
        environ = {
            "PYTHONPATH": str(Path(__file__).parent),
            "BENCH": str(REPOSITORY / "bench"),
            "PYTHONHASHSEED": str(seed),
            "HOME": str(work),
            "PATH": "/usr/bin:/bin",
        }
        self._process = cleanup.enter_context(
            subprocess.Popen(
                [python, "-B", "-W", "ignore", PROCESS],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environ,
                cwd=work,
            )
        )
        cleanup.callback(self._process.kill)
        home = package.root / "lib" / Distribution(package.name.replace("-", "_"), f"{number}.0").directory
        modules = package.modules([file.relative_to(home).as_posix() for file in home.rglob("*.py")])
        self.modules = {"modules": modules}
        first = self._ask({"modules": modules, "top": modules[0].partition(".")[0]})
        self.problems: dict[str, str] = first["problems"]
        self._imported = {"modules": first["imported"]}

    @cached_property
    def look(self) -> dict[str, Any]:
        """What all is and does that is as it was imported."""
        found: dict[str, Any] = self.ask([self.modules])["looks"][0]
        return found

    @cached_property
    def state(self) -> tuple[str, ...]:
        """Where modules have something else once they were used: what is there is the process's own, whatever version it is of."""
        return tuple(_path(line) for line in differences(self._imported, {"modules": self.look["modules"]}))

    def ask(self, steps: Sequence[Mapping[str, Any]], *, held: bool = True) -> dict[str, Any]:
        """What all is and does after each of some steps; what is done leaves no traces."""
        return self._ask({"steps": list(steps), "held": held})

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(question)}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer


def _unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Where two looks differ; nothing is told of what can be made in one version alone, or took too long."""

    def common(look: Mapping[str, Any], of: Mapping[str, Any]) -> dict[str, Any]:
        names = {key: value.keys() & of[key].keys() if key in MADE else value.keys() for key, value in look.items()}
        return {
            key: {
                name: each
                for name, each in value.items()
                if name in names[key] and not _is_late(each, of[key].get(name))
            }
            for key, value in look.items()
        }

    return differences(common(one, other), common(other, one))


def _stays(difference: str, state: tuple[str, ...]) -> bool:
    """Whether it is what docs/explanation/upgrades.md says that stays: state, and annotations that are gone."""
    path = _path(difference)
    return path.startswith(state) or ("/__annotations__" in path and difference.endswith("| nothing"))


def _path(difference: str) -> str:
    return difference.partition(":")[0]


def _is_late(*results: Any) -> bool:
    """Whether calls took too long, which says how busy the machine is."""
    return any(isinstance(each, list) and LATE in each for each in results)


def _step(number: int, entry: RelupEntry) -> dict[str, Any]:
    return {"version": str(number), "instructions": [to_json(each) for each in entry.instructions]}


def _reasons(entry: RelupEntry) -> Iterator[str]:
    for row in entry.changes:
        if row.verdict in ("RESTART", "REFUSE"):
            yield f"{row.module}:{row.definition} {row.change}: {row.reason}"


def sources_of(name: str) -> dict[str, str]:
    """The files of a distribution that is installed here, by path; texts only."""
    found = {}
    for file in metadata.distribution(name).files or ():
        path = file.as_posix()
        if path.endswith(".py") and ".." not in file.parts and not LEFT_OUT.search(path):
            found[path] = Path(str(file.locate())).read_text(encoding="utf-8")
    return found


def requirements(name: str) -> set[str]:
    """The distributions that one needs, without extras and what is not installed."""
    found: set[str] = set()
    todo = [name]
    while todo:
        for line in metadata.requires(todo.pop()) or ():
            needed = re.split(r"[^\w.-]", line)[0]
            if "extra ==" in line or needed in found:
                continue
            try:
                metadata.distribution(needed)
            except metadata.PackageNotFoundError:
                continue
            found.add(needed)
            todo.append(needed)
    return found
