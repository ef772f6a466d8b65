"""The ends of a node that nothing else can bring: of an import that does not return, a drain or a stop that hangs."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from ..process import deadlines
from ..process.log import last_words
from ..release.errors import EXIT_FAILED


class ForcedEnd:
    """Ends the process, whatever its threads do."""

    def __init__(self, restore: Callable[[], object]) -> None:
        """`restore` is called before: it puts the terminal in order."""
        self._restore = restore

    def now(self, reason: str) -> NoReturn:
        """End the process with status 1; `reason` is its last line."""
        self._restore()
        last_words(reason)
        os._exit(EXIT_FAILED)

    def after(self, seconds: float, reason: Callable[[], str]) -> deadlines.Timer:
        """End the process in so many seconds, unless the timer is cancelled; `reason` is called then."""
        timer = deadlines.Timer(seconds, lambda: self.now(reason()))
        timer.daemon = True
        timer.start()
        return timer

    @contextlib.contextmanager
    def unless_done_in(self, seconds: float, reason: Callable[[], str]) -> Iterator[Callable[[], None]]:
        """End the process where the block takes longer; what it is given begins the time again."""
        timer = self.after(seconds, reason)
        try:
            yield timer.begin_again
        finally:
            timer.cancel()


def threads_left() -> str:
    """The names of the threads that keep the process from its end."""
    left = [t.name for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
    return ", ".join(sorted(left)) or "main"
