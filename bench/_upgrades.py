"""What is upgraded under load: underway's release, and three servers as they are reloaded; one worker each."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from _apps import set_version
from _measure import TOOLS, make_release, run
from _observe import ANSWER_WITHIN, STOP_WITHIN, Failed, ask, last_line
from _peers import REQUIREMENTS

VERSIONS = ("0.1.0", "0.2.0")
KEEP_ALIVE = 75
"""Seconds; longer than any client pauses, as uvicorn closes what was idle for 5 by itself."""

_CONFIGURATION = """from underway_runtime import config, env

config(
    "chat",
    listen=env("CHAT_LISTEN").split(),
    drain_timeout={drain},
    server={{"timeout_keep_alive": {keep_alive}, "access_log": False}},
)
"""


@dataclass
class Server:
    """A service that runs on a port, or is to."""

    command: Sequence[str | Path]
    env: Mapping[str, str]
    port: int
    current: Path
    """The link to the version that is to be imported; what is not underway has it on PYTHONPATH."""
    log: Path
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Return when it answers. Raises Failed when it doesn't."""
        with self.log.open("ab") as said:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                env=dict(self.env),
                cwd="/",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        async with asyncio.timeout(ANSWER_WITHIN):
            while True:
                if self.process.returncode is not None:
                    raise Failed(f"it ended with status {self.process.returncode}: {last_line(self.log)}")
                with suppress(OSError, HTTPException):
                    await asyncio.to_thread(ask, self.port, "/health")
                    return
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """End it; nothing of its group stays."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            self.process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), STOP_WITHIN)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    def select(self, version: str) -> None:
        """Let `current` be a version, by a rename."""
        new = self.current.with_suffix(".new")
        new.symlink_to(self.current.parent / version)
        new.replace(self.current)

    def children(self) -> list[int]:
        assert self.process is not None
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        return [int(pid) for each in threads for pid in (each / "children").read_text().split()]


@dataclass(frozen=True)
class Contender:
    """A way to bring a service to another version while it is asked."""

    label: str
    command: Callable[[int], Sequence[str | Path]]
    """For a port."""
    env: Callable[[int], Mapping[str, str]]
    change: Callable[[Server, str], Awaitable[None]]
    """Returns when the old version has gone. Raises Failed."""
    ours: bool = False
    prepare: Callable[[Server, str], Awaitable[None]] | None = None
    """What is done before that, and does not count as the upgrade. Raises Failed."""


def make(project: Path, drain: float) -> dict[str, Contender]:
    """Build both versions of `project`, a copy of examples/chat, for all contenders. Raises Failed.

    `drain`: seconds that each gives its old version, where it can be told so.
    """
    settings = _CONFIGURATION.format(drain=drain, keep_alive=KEEP_ALIVE)
    (project / "config/runtime.py").write_text(settings, encoding="utf-8")
    python = Path(os.path.realpath(sys.executable))
    root = project.parent
    venv = _make_venv(project, root / "venv", python)
    release = make_release(project)
    _install(project, root / VERSIONS[0], venv)
    set_version(project, python, VERSIONS[1])
    _install(project, root / VERSIONS[1], venv)
    run(TOOLS / "underway", "release", "--quiet", "--path", "build/next", "--python", sys.executable, cwd=project)
    archive = next((project / "build").rglob(f"chat-{VERSIONS[1]}.tar.*"))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    run(release / "bin/chat", "unpack", archive, "--sha256", digest, cwd=root)

    def peer(label: str, change: Callable[[Server, str], Awaitable[None]], *command: str) -> Contender:
        env = {"PATH": os.defpath, "HOME": str(root), "PYTHONPATH": str(root / "current")}
        program = [venv / "bin" / command[0], *command[1:]]
        return Contender(
            label, lambda port: [str(each).replace("PORT", str(port)) for each in program], lambda _: env, change
        )

    patience, seconds = str(round(drain)), str(KEEP_ALIVE)
    uvicorn = ("--no-access-log", "--timeout-keep-alive", seconds, "--timeout-graceful-shutdown", patience)
    worker = ("--worker-class", "uvicorn_worker.UvicornWorker", "--keep-alive", seconds, "--graceful-timeout", patience)
    return {
        "underway": Contender(
            "underway install",
            lambda _: [release / "bin/chat", "start"],
            lambda port: {"PATH": os.defpath, "CHAT_LISTEN": f"tcp://127.0.0.1:{port}"},
            _install_release,
            ours=True,
        ),
        "kept": Contender(
            "underway check --keep, install",
            lambda _: [release / "bin/chat", "start"],
            lambda port: {"PATH": os.defpath, "CHAT_LISTEN": f"tcp://127.0.0.1:{port}"},
            _install_release,
            ours=True,
            prepare=_keep_release,
        ),
        "gunicorn": peer(
            "gunicorn HUP",
            _hang_up,
            *("gunicorn", "--bind", "127.0.0.1:PORT", "--log-level", "warning", *worker, "chat.web:app"),
        ),
        "granian": peer(
            "granian HUP",
            _hang_up,
            *("granian", "--interface", "asgi", "--port", "PORT", "--workers-kill-timeout", patience, "chat.web:app"),
        ),
        "uvicorn": peer(
            "uvicorn, kill and start", _kill_and_start, "uvicorn", "--port", "PORT", *uvicorn, "chat.web:app"
        ),
    }


async def _install_release(server: Server, version: str) -> None:
    await _have_done(server, "install", version)


async def _keep_release(server: Server, version: str) -> None:
    await _have_done(server, "check", version, "--keep", "60")


async def _have_done(server: Server, *words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(server.command[0], *words),
        env=dict(server.env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode != 0:
        raise Failed(
            f"{' '.join(words)} ended with status {process.returncode}: {said.decode(errors='replace').strip()}"
        )


async def _hang_up(server: Server, version: str) -> None:
    """A new worker, forked from the process that stays, imports again; until the old worker has gone."""
    assert server.process is not None
    server.select(version)
    old = server.children()
    server.process.send_signal(signal.SIGHUP)
    while set(old).intersection(server.children()):
        await asyncio.sleep(0.02)


async def _kill_and_start(server: Server, version: str) -> None:
    assert server.process is not None
    server.select(version)
    server.process.terminate()
    await server.process.wait()
    await server.start()


def _make_venv(project: Path, venv: Path, python: Path) -> Path:
    """All that the service needs, as locked, and the servers, as pinned; the service itself comes from PYTHONPATH."""
    locked = ("--locked", "--no-dev", "--no-emit-project", "--no-header", "--no-annotate")
    run(TOOLS / "uv", "export", "--quiet", *locked, "--output-file", "requirements.txt", cwd=project)
    run(TOOLS / "uv", "venv", "--quiet", "--python", python, venv, cwd=project)
    install = (TOOLS / "uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", venv / "bin/python")
    run(*install, "--requirements", "requirements.txt", cwd=project)
    servers = ("gunicorn", "uvicorn-worker", "granian", "click", "packaging")
    run(*install, "--no-deps", "--constraints", REQUIREMENTS, *servers, cwd=project)
    return venv


def _install(project: Path, target: Path, venv: Path) -> None:
    options = ("--quiet", "--no-deps", "--compile-bytecode", "--python", venv / "bin/python", "--target", target)
    run(TOOLS / "uv", "pip", "install", *options, ".", cwd=project)
