"""The one file that knows SSH: the system's OpenSSH, with the user's configuration, agent and known hosts.

Host keys are always checked, whatever the configuration says; nothing is asked for; one connection to each host is
shared by all that is done there, and closed in the end.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ..release.errors import UnderwayError
from .hosts import Host, Limits

_FAILED = 255
"""The status of ssh itself."""


@dataclass(frozen=True)
class Answer:
    """What came of a command on a host."""

    status: int
    output: str = ""
    errors: str = ""

    @property
    def reason(self) -> str:
        """Why it failed, in a line for each thing that was said."""
        said = [line for line in self.errors.splitlines() if line.strip()]
        return "\n".join(said).removeprefix("error: ") or f"it ended with status {self.status}"

    @property
    def unreachable(self) -> bool:
        return self.status == _FAILED


class Ssh:
    """Runs commands on hosts, for as long as the block lasts."""

    def __init__(self, limits: Limits, config: str | None = None) -> None:
        self._limits = limits
        self._config = config
        self._sockets = ""
        self._known: dict[Host, None] = {}

    def __enter__(self) -> Ssh:
        if shutil.which("ssh") is None:
            raise UnderwayError("there is no ssh here; install OpenSSH's client (Debian: apt install openssh-client)")
        self._sockets = tempfile.mkdtemp(prefix="uw-", dir="/tmp")  # a socket's path is 108 bytes at most
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        there = [host for host in self._known if any(Path(self._sockets).iterdir())]
        if there:
            with ThreadPoolExecutor(len(there)) as pool:
                list(pool.map(self._leave, there))
        shutil.rmtree(self._sockets, ignore_errors=True)

    def argv(self, host: Host, command: Sequence[str]) -> list[str]:
        """What runs a command there; nothing of a host or a command can become an option of ssh or a word of a shell."""
        return [*self._base(host), "--", host.host.strip("[]"), shlex.join(command)]

    def run(
        self, host: Host, command: Sequence[str], *, feed: bytes | Path | None = None, within: float | None = None
    ) -> Answer:
        """Run a command and give it the bytes, or what a file holds, to read. `within` seconds, or `limits.command`."""
        self._known[host] = None
        seconds = within or self._limits.command
        source = feed.open("rb") if isinstance(feed, Path) else None
        try:
            process = subprocess.Popen(
                self.argv(host, command),
                stdin=source or (subprocess.DEVNULL if feed is None else subprocess.PIPE),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            try:
                out, err = process.communicate(feed if isinstance(feed, bytes) else None, timeout=seconds)
            except subprocess.TimeoutExpired:
                return Answer(_FAILED, errors=f"it took more than {seconds:g} s and was given up")
            finally:
                if process.poll() is None:
                    process.kill()
                    process.communicate()
        finally:
            if source is not None:
                source.close()
        return Answer(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))

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
                [*self._base(host), "-O", "exit", "--", host.host.strip("[]")],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._limits.connect,
            )


def hosts_of(nodes: Iterable[Host]) -> list[Host]:
    """Each host once, however many nodes it has."""
    first: dict[tuple[str, str | None, int | None], Host] = {}
    for node in nodes:
        first.setdefault((node.host, node.user, node.port), node)
    return list(first.values())
