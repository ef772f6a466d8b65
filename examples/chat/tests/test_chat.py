"""What the service promises, over HTTP and WebSocket."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from chat import rooms
from chat.web import app


@pytest.fixture
def client() -> Iterator[TestClient]:
    rooms.rooms.clear()
    with TestClient(app) as client:
        yield client


def say(client: TestClient, room: str, name: str, text: str) -> None:
    assert client.post(f"/rooms/{room}/messages", json={"name": name, "text": text}).status_code == 201


def test_health(client: TestClient) -> None:
    """Health names the version and the process that answers."""
    assert client.get("/health").json() == {"status": "ok", "version": version("chat"), "pid": os.getpid()}


def test_page(client: TestClient) -> None:
    """The page comes out of the package."""
    assert "<title>chat</title>" in client.get("/").text


def test_messages_stay_in_their_room(client: TestClient) -> None:
    """A room holds what was said in it, in order, and nothing else."""
    say(client, "lobby", "ann", "hello")
    say(client, "lobby", "bob", "hi")
    say(client, "attic", "cat", "meow")

    lobby = client.get("/rooms/lobby").json()
    assert [(m["number"], m["name"], m["text"]) for m in lobby["messages"]] == [(1, "ann", "hello"), (2, "bob", "hi")]
    assert client.get("/rooms").json() == [
        {"room": "attic", "members": 0, "messages": 1},
        {"room": "lobby", "members": 0, "messages": 2},
    ]


def test_unknown_room(client: TestClient) -> None:
    """A room where nobody has been is not there."""
    assert client.get("/rooms/cellar").status_code == 404


@pytest.mark.parametrize("body", [{}, {"name": "ann"}, {"name": " ", "text": "hello"}, {"name": "ann", "text": ""}])
def test_empty_words_are_refused(client: TestClient, body: dict[str, str]) -> None:
    """Nothing is said without a name and a text."""
    assert client.post("/rooms/lobby/messages", json=body).status_code == 422
    assert client.get("/rooms/lobby").status_code == 404


def test_history_then_events(client: TestClient) -> None:
    """Who joins gets the history first, then everything as it happens, by whatever way it was said."""
    say(client, "lobby", "ann", "anyone?")
    with client.websocket_connect("/ws/lobby?name=bob") as bob:
        assert [m["text"] for m in bob.receive_json()["messages"]] == ["anyone?"]
        assert bob.receive_json() == {"type": "joined", "name": "bob", "members": ["bob"]}
        with client.websocket_connect("/ws/lobby?name=cat") as cat:
            assert bob.receive_json() == {"type": "joined", "name": "cat", "members": ["bob", "cat"]}
            cat.send_json({"text": "me"})
            heard = bob.receive_json()
            assert (heard["type"], heard["number"], heard["name"], heard["text"]) == ("message", 2, "cat", "me")
            say(client, "lobby", "ann", "hi both")
            assert bob.receive_json()["text"] == "hi both"
            assert client.get("/rooms/lobby").json()["members"] == ["bob", "cat"]
        assert bob.receive_json() == {"type": "left", "name": "cat", "members": ["bob"]}


def test_nonsense_closes_the_socket(client: TestClient) -> None:
    """What is not a message closes the connection of who sent it, with a reason, and nobody else's."""
    with client.websocket_connect("/ws/lobby?name=bob") as bob, client.websocket_connect("/ws/lobby?name=cat") as cat:
        cat.send_text("nonsense")
        with pytest.raises(WebSocketDisconnect) as closed:
            while True:
                cat.receive_json()
        assert closed.value.code == 1007
        assert [bob.receive_json()["type"] for _ in range(4)] == ["history", "joined", "joined", "left"]


def test_a_name_cannot_be_borrowed(client: TestClient) -> None:
    """Over a WebSocket one speaks under the name one joined with."""
    with client.websocket_connect("/ws/lobby?name=cat") as cat:
        cat.receive_json(), cat.receive_json()
        cat.send_json({"name": "ann", "text": "hello"})
        assert cat.receive_json()["name"] == "cat"


def test_a_slow_member_is_dropped() -> None:
    """Who does not listen is dropped; the room does not wait."""
    room = rooms.Room("lobby")
    slow = room.join("slow")
    for number in range(rooms.BACKLOG):
        room.say("ann", str(number))

    assert room.present == []
    events = [slow.events.get_nowait() for _ in range(slow.events.qsize())]
    assert events[-1] is None
    assert len(room.messages) == rooms.HISTORY
