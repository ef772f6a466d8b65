"""What takes its time is waited for as long as the node lives, and one clear error says what is known where it does not."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from control_helpers import Stand, stand
from node_helpers import eventually
from underway_runtime.control import client_session
from underway_runtime.control.client import client, handover_request, patience
from underway_runtime.control.client.client import Denied
from underway_runtime.node import handover as node_handover
from underway_runtime.release.errors import UnderwayError
from underway_runtime.upgrade import watch_gates
from underway_runtime.upgrade.install import InstallResult
from upgrade_helpers import make_host

ASKS = [
    pytest.param(lambda place: handover_request.hand_over(place, "2", "id", 0), "whether 2 takes over", id="handover"),
    pytest.param(lambda place: handover_request.install(place, "2", "id", 0), "whether 2 is put in", id="in place"),
]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    """A node whose commands look after it at once."""
    monkeypatch.setattr(patience, "LOOKS", 0.3)
    with tempfile.TemporaryDirectory() as short, stand(Path(short, "var")) as made:
        made.serve()
        yield made


def answering(served: Stand, outcome: Future[dict[str, Any]]) -> client.Place:
    """The place of a node that answers a handover and an install with this."""
    node = cast(Any, served.node)
    node.hand_over = node.install = lambda _: outcome
    return client.Place(served.environ)


def begun() -> Future[dict[str, Any]]:
    outcome: Future[dict[str, Any]] = Future()
    outcome.set_running_or_notify_cancel()
    return outcome


@contextlib.contextmanager
def held(hold: Any) -> Iterator[None]:
    """Something waits, as long as the block lasts."""
    enough = threading.Event()
    hold(enough.wait)
    try:
        yield
    finally:
        enough.set()


@pytest.mark.parametrize(("ask", "_"), ASKS)
def test_what_the_loop_does_not_begin_with_is_refused_and_never_begun(
    served: Stand, monkeypatch: pytest.MonkeyPatch, ask: Any, _: str
) -> None:
    """So that it is true that nothing has changed."""
    monkeypatch.setattr(client_session, "TO_BEGIN", 0.05)
    outcome: Future[dict[str, Any]] = Future()

    with pytest.raises(
        Denied, match=r"the loop of hello has not answered for 0\.05 s, so nothing was begun and nothing"
    ):
        ask(answering(served, outcome))

    assert outcome.cancelled()


def test_what_was_not_begun_when_the_client_left_is_not_begun(served: Stand) -> None:
    """An interrupted command has changed nothing."""
    outcome: Future[dict[str, Any]] = Future()
    answering(served, outcome)
    connection = served.connect()
    connection.send({"do": "hand over", "version": "2", "id": "id", "to_commit": 0})
    connection.close()

    assert eventually(outcome.cancelled, "it is not to be begun")


@pytest.mark.parametrize(("ask", "unknown"), ASKS)
def test_a_node_that_freezes_meanwhile_is_given_up(served: Stand, ask: Any, unknown: str) -> None:
    """Its control socket does not answer; what has become of it is not known, and that is what is said."""
    outcome = begun()
    place = answering(served, outcome)

    def freeze(wait: Any) -> None:
        cast(Any, served.node).hand_over = cast(Any, served.node).install = lambda _: wait() and outcome

    with (
        held(freeze),
        pytest.raises(patience.GivenUp, match=f"hello has not answered for 0.3 s: it is frozen.* {unknown}"),
    ):
        ask(place)


@pytest.mark.parametrize(("ask", "unknown"), ASKS)
def test_a_node_whose_loop_is_blocked_meanwhile_is_given_up(
    served: Stand, monkeypatch: pytest.MonkeyPatch, ask: Any, unknown: str
) -> None:
    """After a time that no application needs."""
    monkeypatch.setattr(patience, "BLOCKED", 1)
    place = answering(served, begun())

    with (
        held(served.loop.call_soon_threadsafe),
        pytest.raises(patience.GivenUp, match=f"the loop of hello has not answered for [1-9].* {unknown}"),
    ):
        ask(place)


def test_a_node_that_lives_is_waited_for(served: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many looks are no reason to give it up."""
    outcome = begun()
    place = answering(served, outcome)
    looks = []

    def status() -> dict[str, Any]:
        looks.append(1)
        return {"name": "hello"}

    def answer() -> None:
        eventually(lambda: len(looks) > 2, "three looks")
        outcome.set_result({"busy": "it knits"})

    monkeypatch.setattr(served.node, "status", status)
    answers = threading.Thread(target=answer)
    answers.start()

    with pytest.raises(UnderwayError, match="hello can't hand over now: it knits"):
        handover_request.hand_over(place, "2", "id", 0)
    answers.join()


def test_an_upgrade_to_what_blocks_its_loop_says_what_runs(
    served: Stand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its gates can't be tried and nobody can take over from it: it has failed, runs on, and what ends it is named."""
    monkeypatch.setattr(client_session, "TO_BEGIN", 0.05)
    notes: list[str] = []
    monkeypatch.setattr(watch_gates, "_note_failed", lambda handler, installed, why: notes.append(why))
    monkeypatch.setattr(client.Connection, "status", lambda _: {"version": "2"})
    place = answering(served, Future())
    cast(Any, served.node).try_gates = Future
    installed = InstallResult("2", "1", "current", "handover", id="id")

    with pytest.raises(UnderwayError, match="2 has failed, runs on and is not committed, for 1 can't take"):
        watch_gates.watch(make_host(tmp_path).handler, place, installed)

    assert [note.partition(",")[0] for note in notes] == ["the loop of hello has not answered for 0.05 s"]


def test_a_keeper_that_says_nothing_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would have ended a successor that is late; so it is the keeper who hangs, and another handover may be asked for."""
    monkeypatch.setattr(node_handover, "TO_HEAR", 0.1)

    async def nothing(*_: Any) -> None:
        pass

    async def scenario() -> None:
        keeper = SimpleNamespace(upgrade_id="", on_message=lambda *_: None, successor=lambda *_: None)
        hooks = SimpleNamespace(before_handover=nothing)
        arguments: list[Any] = [keeper, SimpleNamespace(hooks=hooks), print, 0.1, print, print, print]
        handover = node_handover.Handover(*arguments)
        handover.started.set()
        with pytest.raises(UnderwayError, match=r"the keeper \(pid \d+\) has not answered for 0.2 s.*whether 2 takes"):
            await asyncio.wrap_future(handover.begin("2", "id", 0))
        assert handover.busy == ""

    asyncio.run(scenario())
