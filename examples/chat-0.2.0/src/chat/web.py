"""The service: ``uvicorn chat.web:app`` runs it in a project, ``bin/chat start`` in a release."""

from __future__ import annotations

import asyncio
import os
from importlib.metadata import version
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Path, Query, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, StringConstraints

from . import rooms

VERSION = version("chat")

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
RoomName = Annotated[str, Path(pattern=r"^[\w.-]{1,40}$")]

app = FastAPI(title="chat", version=VERSION)


class Say(BaseModel):
    """What a member says."""

    name: Name
    text: Text


@app.get("/", response_class=HTMLResponse)
async def page() -> str:
    """A page to chat with."""
    return files("chat").joinpath("page.html").read_text(encoding="utf-8")


@app.get("/health")
async def health() -> dict[str, Any]:
    """Which version answers, from which process."""
    return {"status": "ok", "version": VERSION, "pid": os.getpid()}


@app.get("/rooms")
async def list_rooms() -> list[dict[str, Any]]:
    """All rooms, with how many are there and how much was said."""
    return [
        {"room": room.name, "members": len(room.members), "messages": room.said}
        for _, room in sorted(rooms.rooms.items())
    ]


@app.get("/rooms/{name}")
async def show_room(name: RoomName) -> dict[str, Any]:
    """Who is in a room, and what was said."""
    room = rooms.rooms.get(name)
    if room is None:
        raise HTTPException(404, f"nobody has been in {name} yet")
    return {"room": room.name, "topic": room.topic, "members": room.present, "messages": room.latest()}


@app.post("/rooms/{name}/messages", status_code=201)
async def say(name: RoomName, said: Say) -> rooms.Message:
    """Say something in a room; who listens there hears it at once."""
    return rooms.room(name).say(said.name, said.text)


@app.websocket("/ws/{name}")
async def chat(socket: WebSocket, name: RoomName, as_name: Annotated[Name, Query(alias="name")]) -> None:
    """Join a room: first its history, then every event; what is sent as ``{"text": ...}`` is said."""
    await socket.accept()
    room = rooms.room(name)
    member = room.join(as_name)
    sender = asyncio.create_task(send(member, socket))
    try:
        while True:
            said = Say.model_validate({"name": as_name, **await socket.receive_json()})
            room.say(as_name, said.text)
    except WebSocketDisconnect:
        pass
    except ValueError as error:
        await socket.close(1007, f'send {{"text": "..."}}: {type(error).__name__}')
    finally:
        room.leave(member)
        sender.cancel()


async def send(member: rooms.Member, socket: WebSocket) -> None:
    """Send a member what it is told, until nothing more will come."""
    while (event := await member.events.get()) is not None:
        await socket.send_json(event)
    await socket.close(1013, "too slow")
