"""An application that answers HTTP with the standard library only, and somebody who asks it all the time."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from node_helpers import TIMEOUT, App
from sources import source

SOURCE = source("two_bytes/v1/web.py")


def web() -> App:
    """The application, called ``web``; it says ``serving PORT`` when it has started."""
    return App("web", SOURCE, {"class": "web:App"})


@dataclass
class Asked:
    """What became of the questions."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)


@contextlib.contextmanager
def asking(port: int) -> Iterator[Asked]:
    """Ask over and over, in a thread, while the block lasts."""
    asked, enough = Asked(), threading.Event()

    def ask() -> None:
        while not enough.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
            try:
                connection.request("GET", "/")
                assert connection.getresponse().read() == b"ok"
                asked.answered += 1
            except (OSError, http.client.HTTPException, AssertionError) as error:
                asked.failures.append(repr(error))
            finally:
                connection.close()
            enough.wait(0.002)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        enough.set()
        thread.join(TIMEOUT)
