"""The one file that knows SSH: the system's OpenSSH, with the user's configuration, agent and known hosts.

Host keys are always checked, whatever the configuration says; nothing is asked for; one connection to each host is
shared by all that is done there, and closed in the end.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO

from ...release.addresses import unbracketed
from ...release.errors import UnderwayError
from .. import answers
from ..answers import Answer
from ..inventory import Host, Limits

_MOST = 1 << 24
"""Bytes that a host may print for an answer."""
_PIECE = 1 << 16
_TO_END = 5.0
"""Seconds for what a process has printed to be read, when it has ended."""


class Ssh:
    """Runs commands on hosts, for as long as the block lasts."""

    def __init__(self, limits: Limits, sockets: Path, config: str | None = None) -> None:
        """`sockets` is an empty directory whose path is short, for connections that are shared; `config` is for ``ssh -F``."""
        self._limits = limits
        self._sockets = sockets
        self._config = config
        self._known: dict[Host, None] = {}
        self._running: set[subprocess.Popen[bytes]] = set()

    def __enter__(self) -> Ssh:
        if shutil.which("ssh") is None:
            raise UnderwayError("there is no ssh here; install OpenSSH's client (Debian: apt install openssh-client)")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        hosts = [host for host in self._known if any(self._sockets.iterdir())]
        if hosts:
            with ThreadPoolExecutor(len(hosts)) as pool:
                list(pool.map(self._leave, hosts))

    def argv(self, host: Host, command: Sequence[str]) -> list[str]:
        """What runs a command there; nothing of a host or a command can become an option of ssh or a word of a shell."""
        return [*self._base(host), "--", unbracketed(host.host), shlex.join(command)]

    def run(
        self, host: Host, command: Sequence[str], *, feed: bytes | Path | None = None, timeout: float | None = None
    ) -> Answer:
        """Run a command and give it the bytes, or what a file holds, to read. `timeout` seconds, or `limits.command`."""
        self._known[host] = None
        seconds, nonce = timeout or self._limits.command, secrets.token_hex(8)
        source = feed.open("rb") if isinstance(feed, Path) else None if feed is None else BytesIO(feed)
        with source or nullcontext():
            process = subprocess.Popen(
                self.argv(host, answers.asking(command, nonce, reads=source is not None, limit=self._limits.command)),
                stdin=subprocess.DEVNULL if source is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C at a terminal is for us, and we decide what follows
            )
            self._running.add(process)
            try:
                out, err, given_up = _exchange(process, answers.before_input(nonce), source, seconds)
            finally:
                self._running.discard(process)
        if given_up:
            return Answer(answers.LOST, errors=given_up, lost=True)
        return answers.answer(nonce, process.returncode, out, err)

    def abort(self) -> None:
        """End all that runs now, on the side of this machine: what has begun on a host may go on there."""
        for process in list(self._running):
            _kill(process)

    def dials(self, host: Host) -> str:
        """The name or address that stands for a host in the user's configuration, and is connected to."""
        try:
            done = subprocess.run(
                [*self._base(host), "-G", "--", unbracketed(host.host)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self._limits.connect,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            return unbracketed(host.host)
        names = [line.partition(" ")[2] for line in done.stdout.splitlines() if line.startswith("hostname ")]
        return names[0] if names else unbracketed(host.host)

    def _base(self, host: Host) -> list[str]:
        pulse = max(1, int(self._limits.connect / 3))
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "ConnectTimeout": str(max(1, int(self._limits.connect))),
            "ServerAliveInterval": str(pulse),
            "ServerAliveCountMax": "3",
            "ControlMaster": "auto",
            "ControlPath": f"{self._sockets}/%C",
            "ControlPersist": "60",
            "ClearAllForwardings": "yes",
            "PermitLocalCommand": "no",
            "RemoteCommand": "none",
            "LogLevel": "ERROR",
        }
        config = ["-F", self._config] if self._config else []
        user = ["-l", host.user] if host.user else []
        port = ["-p", str(host.port)] if host.port else []
        return [
            *("ssh", *config, "-T", "-x", "-a"),
            *(word for key, value in options.items() for word in ("-o", f"{key}={value}")),
            *user,
            *port,
        ]

    def _leave(self, host: Host) -> None:
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [*self._base(host), "-O", "exit", "--", unbracketed(host.host)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._limits.connect,
                start_new_session=True,
            )


def _exchange(
    process: subprocess.Popen[bytes], first: bytes, source: IO[bytes] | None, seconds: float
) -> tuple[bytes, bytes, str]:
    """Give a process what it is to read, `first` and then all of the source, and take what it prints on both streams until it has
    ended; with why it was ended, where that was us."""
    output, given_up = (bytearray(), bytearray()), list[str]()

    def give_up(why: str) -> None:
        given_up.append(why)
        _kill(process)

    def read(stream: IO[bytes], into: bytearray) -> None:
        while piece := os.read(stream.fileno(), _PIECE):
            into += piece
            if len(into) > _MOST:
                give_up(f"it has printed more than {_MOST >> 20} MB and was given up")
                return

    def write(stream: IO[bytes], source: IO[bytes]) -> None:
        with suppress(OSError, ValueError):  # it may end, or be given up, before it has read all
            stream.write(first)
            shutil.copyfileobj(source, stream, _PIECE)
        with suppress(OSError):
            stream.close()

    streams = [(process.stdout, output[0]), (process.stderr, output[1])]
    threads = [threading.Thread(target=read, args=arguments, daemon=True) for arguments in streams]
    if process.stdin is not None and source is not None:
        threads.append(threading.Thread(target=write, args=[process.stdin, source], daemon=True))
    for thread in threads:
        thread.start()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        give_up(f"it took more than {seconds:g} s and was given up")
        process.wait()
    for thread in threads:
        thread.join(_TO_END)
    for stream, thread in zip((process.stdout, process.stderr), threads, strict=False):
        if stream is not None and not thread.is_alive():
            stream.close()
    return bytes(output[0]), bytes(output[1]), "; ".join(given_up)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill it with what it has started, a ProxyCommand for one; not the connection that is shared, which has a session of its own."""
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
