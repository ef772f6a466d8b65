"""What all tests share: tools of Debian's that may be missing, and how many examples a drill tries."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

import samples
from code_server_helpers import Interpreter, laid_out
from node_helpers import MakeNode, nodes, this_interpreter
from swap_helpers import Become, becoming
from underway.toolchain.interpreters import describe
from underway_runtime.release.relup import unproven

NO_TOOL_SKIPS = os.environ.get("UNDERWAY_NO_TOOL_SKIPS") == "1"
"""Set by .ci/run, which has installed the tools: a test that skips for want of one fails."""

MISSING = "missing tool: "

Count: TypeAlias = Callable[[int, int], int]

DRILLS = os.environ.get("UNDERWAY_DRILLS") == "1"

ANY_SPEED = (HealthCheck.too_slow,)  # how fast examples are made says how busy the machine is
settings.register_profile("gate", derandomize=True, deadline=None, max_examples=50, suppress_health_check=ANY_SPEED)
settings.register_profile("drills", deadline=None, max_examples=2_000, suppress_health_check=ANY_SPEED)
settings.load_profile("drills" if DRILLS else "gate")


def find_tool(name: str) -> str | None:
    """Where a command is; tools of the administrator may be off an ordinary PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin")


def pytest_configure(config: pytest.Config) -> None:
    """Give the run a cache of its own, shared by its workers: what a build finds there must not be of another day.

    And the signals of a terminal what they do in one: a shell has its background jobs ignore them, and so would all that tests start.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)
    if "UNDERWAY_TESTS" not in os.environ:
        directory = tempfile.mkdtemp(prefix="underway-tests-")
        os.environ |= {"UNDERWAY_TESTS": directory, "UNDERWAY_CACHE": f"{directory}/cache"}
        config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Leave out what the gate only samples. In ``make drills`` all of that is a drill, and what tries more there; each has an hour.

    Of what was asked for by name, too, a sample is run: ``UNDERWAY_DRILLS=1`` runs it all.
    """
    for item in items if DRILLS else []:
        assert isinstance(item, pytest.Function)
        is_drill = "count" in item.fixturenames or getattr(item.obj, "is_hypothesis_test", False)
        if is_drill or samples.is_sampled(item):
            item.add_marker("drill")
        if item.get_closest_marker("drill") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3_600))
    yield
    if not DRILLS and (left_out := samples.left_out(items)):
        gone = {*map(id, left_out)}
        items[:] = [item for item in items if id(item) not in gone]
        config.hook.pytest_deselected(items=left_out)
    items.sort(key=lambda item: not _is_shared(config.rootpath / item.nodeid.partition("::")[0]))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal out in the order of collection, in which the long ones are first: the gate ends with short ones.

    Files whose tests share something stay with one worker; of the rest each test, with all of its cases, goes to whoever is free.
    """

    def dealt_out_with(nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if _is_shared(config.rootpath / file) else nodeid.partition("[")[0]

    config.option.loadscopereorder = False
    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = dealt_out_with
    return scheduling


@cache
def _is_shared(file: Path) -> bool:
    """Whether tests of a file share what takes long to make: whoever deals them out knows the text alone."""
    return file.parent.name in ("e2e", "attack") or 'fixture(scope="' in file.read_text(encoding="utf-8")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked ``needs_tool(name, package)`` where there is no such tool, and ``in_place`` with a Python not tried for it."""
    missing = [
        f"{name} (apt install {package})"
        for name, package in (mark.args for mark in item.iter_markers("needs_tool"))
        if find_tool(name) is None
    ]
    if missing:
        reason = MISSING + ", ".join(missing)
        if NO_TOOL_SKIPS:
            pytest.fail(f"{reason}; .ci/run must install it", pytrace=False)
        pytest.skip(reason)
    if item.get_closest_marker("in_place"):
        paths = [value for value in _cases(item) if isinstance(value, Path)]
        pythons = [path for path in paths if re.fullmatch(r"python\d\.\d+", path.name)]
        for version in (platform.python_version(), *map(_version, pythons)):
            if untried := unproven(version):
                pytest.skip(untried)


@cache
def _version(python: Path) -> str:
    return describe(python).version


def _cases(item: pytest.Item) -> Iterable[object]:
    """What a test is parametrized with."""
    return item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say by name which tools were missing, and what was not tested for want of them."""
    skipped: dict[str, list[str]] = {}
    for report in terminalreporter.getreports("skipped"):
        if isinstance(report.longrepr, tuple) and MISSING in report.longrepr[2]:
            skipped.setdefault(report.longrepr[2].split(MISSING, 1)[1], []).append(report.nodeid)
    for tool, tests in sorted(skipped.items()):
        terminalreporter.section(f"not tested, for want of {tool}", yellow=True)
        for test in tests:
            terminalreporter.line(test)


@pytest.fixture
def count() -> Count:
    """``count(sample, full)``: the sample in the gate, the full count in ``make drills``."""
    return lambda sample, full: full if DRILLS else sample


@pytest.fixture(scope="module")
def interpreter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """The one that runs the tests, or one that a test is parametrized with."""
    return laid_out(getattr(request, "param", this_interpreter()), tmp_path_factory.getbasetemp())


@pytest.fixture
def become(tmp_path: Path, interpreter: Interpreter) -> Become:
    """Makes two versions and runs a script in a process of the first."""
    return becoming(tmp_path, interpreter)


@pytest.fixture
def make_for_all(interpreter: Interpreter) -> Iterator[MakeNode]:
    """As `make`, in a directory that every user may enter; for tests that become another user, which root can."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        with nodes(Path(directory), interpreter) as make:
            yield make


@pytest.fixture
def make(tmp_path: Path, interpreter: Interpreter) -> Iterator[MakeNode]:
    """Makes small releases that run; what was started from them ends with the test."""
    with nodes(tmp_path, interpreter) as make:
        yield make
