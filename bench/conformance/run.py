"""Tries pairs: plans each, upgrades a process, and compares what the tests of the newer version say there with a fresh start."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from code_server_helpers import Interpreter
from underway.planner.plan import plan
from underway.planner.releases import module_name, open_release
from underway_runtime.release.instruction_json import to_json
from underway_runtime.release.relup import RelupEntry

from . import sources
from .changed import changed_functions
from .layout import lay_out
from .sources import INSIDE, Pair

PROCESS = Path(__file__).with_name("process.py")
TIMEOUT = 900
"""Seconds that a process may take with all tests."""
EACH = 60
"""Seconds for one test."""
REASONS = 4
"""Rows of the plan, or tests, that the table shows of a pair."""

ENVIRONMENT = {"LANG": "C.UTF-8", "PYTHONHASHSEED": "1", "CI": "true", "TZ": "UTC"}

OPTIONS = (
    "-q",
    "--tb=short",
    f"--timeout={EACH}",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:randomly",
    "-o",
    "addopts=",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)

_NOT_ASKED = "not asked"

Told = Mapping[str, Any]


@dataclass
class Outcome:
    """What became of a pair."""

    name: str
    verdict: str = ""
    reasons: list[str] = field(default_factory=list)
    """Why it is not in place, or differs."""
    fresh: int = 0
    """Tests that pass in each fresh process."""
    upgraded: int | None = None
    """Those among them that pass in the upgraded one."""
    differences: list[str] = field(default_factory=list)
    counts: str = ""
    """By what the tests touch what has changed; empty where they don't."""
    pause: float | None = None
    """Seconds."""
    error: str = ""

    @property
    def title(self) -> str:
        """The line of the table that it is counted in."""
        if self.error:
            return "error"
        if not self.counts:
            return "does not count"
        if self.differences:
            return "differs"
        if self.verdict == "RESTART":
            return "restart"
        if self.upgraded is None:
            return "by plan" if self.counts == _NOT_ASKED else "refused"
        return "in place"


class Failed(Exception):
    """The pair can't be tried."""


def outcome(
    pair: Pair, cache: Path, scratch: Path, interpreter: Interpreter, *, skip: bool = False, plans: bool = False
) -> Outcome:
    """Try a pair; what fails is in the outcome.

    With `skip` no test of one that takes a fresh interpreter is run; with `plans` none of any, and nothing is upgraded.
    """
    found = Outcome(pair.name)
    try:
        _Trial(pair, cache, scratch / pair.name, interpreter, found).run(skip=skip, plans=plans)
    except Exception as error:  # one that can't be tried is an outcome, not the end of all others
        found.error = "\n".join(str(error).splitlines()[-REASONS:]) or repr(error)
    finally:
        shutil.rmtree(scratch / pair.name, ignore_errors=True)
    return found


class _Trial:
    def __init__(self, pair: Pair, cache: Path, root: Path, interpreter: Interpreter, found: Outcome) -> None:
        self._pair, self._cache, self._root, self._found = pair, cache, root, found
        self._interpreter = interpreter
        self._sources = sources.sources(pair, cache)

    def run(self, *, skip: bool, plans: bool) -> None:
        lay_out(self._root, self._pair, self._sources, self._interpreter)
        found, entry = self._found, self._planned()
        if plans or (skip and entry.verdict == "RESTART"):
            found.verdict, found.reasons, found.counts = entry.verdict, list(_reasons([entry])), _NOT_ASKED
            return
        fresh = self._control("fresh", self._pair.new)
        passed = _passed(fresh)
        if not passed:
            raise Failed(f"no test passes in a fresh process: {list(fresh['why'].items())[:REASONS]}")
        found.fresh = len(passed)
        found.counts = self._counts(passed)
        found.verdict = entry.verdict
        if entry.verdict in ("RESTART", "REFUSE"):
            found.reasons = list(_reasons([entry]))
            return
        told = self._run_version(self._pair.old, [to_json(each) for each in entry.instructions])
        if "refused" in told:
            found.reasons = told["refused"]
            return
        self._compared(fresh, told)

    def _compared(self, fresh: Told, told: Told) -> None:
        """What is otherwise in the upgraded process; a test that does not pass in each fresh process tells nothing."""
        found = self._found
        differing = _passed(fresh) - _passed(told)
        if differing:
            differing &= _passed(self._control("again", self._pair.new))
        found.pause, found.upgraded = told["pause"], found.fresh - len(differing)
        found.differences = sorted(differing)
        found.reasons = [told["why"].get(each, "it did not run") for each in found.differences]
        for name in sorted(fresh["instances"].keys() & told["instances"].keys()):
            if fresh["instances"][name] != told["instances"][name]:
                found.differences.append(name)
                found.reasons.append(f"{name}: {told['instances'][name]} instead of {fresh['instances'][name]}")

    def _planned(self) -> RelupEntry:
        with ExitStack() as cleanup:
            old, new = (
                open_release(self._root / "releases" / version, cleanup) for version in (self._pair.old, self._pair.new)
            )
            return plan(new, [old], []).up[0]

    def _counts(self, passed: Set[str]) -> str:
        if self._pair.package.tests != INSIDE and passed - _passed(self._control("old", self._pair.old)):
            return "tests tell"
        ran = self._control("traced", self._pair.new, traced=True)["ran"]
        changed = changed_functions(*(self._sources.versions[each] for each in (self._pair.old, self._pair.new)))
        home = f"/{self._directory(self._pair.new)}/"
        called = {each.rpartition(home)[2] for each in ran if home in each} & changed
        return f"{len(called)} called" if called else ""

    def _control(self, name: str, version: str, *, traced: bool = False) -> Told:
        """What a process tells that has nothing to do with an upgrade; kept, as it stays the same."""
        state = hashlib.sha256(PROCESS.read_bytes() + repr((self._pair, OPTIONS)).encode()).hexdigest()[:16]
        kept = self._cache / f"{self._pair.name}-{name}-{state}.json"
        if not kept.exists():
            told = self._run_version(version, traced=traced)
            kept.with_suffix(".part").write_text(json.dumps(told), encoding="utf-8")
            kept.with_suffix(".part").rename(kept)
        loaded: Told = json.loads(kept.read_text(encoding="utf-8"))
        return loaded

    def _run_version(self, version: str, instructions: Sequence[Any] | None = None, *, traced: bool = False) -> Told:
        """Have a process of a version do all that it has to. Raises Failed."""
        work = self._root / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self._sources.tests, work, symlinks=True)
        output = self._root / "told.json"
        output.unlink(missing_ok=True)
        task = {
            "modules": list(self._modules(version)),
            "tops": list(self._pair.package.modules),
            "version": self._pair.new,
            "arguments": self._arguments(),
            "traced": traced,
            "output": str(output),
        }
        if instructions is not None:
            task["instructions"] = instructions
        log = self._bounded(version, json.dumps(task), work)
        try:
            told: Told = json.loads(output.read_text(encoding="utf-8"))
        except OSError:
            raise Failed(log.strip() or "the process ended and told nothing") from None
        return told

    def _bounded(self, version: str, task: str, work: Path) -> str:
        """Run a process, and end what is left of its session; the end of what it printed."""
        home = self._root / "home"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        environ = {"PATH": os.defpath, "HOME": str(home), "TMPDIR": str(home), **ENVIRONMENT}
        log = self._root / "log"
        with log.open("w") as printed:
            process = subprocess.Popen(
                [self._root / "releases" / version / "bin/python", "-B", PROCESS],
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=subprocess.STDOUT,
                text=True,
                env=environ,
                cwd=work,
                start_new_session=True,
            )
            try:
                process.communicate(task, timeout=TIMEOUT)
            except subprocess.TimeoutExpired:
                raise Failed(f"a process of {version} took more than {TIMEOUT} s") from None
            finally:
                _end(process)
        return log.read_text(errors="replace")[-2000:]

    def _arguments(self) -> list[str]:
        package = self._pair.package
        home = self._root / "lib" / self._directory(self._pair.new)
        places = [str(home / each) for each in package.modules] if package.tests == INSIDE else [package.tests]
        return [*OPTIONS, *package.options, *(f"--deselect={each}" for each in package.leave), *places]

    def _directory(self, version: str) -> str:
        return f"{self._pair.package.name.replace('-', '_')}-{version}"

    def _modules(self, version: str) -> Iterator[str]:
        """All modules of a version but for tests and what runs when it is imported."""
        home = self._root / "lib" / self._directory(version)
        for file in sorted(home.rglob("*.py")):
            path = file.relative_to(home)
            name = module_name(path.as_posix())
            if name and "tests" not in path.parts[:-1] and path.stem not in ("conftest", "__main__"):
                yield name


def _passed(told: Told) -> set[str]:
    return {name for name, outcome in told["tests"].items() if outcome == "passed"}


def _end(process: subprocess.Popen[str]) -> None:
    """End a session; its leader is not waited for before, so that its number is still its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _reasons(entries: Iterable[RelupEntry]) -> Iterator[str]:
    rows = (row for each in entries for row in each.changes if row.verdict in ("RESTART", "REFUSE"))
    yield from dict.fromkeys(f"{row.module}:{row.definition} {row.change}: {row.reason}" for row in rows)
