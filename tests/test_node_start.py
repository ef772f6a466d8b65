"""What makes a node start fast changes nothing of what runs in it afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from textwrap import dedent

import pytest

from code_server_helpers import Interpreter, installed, laid_out
from node_helpers import App, MakeNode, read_until, recorder, terminate
from underway_runtime.process import garbage_collector
from underway_runtime.process.interpreter_stack import with_room


@pytest.fixture(scope="module", params=installed())
def interpreter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    return laid_out(request.param, tmp_path_factory.getbasetemp())


@pytest.fixture
def thresholds() -> Iterator[None]:
    """The collector of the tests' own process, which is as it was in the end."""
    before = gc.get_threshold()
    yield
    garbage_collector.settle()
    garbage_collector.thaw()
    gc.set_threshold(*before)


class Settling(App):
    """An application that tells the collector's thresholds while it starts, and once what is there is frozen."""

    def __init__(self, at_import: str = "") -> None:
        source = f"""
            import asyncio, gc
            from underway_runtime import Application
            {at_import}

            class App(Application):
                async def start(self):
                    print("starting", *gc.get_threshold(), gc.isenabled(), gc.get_freeze_count() > 1000, flush=True)
                    self.task = asyncio.get_running_loop().create_task(self.tell())

                async def tell(self):
                    while gc.get_threshold()[0] == 100000 or gc.get_freeze_count() < 1000:
                        await asyncio.sleep(0.01)
                    print("settled", *gc.get_threshold(), gc.isenabled(), flush=True)
            """
        super().__init__("app", source, {"class": "app:App"})


@pytest.mark.sample
@pytest.mark.parametrize("mode", ["embedded", "interactive"])
def test_the_collector_works_rarely_until_the_node_has_started(make: MakeNode, mode: str) -> None:
    """Then what is there is set aside and the thresholds are the interpreter's own again."""
    node = make(Settling())
    node.environ["RELEASE_MODE"] = mode
    process = node.spawn("start")

    starting = read_until(process.stdout, "starting (.*)")[1]
    settled = read_until(process.stdout, "settled (.*)")[1]

    assert starting == "100000 50 100 True True", "what was there before it starts is set aside"
    ordinary = make(App("plain"), at="plain").run("eval", "import gc; print(*gc.get_threshold(), gc.isenabled())")
    assert settled == ordinary.stdout.strip()
    assert terminate(process)[0] == 0


def test_what_was_imported_starts_no_collection(make: MakeNode) -> None:
    """However many objects the modules of applications make, the collector does not go over them before all have started."""
    many = "import gc; kept = [[] for _ in range(95_000)]; collections = gc.get_stats()[0]['collections']"
    tells = "import gc, one; print('same', gc.get_stats()[0]['collections'] == one.collections, flush=True)"
    first, second = recorder("one"), recorder("two", start=tells)
    node = make(*(replace(app, source=f"{many}\n{dedent(app.source)}") for app in (first, second)))

    assert read_until(node.spawn("start").stdout, "same (.*)")[1] == "True"


@pytest.mark.sample
@pytest.mark.parametrize(
    ("does", "settled"),
    [
        pytest.param("gc.set_threshold(5000, 20, 30)", "5000 20 30 True", id="thresholds"),
        pytest.param("gc.disable()", r"\d+ \d+ \d+ False", id="off"),
    ],
)
def test_what_an_application_sets_stays(make: MakeNode, does: str, settled: str) -> None:
    """Thresholds of an application's own, and that it turned the collector off, outlast the boot."""
    process = make(Settling(does)).spawn("start")

    read_until(process.stdout, f"^settled {settled}$")

    assert terminate(process)[0] == 0


def test_a_main_function_has_time_to_begin(make: MakeNode) -> None:
    """What it imports is set aside with the rest, a little later."""
    source = """
    import gc, time
    def main():
        print("main", *gc.get_threshold(), flush=True)
        while gc.get_threshold()[0] == 100000 or gc.get_freeze_count() < 1000:
            time.sleep(0.05)
        print("settled", flush=True)
        time.sleep(60)
    """
    process = make(App("app", source, {"main": "app:main", "args": []})).spawn("start")

    read_until(process.stdout, "main 100000 50 100")
    read_until(process.stdout, "settled")

    assert terminate(process)[0] == 0


def test_a_heap_walk_sees_all_after_thaw(thresholds: None) -> None:
    """What was set aside is the collector's again, as gc.get_objects tells."""
    kept = [object()]
    garbage_collector.postpone()
    garbage_collector.postpone()
    garbage_collector.settle()
    assert not any(each is kept for each in gc.get_objects())

    garbage_collector.thaw()

    assert any(each is kept for each in gc.get_objects())


def test_settling_alone_changes_nothing(thresholds: None) -> None:
    """Whoever runs a node without `postpone`, a test say, keeps the collector as it is."""
    gc.set_threshold(701, 11, 12)

    garbage_collector.settle()

    assert (gc.get_threshold(), gc.get_freeze_count()) == ((701, 11, 12), 0)


def test_room_changes_neither_results_nor_errors_nor_depth() -> None:
    """A function with room is called as ever, and endless recursion in it is an error as ever."""

    def deep(level: int) -> int:
        return deep(level + 1)

    with_deep = with_room(deep)
    assert with_room(divmod)(7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        with_room(divmod)(7, 0)
    with pytest.raises(RecursionError):
        with_deep(0)
