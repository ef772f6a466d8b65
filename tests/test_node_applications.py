"""The application controller, with fakes for what it starts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underway_runtime.apps.controller import Applications
from underway_runtime.apps.service import CutOff, Ending, Service
from underway_runtime.release.boot_script import (
    STARTING_MODES,
    CodePath,
    Instruction,
    Load,
    Mode,
    PrimLoad,
    Progress,
    Start,
)
from underway_runtime.release.errors import BootError, DamagedRelease

NONE = CutOff()


@dataclass
class World:
    """Applications that only note what is done to them."""

    failing_starts: frozenset[str] = frozenset()
    failing_stops: frozenset[str] = frozenset()
    hanging: frozenset[str] = frozenset()
    started: list[str] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    drained: list[str] = field(default_factory=list)
    alone: frozenset[str] = frozenset()
    failing_accepts: frozenset[str] = frozenset()
    failing_calls: frozenset[str] = frozenset()
    called: list[str] = field(default_factory=list)
    cut_off: CutOff = NONE
    ended: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    async def run(self, load: Load) -> Service:
        name = load.application
        self.tried.append(name)
        await asyncio.sleep(0)
        if name in self.failing_starts:
            raise RuntimeError(f"{name} has no database")
        self.started.append(name)
        self.ended[name] = asyncio.get_running_loop().create_future()

        async def stop(within: float) -> None:
            self.stopped.append(name)
            if name in self.hanging:
                await asyncio.Event().wait()
            if name in self.failing_stops:
                raise RuntimeError(f"{name} can't let go")

        async def accept() -> None:
            if name in self.failing_accepts:
                raise RuntimeError(f"{name} has no port")
            self.accepted.append(name)

        async def drain(within: float) -> CutOff:
            self.drained.append(f"{name} begins")
            await asyncio.sleep(0)
            self.drained.append(f"{name} ends")
            return self.cut_off

        async def call(method: str, *arguments: object) -> None:
            self.called.append(f"{name} {method} of {len(self.accepted)}")
            if name in self.failing_calls:
                raise RuntimeError(f"{name} misses the others")

        return Service(name, self.ended[name], stop, accept, drain, call=call)

    def log(self, message: str, error: BaseException | None = None) -> None:
        self.said.append(message)

    def controller(self, *, start_timeout: float = 10, stop_timeout: float = 10, late: bool = False) -> Applications:
        return Applications(
            Path("/lib"),
            self.run,
            self.log,
            start_timeout=start_timeout,
            stop_timeout=stop_timeout,
            overlaps=lambda load: load.application not in self.alone,
            late=late,
        )


def load(name: str, *requires: str, starts: bool = True) -> Load:
    return Load(name, "1.0", requires, {"class": f"{name}:App"} if starts else None)


async def boot_and_stop(world: World, instructions: Sequence[Instruction]) -> Applications:
    applications = world.controller()
    await applications.boot(instructions)
    await applications.stop()
    return applications


def test_applications_start_in_script_order_and_stop_in_reverse() -> None:
    """What starts first stops last."""
    world = World()
    script: list[Instruction] = [load("db"), load("cache"), load("web", "db", "cache")]

    asyncio.run(boot_and_stop(world, [*script, *(Start(name, "permanent") for name in ("db", "cache", "web"))]))

    assert world.started == ["db", "cache", "web"]
    assert world.stopped == ["web", "cache", "db"]


def test_a_failed_start_stops_what_had_started() -> None:
    """A boot that fails names the application and the cause, and leaves nothing running."""
    world = World(failing_starts=frozenset({"web"}))
    loads = [load("db"), load("cache"), load("web"), load("late")]

    with pytest.raises(BootError, match=re.escape("web could not start: RuntimeError: web has no database")):
        asyncio.run(boot_and_stop(world, [*loads, *(Start(each.application, "permanent") for each in loads)]))

    assert world.started == ["db", "cache"]
    assert world.stopped == ["cache", "db"]


def test_what_is_required_must_have_started() -> None:
    """A script that starts an application before one that it requires is refused, with both names."""
    world = World()
    script: list[Instruction] = [load("db"), load("web", "db"), Start("web", "permanent"), Start("db", "permanent")]

    with pytest.raises(BootError, match=r"web can't start: it requires db, not started"):
        asyncio.run(boot_and_stop(world, script))

    assert world.tried == []


def test_a_required_library_need_not_start() -> None:
    """What has nothing to start never stands in the way, in the script or not."""
    world = World()
    script: list[Instruction] = [load("lib", starts=False), load("web", "lib", "elsewhere"), Start("web", "permanent")]

    asyncio.run(boot_and_stop(world, [*script, Start("lib", "permanent")]))

    assert world.started == ["web"]


HANDED_OVER: list[Instruction] = [
    load("db"),
    load("clock"),
    load("web", "db"),
    load("reports", "clock"),
    *(Start(name, "permanent") for name in ("db", "clock", "web", "reports")),
]


def test_a_late_boot_prepares_and_accepts_when_told() -> None:
    """What must not run twice, and what requires it, starts last of all, when the other node has let it go."""
    world = World(alone=frozenset({"clock"}))

    async def scenario() -> None:
        new = world.controller(late=True)
        await new.boot(HANDED_OVER)
        assert (world.started, world.accepted) == (["db", "web"], [])
        await new.accept()
        assert (world.started, world.accepted) == (["db", "web"], ["db", "web"])

        async def prepared(name: str, service: Service) -> None:
            world.accepted.append(f"{name} before")

        await new.take_over(prepared)
        assert world.started == ["db", "web", "clock", "reports"]
        assert world.accepted[2:] == ["clock before", "clock", "reports before", "reports"]
        await new.stop()
        assert world.stopped == ["reports", "clock", "web", "db"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "loads",
    [
        [load("clock"), load("words", "clock", starts=False)],
        [load("clock"), load("lib", "clock", starts=False), load("words", "lib", starts=False)],
        [load("clock"), load("lib", "clock", starts=False), load("web", "lib"), load("words", "web", starts=False)],
        [load("db"), load("clock", "db"), load("words", "db", "clock", starts=False), load("last", "words")],
    ],
)
def test_what_has_no_start_of_its_own_waits_with_what_it_requires(loads: list[Load]) -> None:
    """A node can take over from another whatever an application without a start requires, directly or through others."""
    world = World(alone=frozenset({"clock"}))
    starting = [each.application for each in loads if each.start is not None]

    async def scenario() -> None:
        new = world.controller(late=True)
        await new.boot([*loads, *(Start(each.application, "permanent") for each in loads)])
        assert "clock" not in world.started
        await new.accept()
        await new.take_over()
        assert sorted(world.started) == sorted(starting)
        assert set(new.running) == set(starting)
        await new.stop()

    asyncio.run(scenario())


def test_what_has_no_start_of_its_own_still_needs_what_it_requires() -> None:
    """A late boot in a wrong order is refused when what it requires is not there in the end."""
    world = World(alone=frozenset({"clock"}), failing_starts=frozenset({"clock"}))
    script: list[Instruction] = [load("clock"), load("words", "clock", starts=False)]

    async def scenario() -> None:
        new = world.controller(late=True)
        await new.boot([*script, Start("clock", "temporary"), Start("words", "permanent")])
        await new.accept()
        with pytest.raises(BootError, match="words can't start: it requires clock, not started"):
            await new.take_over()
        await new.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("late", [False, True])
def test_each_is_told_once_when_all_have_started(late: bool) -> None:
    """In start order; when a node takes over, that is after what waited has started."""
    world = World(alone=frozenset({"clock"}))

    async def scenario() -> None:
        new = world.controller(late=late)
        await new.boot(HANDED_OVER)
        if late:
            await new.accept()
            assert world.called == []
            await new.take_over()
        assert sorted(world.called) == [f"{name} booted of 4" for name in ("clock", "db", "reports", "web")]
        await new.stop()

    asyncio.run(scenario())


def test_who_fails_when_all_have_started_ends_the_boot() -> None:
    """All are stopped."""
    world = World(failing_calls=frozenset({"web"}))

    with pytest.raises(BootError, match="web failed when all had started: RuntimeError: web misses the others"):
        asyncio.run(world.controller().boot(HANDED_OVER))
    assert sorted(world.stopped) == sorted(world.started)


def test_what_must_not_run_twice_is_let_go_and_can_come_back() -> None:
    """The rest goes on; where the other node fails to start it, this one starts it again."""
    world = World(alone=frozenset({"clock"}))

    async def scenario() -> None:
        old = world.controller()
        await old.boot(HANDED_OVER)
        gone = (await old.let_go()).stopped
        assert (gone, world.stopped) == ({"clock": "permanent", "reports": "permanent"}, ["reports", "clock"])
        for name, mode in gone.items():
            await old.start(name, mode)
        assert list(old.running) == ["db", "web", "clock", "reports"]
        await old.stop()

    asyncio.run(scenario())


def test_what_is_required_drains_last() -> None:
    """Others drain at once with each other; what was cut off is told."""
    world = World(cut_off=CutOff(requests=1))

    async def scenario() -> None:
        old = world.controller()
        await old.boot(HANDED_OVER)
        assert await old.drain() == dict.fromkeys(("db", "clock", "web", "reports"), CutOff(requests=1))
        assert world.drained[:2] == ["reports begins", "web begins"]
        for first, then in (("web", "db"), ("reports", "clock")):
            assert world.drained.index(f"{first} ends") < world.drained.index(f"{then} begins")
        await old.stop()

    asyncio.run(scenario())
    assert "web has not drained within 30 s; ended: 1 requests, 0 WebSockets, 0 idle connections" in world.said


@pytest.mark.parametrize("late", [False, True])
def test_an_application_that_can_not_accept_is_named(late: bool) -> None:
    """It is stopped, and so is all that had started."""
    world = World(failing_accepts=frozenset({"web"}))

    async def scenario() -> None:
        new = world.controller(late=late)
        await new.boot(HANDED_OVER)
        try:
            await new.accept()
        finally:
            await new.stop()

    with pytest.raises(BootError, match=r"web could not (start|accept): RuntimeError: web has no port"):
        asyncio.run(scenario())
    assert sorted(world.stopped) == sorted(world.started)


@pytest.mark.parametrize(
    ("instructions", "problem"),
    [
        ([Start("web", "permanent")], "the boot script starts web, which it does not load"),
        ([load("web"), Start("web", "permanent"), Start("web", "permanent")], "the boot script starts web twice"),
    ],
)
def test_a_script_that_makes_no_sense_is_refused(instructions: list[Instruction], problem: str) -> None:
    """Mistakes of whoever edited the script are told as such."""
    with pytest.raises(BootError, match=re.escape(problem)):
        asyncio.run(boot_and_stop(World(), instructions))


@pytest.mark.parametrize(
    ("mode", "error", "stops_the_node"),
    [
        ("permanent", None, True),
        ("permanent", RuntimeError("lost"), True),
        ("transient", None, False),
        ("transient", RuntimeError("lost"), True),
        ("temporary", None, False),
        ("temporary", RuntimeError("lost"), False),
    ],
)
def test_the_mode_says_what_an_end_means(mode: Mode, error: Exception | None, stops_the_node: bool) -> None:
    """The table in applications.py: an end stops the node, or that application alone is stopped."""
    world = World()

    async def live() -> tuple[list[Ending], list[str]]:
        applications = world.controller()
        await applications.boot([load("db"), load("web", "db"), Start("db", "permanent"), Start("web", mode)])
        if error is None:
            world.ended["web"].set_result(None)
        else:
            world.ended["web"].set_exception(error)
        for _ in range(10):
            await asyncio.sleep(0)
        stopped_alone = list(world.stopped)
        endings = [applications.ending.get_nowait() for _ in range(applications.ending.qsize())]
        await applications.stop()
        return endings, stopped_alone

    endings, stopped_alone = asyncio.run(live())

    assert endings == ([Ending("web", error)] if stops_the_node else [])
    assert stopped_alone == ([] if stops_the_node else ["web"])
    assert world.stopped == ["web", "db"]


def test_a_temporary_application_that_fails_to_start_is_left_out() -> None:
    """It is reported, the others start, and what requires it does not."""
    world = World(failing_starts=frozenset({"metrics"}))
    script: list[Instruction] = [load("metrics"), load("web"), Start("metrics", "temporary"), Start("web", "permanent")]

    asyncio.run(boot_and_stop(world, script))

    assert world.started == ["web"]
    assert world.said == ["metrics 1.0 could not start: RuntimeError: metrics has no database"]


def test_a_transient_application_that_ended_well_counts_as_started() -> None:
    """A job that runs before the others, and ends, does not keep them from starting."""
    world = World()

    async def live() -> None:
        applications = world.controller()
        await applications.boot([load("migrate"), load("web", "migrate"), Start("migrate", "transient")])
        world.ended["migrate"].set_result(None)
        for _ in range(10):
            await asyncio.sleep(0)
        await applications.start("web", "permanent")
        await applications.stop()

    asyncio.run(live())

    assert world.started == ["migrate", "web"]


def test_a_stop_that_hangs_is_given_up() -> None:
    """One application that does not stop takes neither the others' stop nor the node's end."""
    world = World(hanging=frozenset({"web"}))

    async def live() -> bool:
        applications = world.controller(stop_timeout=0.2)
        await applications.boot([load("db"), load("web"), Start("db", "permanent"), Start("web", "permanent")])
        await applications.stop()
        return applications.stopped_well

    assert asyncio.run(live()) is False
    assert world.stopped == ["web", "db"]
    assert [line for line in world.said if "abandoned" in line]


def test_a_start_that_takes_too_long_is_ended() -> None:
    """The start deadline ends the boot, and says what gives more time."""

    async def run(load: Load) -> Service:
        await asyncio.Event().wait()
        raise AssertionError

    world = World()
    applications = Applications(Path("/lib"), run, world.log, start_timeout=0.05)

    with pytest.raises(BootError, match=r"web could not start: not ready within 0\.05 s; start_timeout of"):
        asyncio.run(applications.boot([load("web"), Start("web", "permanent")]))


def test_sys_exit_in_a_start_is_a_failure_like_any_other() -> None:
    """An application can't end the node from within its start or stop past the controller."""

    async def run(load: Load) -> Service:
        raise SystemExit(3)

    applications = Applications(Path("/lib"), run, World().log)

    with pytest.raises(BootError, match="web could not start: SystemExit: 3"):
        asyncio.run(applications.boot([load("web"), Start("web", "permanent")]))


def test_a_cancelled_boot_stops_what_had_started() -> None:
    """A signal in the middle of the boot leaves nothing running."""
    world = World()

    async def live() -> None:
        async def run(load: Load) -> Service:
            if load.application == "web":
                reached.set()
                await asyncio.Event().wait()
            return await world.run(load)

        reached = asyncio.Event()
        applications = Applications(Path("/lib"), run, world.log)
        script: list[Instruction] = [load("db"), load("web"), Start("db", "permanent"), Start("web", "permanent")]
        boot = asyncio.ensure_future(applications.boot(script))
        await reached.wait()
        boot.cancel()
        with pytest.raises(asyncio.CancelledError):
            await boot

    asyncio.run(live())

    assert world.stopped == ["db"]


def test_missing_directories_are_listed_together(tmp_path: Path) -> None:
    """A release that lost applications says which, all at once."""
    (tmp_path / "web-1.0").mkdir()
    applications = Applications(tmp_path, World().run, World().log)

    with pytest.raises(DamagedRelease) as caught:
        applications.obey(CodePath(("$RELEASE_LIB/db-1.0", "$RELEASE_LIB/web-1.0", "$RELEASE_LIB/zoo-2.0")))

    assert str(caught.value).splitlines()[1:] == [f"  - {tmp_path}/db-1.0", f"  - {tmp_path}/zoo-2.0"]


def broken(name: str) -> object:
    if name != "web.fine":
        raise ImportError(f"{name} wants a display")
    return None


def test_modules_that_fail_are_listed_with_the_two_ways_out() -> None:
    """Preloading names application, modules and causes, and what to do."""
    applications = Applications(Path("/lib"), World().run, World().log, load_module=broken)

    with pytest.raises(BootError) as caught:
        applications.obey(PrimLoad("web", ("web.gui", "web.fine", "web.tray")))

    assert str(caught.value).splitlines()[:3] == [
        "modules of web can't be imported:",
        "  - web.gui: ImportError: web.gui wants a display",
        "  - web.tray: ImportError: web.tray wants a display",
    ]
    assert "RELEASE_MODE=interactive" in str(caught.value)
    assert "`lazy` in [tool.underway]" in str(caught.value)


def test_interactive_mode_preloads_nothing() -> None:
    """Without embedded mode a module is imported when it is used."""
    applications = Applications(Path("/lib"), World().run, World().log, embedded=False, load_module=broken)

    applications.obey(PrimLoad("web", ("web.gui",)))


def test_landmarks_are_kept() -> None:
    """The last landmark of the script can be asked for."""
    applications = World().controller()

    applications.obey(Progress("modules_loaded"))

    assert applications.progress == "modules_loaded"


@dataclass(frozen=True)
class Scenario:
    """A boot script over a random graph of applications, and what goes wrong in it."""

    loads: tuple[Load, ...]
    starts: tuple[Start, ...]
    failing_starts: frozenset[str]
    failing_stops: frozenset[str]


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    names = [f"app{i}" for i in range(draw(st.integers(1, 7)))]
    some = st.frozensets(st.sampled_from(names), max_size=2)
    starting: list[dict[str, str] | None] = [None, {"class": "x:X"}, {"class": "x:X"}]
    loads = []
    for i, name in enumerate(names):
        requires = draw(st.frozensets(st.sampled_from(names[:i]), max_size=3)) if i else frozenset()
        loads.append(Load(name, "1.0", tuple(sorted(requires)), draw(st.sampled_from(starting))))
    order = draw(st.one_of(st.just(names), st.permutations(names)))
    starts = tuple(Start(name, draw(st.sampled_from(STARTING_MODES))) for name in order)
    return Scenario(tuple(loads), starts, draw(some), draw(some))


@given(scenarios())
def test_starts_and_stops_of_any_graph_nest(scenario: Scenario) -> None:
    """Whatever the graph, the order and the failures: nothing starts before what it requires, all that started stops
    once, in reverse, and the boot fails only for a reason that it names."""
    world = World(scenario.failing_starts, scenario.failing_stops)
    loads = {each.application: each for each in scenario.loads}
    modes = {each.application: each.mode for each in scenario.starts}
    startable = {name for name, each in loads.items() if each.start is not None}
    failure = ""
    try:
        applications = asyncio.run(boot_and_stop(world, [*scenario.loads, *scenario.starts]))
    except BootError as error:
        failure = str(error)

    assert world.stopped == world.started[::-1]
    for position, name in enumerate(world.tried):
        assert startable.intersection(loads[name].requires) <= set(world.tried[:position]) - scenario.failing_starts
    if not failure:
        assert set(world.tried) == startable
        assert {modes[name] for name in startable & scenario.failing_starts} <= {"temporary"}
        assert applications.stopped_well == (not scenario.failing_stops.intersection(world.started))
    elif match := re.fullmatch(r"(\w+) can't start: it requires ([\w, ]+), not started; .*", failure):
        assert set(match[2].split(", ")) == startable.intersection(loads[match[1]].requires) - set(world.started)
        assert match[2]
    else:
        culprit = failure.split()[0]
        assert culprit == world.tried[-1]
        assert culprit in scenario.failing_starts
        assert modes[culprit] != "temporary"


@st.composite
def lives(draw: st.DrawFn) -> tuple[Scenario, list[tuple[str, bool]]]:
    """A boot that holds, and applications that end afterwards, one after another, each well or with an error."""
    scenario = draw(scenarios())
    names = [each.application for each in scenario.loads]
    inorder = tuple(sorted(scenario.starts, key=lambda each: names.index(each.application)))
    ends = draw(st.lists(st.tuples(st.sampled_from(names), st.booleans()), unique_by=lambda end: end[0]))
    return Scenario(scenario.loads, inorder, frozenset(), scenario.failing_stops), ends


@given(lives())
def test_any_order_of_endings_obeys_the_modes(life: tuple[Scenario, list[tuple[str, bool]]]) -> None:
    """The first end that matters by its mode is the reason why the node stops; until then an application that ended is
    stopped alone, and in the end each has stopped once, the rest in the reverse of the start order."""
    scenario, ends = life
    world = World(failing_stops=scenario.failing_stops)
    modes = {each.application: each.mode for each in scenario.starts}

    async def live() -> list[Ending]:
        applications = world.controller()
        await applications.boot([*scenario.loads, *scenario.starts])
        for name, fails in ends:
            if name not in world.ended:
                continue
            if fails:
                world.ended[name].set_exception(RuntimeError(name))
            else:
                world.ended[name].set_result(None)
            for _ in range(5):
                await asyncio.sleep(0)
            if not applications.ending.empty():
                break
        await applications.stop()
        return [applications.ending.get_nowait() for _ in range(applications.ending.qsize())]

    endings = asyncio.run(live())

    alone: list[str] = []
    reason = []
    for name, fails in ((name, fails) for name, fails in ends if name in world.started):
        if modes[name] == "permanent" or (modes[name] == "transient" and fails):
            reason = [(name, fails)]
            break
        alone.append(name)
    assert [(each.application, each.error is not None) for each in endings] == reason
    assert world.stopped == alone + [name for name in reversed(world.started) if name not in alone]
