"""A node whose bytes come all the time and never make an answer: no wait of a command is longer for them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from underway_runtime.control.client.client import Connection, NotAnswering


@contextlib.contextmanager
def dripping(begins: bytes = b"") -> Iterator[Connection]:
    """A connection over which this comes, and then a byte now and then, without end."""
    ours, theirs = socket.socketpair()
    stops = threading.Event()

    def send() -> None:
        theirs.send(begins)
        while not stops.wait(0.01):
            theirs.send(b"\0")

    with ours, theirs:
        sending = threading.Thread(target=send)
        sending.start()
        try:
            yield Connection(ours, "hello")
        finally:
            stops.set()
            sending.join()


def test_the_end_of_a_node_is_waited_for_so_long_and_no_longer() -> None:
    """`restart` has a time for the old node's end, whatever that goes on to send."""
    with dripping() as connection:
        assert not connection.wait_for_end(0.1)


def test_an_answer_that_has_begun_has_a_time_for_its_rest() -> None:
    """`install` waits for the answer of a node that lives as long as it takes, and not for one that comes byte by byte."""
    with dripping((65536).to_bytes(4, "big")) as connection:
        assert connection.has_answered(1)
        with pytest.raises(NotAnswering, match="hello does not answer"):
            connection.rest(0.1)
