"""The keeper's side of systemd's protocols; without systemd all of it does nothing. See sd_notify(3), sd_listen_fds(3)."""

from __future__ import annotations

import _socket
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping


class Systemd:
    """What systemd gave to this process; it is taken out of the environment, for it is not meant for the node."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        self.watchdog = 0.0
        """Seconds within which systemd wants a sign of life, or 0."""
        self.descriptors: list[int] = []
        """Listening sockets that it has bound for us."""
        microseconds, of = environ.pop("WATCHDOG_USEC", "0"), environ.pop("WATCHDOG_PID", str(os.getpid()))
        if self._address and microseconds.isdigit() and of == str(os.getpid()):
            self.watchdog = int(microseconds) / 1_000_000
        number, of = environ.pop("LISTEN_FDS", "0"), environ.pop("LISTEN_PID", "")
        environ.pop("LISTEN_FDNAMES", None)
        if number.isdigit() and of == str(os.getpid()):
            self.descriptors = list(range(3, 3 + int(number)))
        for descriptor in self.descriptors:
            os.set_inheritable(descriptor, False)

    def send(self, *lines: str) -> None:
        """Send what it is to know, ``READY=1`` for example. Never raises and never waits."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        sending = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        try:
            sending.setblocking(False)
            sending.sendto("\n".join(lines).encode(), address)
        except OSError:
            pass
        finally:
            sending.close()

    def reloading(self) -> None:
        """Say that the service is about to be another, and not ready until it says so again."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
