"""What an object has made of an attribute that changes would stay: the process looks whether it has."""

from __future__ import annotations

import pytest

from handover_helpers import asgi
from hot_helpers import planned
from node_helpers import MakeNode
from underway_runtime.release.instructions import Load
from underway_runtime.release.parts import Part, Step

CONF = """
from functools import cached_property
class Base:
    def at(self): return 'http://' + self.host
class Conf(Base):
    calls = 0
    def __init__(self, host): self.host, self._url, self.seen, self.open, self.rooms = host, None, 0, False, {}
    @cached_property
    def url(self): return self.at()
    def lazy(self):
        if self._url is None: self._url = self.at()
        self.seen += 1
        self.open = True
        self.rooms[self.host] = 1
        return self._url
    def found(self):
        if not hasattr(self, '_found'): self._found = len(self.at())
        return self._found
    def other(self, n):
        self.last = n
        return n
CONF = Conf('a')
"""
REMEMBERING = """
from functools import lru_cache
class Conf:
    def __init__(self, host): self.host = host
    @lru_cache
    def url(self): return 'http://' + self.host
CONF = Conf('a')
"""
PATH = "from pathlib import PurePosixPath\nclass Place(PurePosixPath): pass\nROOT = Place('/a')\n"


@pytest.mark.in_place
def test_the_process_is_asked_for_what_methods_make_of_an_attribute(make: MakeNode) -> None:
    """Of all that they assign but constants, sums and entries of dictionaries: those are state. Also what is not there before."""
    entry = planned(make(asgi(CONF)), CONF.replace("Conf('a')", "Conf('b')"), back=False).up[0]

    [load] = (each for each in entry.instructions if isinstance(each, Load))
    at: tuple[Step, ...] = (("attribute", "CONF"),)
    assert [part for part in load.parts if part.kind == "untouched"] == [
        Part("untouched", at, {"_found": [], "_url": [None], "url": []})
    ]
    assert any("if what may be made of that (_found, _url, url) is still" in row.reason for row in entry.changes)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (REMEMBERING, REMEMBERING.replace("Conf('a')", "Conf('b')"), "url remembers what it has returned"),
        (PATH, PATH.replace("'/a'", "'/b'"), "a path keeps what it was asked for"),
    ],
    ids=["a method that remembers", "a path of its own class"],
)
@pytest.mark.in_place
def test_what_is_kept_where_nobody_can_look_takes_a_fresh_interpreter(
    make: MakeNode, old: str, new: str, reason: str
) -> None:
    """The plan says what keeps it."""
    entry = planned(make(asgi(old)), new, back=False).up[0]

    assert entry.verdict == "RESTART"
    assert reason in "\n".join(row.reason for row in entry.changes)
