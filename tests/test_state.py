"""What an application hands over to its successor, and what it is told of its configuration."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import pytest

from underway_runtime import Application
from underway_runtime.apps.launch import overlaps, run
from underway_runtime.apps.service import Service
from underway_runtime.apps.serving import ServerContext
from underway_runtime.apps.sockets import Listeners
from underway_runtime.apps.state import State, config_change, difference, export_states, import_states
from underway_runtime.release.boot_script import Load
from underway_runtime.release.errors import ConfigError, StateError

CLASS = Load("chat", "1.0", (), {"class": "chat:App"})


class Chat(Application):
    """Notes what it is given."""

    state: Any = None
    given: Any = None

    def export_state(self) -> Any:
        return self.state

    async def import_state(self, state: Any, version: str) -> None:
        self.given = (state, version)

    def config_change(self, changed: Mapping[str, Any], new: Mapping[str, Any], removed: Sequence[str]) -> Any:
        self.given = (changed, new, removed)


def world(**configuration: Any) -> ServerContext:
    return ServerContext(
        lambda _, key, default: configuration.get(key, default),
        lambda message, error=None: None,
        lambda _: Listeners(()),
    )


@pytest.fixture
def messages() -> list[str]:
    return []


async def started(kind: type[Application], monkeypatch: pytest.MonkeyPatch) -> Service:
    module = ModuleType("chat")
    module.App = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "chat", module)
    return await run(CLASS, world())


def exported(kind: type[Application], monkeypatch: pytest.MonkeyPatch, messages: list[str], **limits: Any) -> Any:
    async def scenario() -> Any:
        service = await started(kind, monkeypatch)
        try:
            return await export_states(
                {"chat": ("1.0", service)}, lambda text, error=None: messages.append(text), **limits
            )
        finally:
            await service.stop(1)

    return asyncio.run(scenario())


def of(value: Any) -> type[Chat]:
    return type("Of", (Chat,), {"state": value})


def test_plain_data_is_handed_over(monkeypatch: pytest.MonkeyPatch, messages: list[str]) -> None:
    """With the version that it came from; what has nothing to say is left out."""
    rooms = {"lobby": [1, 2.5, None, True, "ü"]}
    states = exported(of(rooms), monkeypatch, messages)
    given = []

    async def scenario() -> None:
        service = await started(Chat, monkeypatch)
        gone = {"gone": State("1.0", "1")}
        assert await import_states({**states, **gone}, {"chat": service}, lambda text, error=None: None) == []
        given.append(service.subject.given)
        await service.stop(1)

    asyncio.run(scenario())

    assert given == [(rooms, "1.0")]
    assert exported(of(None), monkeypatch, messages) == {}
    assert exported(Application, monkeypatch, messages) == {}
    assert messages == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"rooms": [{1, 2}]}, "export_state returns plain data, and it['rooms'][0] is {1, 2}"),
        ({"at": (1, 2)}, "export_state returns plain data, and it['at'] is (1, 2)"),
        ({1: "one"}, "export_state returns plain data, and a key of it is 1"),
        ({0: "none"}, "export_state returns plain data, and a key of it is 0"),
        ([float("nan")], "export_state returns plain data, and it[0] is nan"),
        ("x" * 200, "its state has 202 bytes, and at most 100 are handed over"),
    ],
)
def test_what_can_not_be_handed_over_is_named(
    monkeypatch: pytest.MonkeyPatch, messages: list[str], value: Any, problem: str
) -> None:
    """Where in the state it is, and what; nothing of it is handed over."""
    assert exported(of(value), monkeypatch, messages, limit=100) == {}
    assert messages == [f"chat 1.0 hands nothing over: {problem}"]


def test_a_state_that_takes_too_long_or_fails_is_told(monkeypatch: pytest.MonkeyPatch, messages: list[str]) -> None:
    """On either side; the hand-over goes on."""

    class Slow(Chat):
        async def export_state(self) -> None:
            await asyncio.Event().wait()

        def import_state(self, state: Any, version: str) -> Any:
            raise KeyError("room")

    assert exported(Slow, monkeypatch, messages, timeout=0.01) == {}

    async def scenario() -> list[str]:
        service = await started(Slow, monkeypatch)
        try:
            return await import_states(
                {"chat": State("0.9", "1")}, {"chat": service}, lambda text, error=None: messages.append(text)
            )
        finally:
            await service.stop(1)

    assert asyncio.run(scenario()) == ["chat"]
    assert messages == [
        "chat 1.0 hands nothing over: it took more than 0.01 s",
        "chat could not take over the state of 0.9: KeyError: 'room'",
    ]


def test_a_change_of_configuration_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OTP's arguments; what an application raises, or that it takes too long, is the reason."""

    class Stuck(Chat):
        async def config_change(self, changed: Any, new: Any, removed: Any) -> Any:
            await asyncio.Event().wait()

    async def scenario() -> Any:
        service, stuck = await started(Chat, monkeypatch), await started(Stuck, monkeypatch)
        await config_change(service, {"b": 5}, {"d": 4}, ["c"])
        with pytest.raises(StateError, match="it took more than"):
            await config_change(stuck, {"b": 5}, {}, [], timeout=0.01)
        await service.stop(1)
        await stuck.stop(1)
        return service.subject.given

    assert asyncio.run(scenario()) == ({"b": 5}, {"d": 4}, ["c"])
    assert difference({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 5, "d": 4}) == ({"b": 5}, {"d": 4}, ["c"])
    assert difference({"a": 1}, {"a": True}) == ({"a": True}, {}, [])


def test_whether_an_application_may_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its class or its boot script; the configuration wins."""
    module = ModuleType("chat")
    module.App = type("App", (Application,), {"overlap": False})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "chat", module)
    main = Load("tool", "1.0", (), {"main": "tool:main", "overlap": False})

    assert not overlaps(CLASS, world())
    assert overlaps(CLASS, world(overlap=True))
    assert not overlaps(main, world())
    assert overlaps(Load("tool", "1.0", (), {"main": "tool:main"}), world())
    with pytest.raises(ConfigError, match="`overlap` of chat is true or false, not 'no'"):
        overlaps(CLASS, world(overlap="no"))
