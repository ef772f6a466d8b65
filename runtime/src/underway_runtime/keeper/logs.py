"""The log of a daemon: files that take turns, as run_erl's do.

``NAME.log.1``, ``NAME.log.2`` and so on are written in turn; before one that exists is begun again the one after it is
removed, so the newest is always the one before the gap. A log that can't be written loses lines, never the service.
"""

from __future__ import annotations

import os
import time

from ..release.filesystem import directories

_TAIL = 16384


class Terminal:
    """The log of a keeper in the foreground, whose nodes print where it does."""

    is_piped = False

    def line(self, text: str) -> None:
        """Tell the operator."""
        try:
            os.write(2, f"{text}\n".encode())
        except OSError:
            pass

    def open(self, stem: str, generations: int, limit: int, alive: float, now: float) -> None:
        """Do nothing: there is no file."""

    def add(self, data: bytes, now: float) -> None:
        """Do nothing: no output comes here."""

    def drop_tail(self) -> None:
        """None is kept."""

    def due(self) -> float | None:
        """Never."""
        return None

    def tick(self, now: float) -> None:
        """Do nothing: nothing is ever due."""

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


class Log:
    """Where the output of the nodes of a daemon goes."""

    is_piped = True

    def __init__(self) -> None:
        self.tail = b""
        """The last of what was said before the first node was ready; what it needs no more is dropped."""
        self._keeps_tail = True
        self._early: list[bytes] = []
        self._stem = ""
        self._file = -1
        self._number = 0
        self._size = 0
        self._lost = 0
        self._generations = 5
        self._limit = 100_000
        self._alive = 0.0
        self._spoke = 0.0

    @property
    def path(self) -> str:
        """The file that is being written, or ""."""
        return f"{self._stem}.{self._number}" if self._stem else ""

    def open(self, stem: str, generations: int, limit: int, alive: float, now: float) -> None:
        """Write to ``STEM.N`` from now on, what came before included. `alive` is in seconds, 0 for no such lines."""
        self._generations, self._limit, self._alive = generations, limit, alive
        if stem != self._stem:
            self._close()
            self._stem = stem
            self._number = self._newest()
        self._fit()
        self._spoke = now
        early, self._early = self._early, []
        self._mark("STARTED")
        for data in early:
            self._write(data)

    def line(self, text: str) -> None:
        """Tell the operator."""
        self.add(f"{text}\n".encode(), time.monotonic())

    def drop_tail(self) -> None:
        """Forget what was printed before a node was ready: nobody asks for it any more."""
        self._keeps_tail, self.tail = False, b""

    def add(self, data: bytes, now: float) -> None:
        """Output of the node, as it came."""
        if self._keeps_tail:
            self.tail = (self.tail + data)[-_TAIL:]
        if not self._stem:
            if sum(map(len, self._early)) < _TAIL * 4:
                self._early.append(data)
            return
        if self._alive and now - self._spoke > self._alive / 3:
            self._mark("")
        self._spoke = now
        self._write(data)

    def due(self) -> float | None:
        """When `tick` is to be called next, on the clock that the others are given."""
        return self._spoke + self._alive if self._stem and self._alive else None

    def tick(self, now: float) -> None:
        """Say that there is nothing to say."""
        if (due := self.due()) is not None and now >= due:
            self._spoke = now
            self._mark("ALIVE")

    def close(self) -> None:
        """Write the end down, and close the file."""
        if self._stem:
            self._mark("ENDED")
        self._close()

    def _mark(self, what: str) -> None:
        self._write(f"===== {what}{' ' * bool(what)}{time.strftime('%Y-%m-%d %H:%M:%S %z')}\n".encode())

    def _write(self, data: bytes) -> None:
        try:
            while data:
                if self._file < 0:
                    self._begin()
                if self._lost:
                    self._put(b"===== %d bytes were lost here: the log could not be written\n" % self._lost)
                    self._lost = 0
                room = self._limit - self._size
                end = len(data) if len(data) <= room else data.rfind(b"\n", 0, max(room, 0)) + 1
                if end == 0 and self._size == 0:
                    end = room  # a line longer than a file
                self._put(data[:end])
                data = data[end:]
                if data:
                    self._turn()
        except OSError:
            self._lost += len(data)

    def _turn(self) -> None:
        """Let the next file have its turn."""
        self._close()
        self._number = self._number % self._generations + 1
        _remove(f"{self._stem}.{self._number}")

    def _put(self, data: bytes) -> None:
        while data:
            written = os.write(self._file, data)
            self._size += written
            data = data[written:]

    def _begin(self) -> None:
        directories.make(os.path.dirname(self._stem))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
        self._file = os.open(f"{self._stem}.{self._number}", flags, 0o640)
        self._size = os.fstat(self._file).st_size
        _remove(f"{self._stem}.{self._number % self._generations + 1}")

    def _newest(self) -> int:
        """The one before the gap."""
        files = [os.path.exists(f"{self._stem}.{number}") for number in range(1, self._generations + 1)]
        for index, exists in enumerate(files):
            if exists and not files[(index + 1) % self._generations]:
                return index + 1
        return 1

    def _fit(self) -> None:
        """Let the last files stay, under the first numbers, where there are more than there are to be, or no gap."""
        directory, name = os.path.split(self._stem)
        try:
            endings = [file[len(name) + 1 :] for file in os.listdir(directory) if file.startswith(f"{name}.")]
            numbers = [int(ending) for ending in endings if ending.isdigit()]
            if max(numbers, default=0) <= self._generations and len(numbers) < self._generations:
                return
            self._close()
            numbers.sort(key=lambda number: (os.stat(f"{self._stem}.{number}").st_mtime_ns, number))
            stay = numbers[1 - self._generations :]
            for number in numbers:
                if number not in stay:
                    _remove(f"{self._stem}.{number}")
            for number in stay:
                os.rename(f"{self._stem}.{number}", f"{self._stem}.{number}.kept")
            for index, number in enumerate(stay):
                os.rename(f"{self._stem}.{number}.kept", f"{self._stem}.{index + 1}")
            self._number = len(stay)
        except OSError:
            pass  # no log, or one that can't be written

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
