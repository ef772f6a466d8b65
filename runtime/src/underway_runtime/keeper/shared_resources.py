"""What a keeper holds for its nodes, whichever of them asks: the lock with its document, the pid file, and the sockets."""

from __future__ import annotations

import os

from ..release import channel
from . import lock, sockets
from .sockets import Sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .child import Child


class SharedResources:
    """One keeper's."""

    def __init__(self, inherited: Iterable[int], log: Callable[[str], object]) -> None:
        """`inherited` are descriptors of sockets that systemd has bound; `log` takes what could not be written."""
        self.sockets = Sockets(inherited)
        self._log = log
        self._lock: lock.Lock | None = None

    def admit(self, node: Child, path: str, pid_path: str, beat: float) -> bool:
        """Let a node share the lock, which is taken for it where it differs from before; whether that could be done."""
        if self._lock is None or not self._lock.is_at(path):
            try:
                holder = lock.acquire(path, pid_path, self._lock)
            except OSError as error:
                node.send(channel.Unwritable(error.strerror or str(error)))
                return False
            if isinstance(holder, str):
                node.send(channel.Busy(holder))
                return False
            if self._lock is not None:
                self._lock.close()
            self._lock = holder
            self._write_pid()
        self.write(f'{{"pid": {os.getpid()}, "node": {node.pid}}}')
        node.send(channel.Held(beat, "", 1), [self._lock.descriptor])
        return True

    def admit_second(self, node: Child, path: str, beat: float, upgrade_id: str, process: int = 1) -> None:
        """Let one more node share the lock: the successor in the handover `upgrade_id`, or a further process."""
        if self._lock is None or not self._lock.is_at(path):
            node.send(channel.Unwritable("the node that hands over has another RELEASE_TMP"))
        else:
            node.send(channel.Held(beat, upgrade_id, process), [self._lock.descriptor])

    def write(self, document: str) -> None:
        """Put a document into the lock file."""
        assert self._lock is not None
        try:
            self._lock.write(document)
        except OSError as error:
            self._log(f"{self._lock.path} can't be written: {error.strerror}")

    def mend(self) -> None:
        """Write the document again, where somebody else has written in the lock file."""
        if self._lock is not None:
            try:
                if self._lock.mend():
                    self._log(f"{self._lock.path} was changed by somebody else, and says again who runs")
                if not self._lock.is_there() and not isinstance(again := self._lock.follow(), str):
                    self._lock = again
                    self._write_pid()  # first: who reads the document finds the pid too
                    again.mend()
                    self._log(f"{again.path} was removed or replaced by somebody else, and is there again")
            except OSError:
                pass  # it is tried again

    def _write_pid(self) -> None:
        assert self._lock is not None
        try:
            self._lock.write_pid()
        except OSError as error:
            self._log(f"{self._lock.pid_path} can't be written: {error.strerror}")

    def bind(self, node: Child, wanted: Iterable[str]) -> None:
        """Give a node the sockets that it asks for."""
        outcomes: list[str] = []
        descriptors: list[int] = []
        for text in wanted:
            try:
                descriptors.append(self.sockets.give(text, node.pid).fileno())
                outcomes.append("")
            except (OSError, ValueError) as error:
                outcomes.append(sockets.reason(error))
        node.send(channel.Bound((*outcomes,)), descriptors)

    def close(self) -> None:
        """Let go of all at the end."""
        self.sockets.close_all()
        if self._lock is not None:
            self._lock.close()
