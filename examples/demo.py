"""What underway does, in a minute: a service becomes a release, moves, runs where nothing is installed, and answers.

Builds examples/chat in a scratch directory, moves the release elsewhere, starts it in an empty environment, talks to
it over HTTP and WebSocket, puts new code into the running process and takes it out again, upgrades it by a fresh
interpreter while it is asked, lets upgrades fail, rolls back and stops it. Whatever goes wrong makes the exit status 1;
nothing is left behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from websockets.sync.client import ClientConnection, connect

CHAT = Path(__file__).resolve().parent / "chat"
NEXT = CHAT.with_name("chat-0.2.0")
UNDERWAY = Path(sys.executable).with_name("underway")
MIGRATES = "        return {**state,"
"""The line with which the rooms of the next version get their topic."""
READY_WITHIN = 60.0
STOPPED_WITHIN = 30.0
ANSWER_WITHIN = 10.0
HOPELESS = """
[[tool.underway.gates]]
http = "/health"
contains = "perfect"
attempts = 1
"""


class Failure(Exception):
    """The demonstration did not show what it is there to show."""


def main() -> int:
    """Run the demonstration; 0 when all of it held."""
    with tempfile.TemporaryDirectory(prefix="underway-demo-") as scratch:
        try:
            demonstrate(Path(scratch))
        except (Failure, OSError, subprocess.SubprocessError) as error:
            print(f"\ndemo: {error}", file=sys.stderr)
            return 1
    return 0


def demonstrate(scratch: Path) -> None:
    """The story, in order."""
    project, home = scratch / "project", scratch / "elsewhere" / "chat"

    heading("Build: the project, its locked dependencies and the interpreter become one directory")
    shutil.copytree(CHAT, project, ignore=shutil.ignore_patterns("build", ".venv", "__pycache__", ".pytest_cache"))
    show((project / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.underway]")[2], prefix="  | ")
    run(UNDERWAY, "release", cwd=project)

    heading("Build the next version, with the way to it from the first one and back, and look at that")
    become(project, "0.2.0")
    upgrade(project, "0.2.0")
    run(UNDERWAY, "plan", "build/release/chat", "build/0.2.0", "--at-least", "migrate", cwd=project)

    heading("Build one whose code_change raises")
    become(project, "0.3.0")
    rooms = project / "src/chat/rooms.py"
    rooms.write_text(rooms.read_text().replace(MIGRATES, f"        raise LookupError('no topic')\n{MIGRATES}"))
    upgrade(project, "0.3.0")

    heading("Build two without a plan; the last one has a gate that it can't pass")
    become(project, "0.4.0")
    run(UNDERWAY, "release", "--path", "build/0.4.0", "--quiet", cwd=project)
    become(project, "0.5.0")
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(HOPELESS)
    print(textwrap.indent(HOPELESS.strip(), "  | "))
    run(UNDERWAY, "release", "--path", "build/0.5.0", "--quiet", cwd=project)

    heading("Move it: nothing in it is absolute")
    home.parent.mkdir()
    for archive in project.rglob("*.tar.zst"):
        archive.rename(home.parent / archive.name)
    (project / "build/release/chat").rename(home)
    shutil.rmtree(project)
    print(f"  {home.relative_to(scratch)}: {describe(home)}")

    heading("Start it, in an empty environment")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with started(home, port) as process:
        await_health(url, process)

        heading("Call it")
        health = call(url, "/health")
        expect("the parent of the process that answers", parent_of(health["pid"]), process.pid)
        call(url, "/rooms/lobby/messages", {"name": "ann", "text": "is anybody there?"})
        talk(port)
        lobby = call(url, "/rooms/lobby")
        expect("who spoke in the lobby", [message["name"] for message in lobby["messages"]], ["ann", "bob"])

        with asking(f"{url}/health") as failures:
            with joined(port) as bob:
                heading("New code in the running process: bob stays connected, and the room gets a topic")
                change(home, "upgrade", "0.2.0", "--at-least", "hot")
                after = call(url, "/health")
                expect("version and process", (after["version"], after["pid"]), ("0.2.0", health["pid"]))
                expect("the topic of the room", call(url, "/rooms/lobby")["topic"], "bob is")
                expect("what bob hears of another", hear(bob, "/topic tea")[0], {"type": "topic", "topic": "tea"})

                heading("And back, in the same process")
                run(home / "bin/chat", "rollback", env={})
                after = call(url, "/health")
                expect("version and process", (after["version"], after["pid"]), ("0.1.0", health["pid"]))
                expect("what bob hears of that", [event["type"] for event in hear(bob, "/topic milk")], ["message"])

                heading("A version whose code_change raises: all is as it was")
                change(home, "upgrade", "0.3.0", "--at-least", "hot", status=4)
                lobby = call(url, "/rooms/lobby")
                expect("what was said last", lobby["messages"][-1]["text"], "/topic milk")
                expect("who is there", lobby["members"], ["bob"])
                expect("the process that answers", call(url, "/health")["pid"], health["pid"])

            heading("A fresh interpreter: the new version accepts, and only then the old one drains and leaves")
            change(home, "upgrade", "0.4.0")
            after = call(url, "/health")
            expect("the parent of the process that answers now", parent_of(after["pid"]), process.pid)

            heading("A version that does not pass its gate: the old one is never stopped")
            change(home, "upgrade", "0.5.0", status=4)
            expect("the process that answers", call(url, "/health")["pid"], after["pid"])

            heading("Roll back")
            run(home / "bin/chat", "rollback", env={})
            run(home / "bin/chat", "releases", env={})
        expect("requests that failed meanwhile", failures, [])

        heading("Stop it")
        run(home / "bin/chat", "stop", env={})
        expect("its exit status", process.wait(STOPPED_WITHIN), 0)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            raise Failure(f"somebody still listens on port {port}")


@contextlib.contextmanager
def started(home: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """``bin/chat start`` for as long as the block lasts, whatever happens in it."""
    command = [str(home / "bin/chat"), "start"]
    environment = {"CHAT_LISTEN": f"tcp://127.0.0.1:{port}"}
    print(f"  $ env -i CHAT_LISTEN={environment['CHAT_LISTEN']} bin/chat start", flush=True)
    process = subprocess.Popen(command, env=environment, cwd="/", stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def await_health(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return once the service answers. Raises Failure when it ends instead, or takes too long."""
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failure(f"bin/chat start ended with status {process.returncode} before it answered")
        with contextlib.suppress(OSError):
            request(f"{url}/health")
            return
        time.sleep(0.05)
    raise Failure(f"the service did not answer within {READY_WITHIN:.0f} seconds")


def talk(port: int) -> None:
    """Join a room over a WebSocket, say something, hear it."""
    address = f"ws://127.0.0.1:{port}/ws/lobby?name=bob"
    print(f"  $ websocket {address}")
    with connect(address, proxy=None, open_timeout=ANSWER_WITHIN) as bob:
        events = [json.loads(bob.recv(timeout=ANSWER_WITHIN)) for _ in range(2)]
        bob.send(json.dumps({"text": "bob is"}))
        events.append(json.loads(bob.recv(timeout=ANSWER_WITHIN)))
    for event in events:
        print(f"    {json.dumps(event)}")
    expect("what bob heard", [event["type"] for event in events], ["history", "joined", "message"])
    expect("what was said before", [message["text"] for message in events[0]["messages"]], ["is anybody there?"])


@contextlib.contextmanager
def joined(port: int) -> Iterator[ClientConnection]:
    """Bob, in the lobby for as long as the block lasts; he has heard what there was."""
    address = f"ws://127.0.0.1:{port}/ws/lobby?name=bob"
    print(f"  $ websocket {address}")
    with connect(address, proxy=None, open_timeout=ANSWER_WITHIN) as bob:
        for _ in ("history", "joined"):
            bob.recv(timeout=ANSWER_WITHIN)
        yield bob


def hear(bob: ClientConnection, text: str) -> list[Any]:
    """Say something over the connection that is open; all events up to what was said, shown."""
    bob.send(json.dumps({"text": text}))
    events: list[Any] = []
    while not events or events[-1].get("text") != text:
        events.append(json.loads(bob.recv(timeout=ANSWER_WITHIN)))
        print(f"    {json.dumps(events[-1])}")
    return events


def call(url: str, path: str, body: dict[str, str] | None = None) -> Any:
    """Call the service and show the answer."""
    print(f"  $ curl {url}{path}" + (f" --json '{json.dumps(body)}'" if body else ""))
    answer = request(url + path, body)
    print(f"    {json.dumps(answer)}")
    return answer


def request(url: str, body: dict[str, str] | None = None) -> Any:
    """The JSON that a URL answers with; a proxy of the environment's is not asked."""
    data = json.dumps(body).encode() if body else None
    with build_opener(ProxyHandler({})).open(
        Request(url, data, {"Content-Type": "application/json"}), timeout=ANSWER_WITHIN
    ) as answer:
        return json.load(answer)


def run(
    command: Path,
    *args: str,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    status: int = 0,
) -> None:
    """Run a command that must end with this status, its output shown."""
    name = f"bin/{command.name}" if command != UNDERWAY else command.name
    print(f"  $ {name} {' '.join(args)}", flush=True)
    ended = subprocess.run([command, *args], cwd=cwd, env=env, timeout=600, check=False).returncode
    if ended != status:
        raise Failure(f"{command.name} {' '.join(args)} ended with status {ended}")


def become(project: Path, version: str) -> None:
    """Make the project its next version, under this number."""
    shutil.copytree(NEXT, project, dirs_exist_ok=True)
    text = (CHAT / "pyproject.toml").read_text(encoding="utf-8")
    text = text.replace('version = "0.1.0"', f'version = "{version}"')
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    lock = (CHAT / "uv.lock").read_text(encoding="utf-8")
    lock = lock.replace('name = "chat"\nversion = "0.1.0"', f'name = "chat"\nversion = "{version}"')
    (project / "uv.lock").write_text(lock, encoding="utf-8")


def upgrade(project: Path, version: str) -> None:
    """Build a version, with the way to it from the first one and back."""
    path = ("--path", f"build/{version}", "--upgrade-from", "build/release/chat")
    run(UNDERWAY, "release", *path, "--quiet", cwd=project)


def change(home: Path, command: str, version: str, *options: str, status: int = 0) -> None:
    """Unpack a version from its archive and have it take over."""
    archive = home.parent / f"chat-{version}.tar.zst"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    run(home / "bin/chat", command, str(archive), "--sha256", digest, *options, env={}, status=status)


@contextlib.contextmanager
def asking(url: str) -> Iterator[list[str]]:
    """Somebody who asks all the time; what has failed."""
    failures: list[str] = []
    enough = threading.Event()

    def ask() -> None:
        while not enough.wait(0.05):
            try:
                request(url)
            except OSError as error:
                failures.append(repr(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield failures
    finally:
        enough.set()
        thread.join(ANSWER_WITHIN)


def parent_of(pid: int) -> int:
    """The keeper of a node is its parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def describe(root: Path) -> str:
    """How large a directory is."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return f"{len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.0f} MB"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def expect(what: str, got: object, wanted: object) -> None:
    """Raises Failure when the two differ."""
    if got != wanted:
        raise Failure(f"{what}: {wanted!r} was expected, not {got!r}")


def heading(text: str) -> None:
    """Begin a chapter."""
    print(f"\n{text}\n", flush=True)


def show(text: str, prefix: str) -> None:
    """The first paragraph of a text, indented."""
    for line in ["[tool.underway]", *text.strip().split("\n\n")[0].splitlines()]:
        print(prefix + line)


if __name__ == "__main__":
    os.environ.pop("VIRTUAL_ENV", None)
    sys.exit(main())
