"""Pictures in files: what is written is read, the same picture gives the same bytes, and what is damaged is refused."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pictures import picture_of
from underway_runtime.observation import columns, encoded, noise
from underway_runtime.observation.canonical import canonical
from underway_runtime.observation.compare import compare
from underway_runtime.observation.encoded import MAGIC, Observation
from underway_runtime.observation.node import Flag, Node, Path
from underway_runtime.observation.picture import Picture
from underway_runtime.release.errors import DamagedRelease

SOURCE = """
import collections
class A:
    def f(self, x=1): return x
TABLE = {"a": A, A: [A.f, {"b", 2}], (1, "x"): None}
"""
WHOLE = Observation(picture_of(SOURCE), {"seen_shop": {"A": ["x"]}}, {"threads": ["one"]}, "3.11.7")
CONTENT = encoded.dump(WHOLE)


def document() -> dict[str, Any]:
    """What is in the file, as JSON."""
    found: dict[str, Any] = json.loads(zlib.decompress(CONTENT[len(MAGIC) :]))
    return found


def packed(document: Any) -> bytes:
    """A file with such a document."""
    return MAGIC + zlib.compress(json.dumps(document).encode())


def test_what_is_written_is_read() -> None:
    """Nodes, modules, trace, effects and interpreter come back, without the objects."""
    read = encoded.load(CONTENT)

    assert read == replace(WHOLE, picture=replace(WHOLE.picture, objects=()))
    assert encoded.dump(read) == CONTENT


def test_each_file_that_is_cut_off_or_goes_on_is_refused() -> None:
    """A file that is not whole, or more than that, is refused wherever it ends."""
    for content in (*(CONTENT[:end] for end in range(len(CONTENT))), CONTENT + b"x"):
        with pytest.raises(DamagedRelease, match="the picture"):
            encoded.load(content)


DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "a column is missing": lambda d: d.pop("types"),
    "a column is short": lambda d: d["names"].pop(),
    "an edge too few": lambda d: d["labels"].pop(),
    "a node has more edges than there are": lambda d: d["edges"].__setitem__(0, 99),
    "a node has less than no edges": lambda d: d["edges"].__setitem__(0, -1),
    "an edge leads beyond the end": lambda d: d["targets"].__setitem__(0, 10**6),
    "an edge leads before the start": lambda d: d["targets"].__setitem__(0, -1),
    "a module is not a node": lambda d: d["modules"][0].__setitem__(1, 10**6),
    "a text that is none": lambda d: d["texts"].__setitem__(0, 1),
    "a text that is not there": lambda d: d["types"].__setitem__(0, 10**6),
    "a number that is true": lambda d: d["types"].__setitem__(0, True),
    "modules are no list": lambda d: d.__setitem__("modules", 5),
    "texts nest deeply": lambda d: d.__setitem__("noise", [[[[]]]]),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_does_not_fit_is_refused(damage: Callable[[dict[str, Any]], object]) -> None:
    """A document in which anything does not fit is refused, and says that it is damaged."""
    found = document()
    damage(found)

    with pytest.raises(DamagedRelease, match="is damaged"):
        encoded.load(packed(found))


@pytest.mark.parametrize("found", [None, [], {}, "x", 5])
def test_what_is_no_document_is_refused(found: object) -> None:
    """Any other JSON is refused."""
    with pytest.raises(DamagedRelease, match="is damaged"):
        encoded.load(packed(found))


def test_what_unpacks_to_more_than_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that would become a large one is not unpacked."""
    monkeypatch.setattr(encoded, "MOST_BYTES", 1 << 16)
    bomb = MAGIC + zlib.compress(b" " * (1 << 24))

    with pytest.raises(DamagedRelease, match="too large"):
        encoded.load(bomb)


def test_what_differs_between_two_imports_is_noise() -> None:
    """A value, an order and an element that differ are left out by path; the rest stays, and is compared."""
    one = "import time\nA = 1; B = [1, 2]; C = {'a': 1, 'b': 2}; D = {1}\nclass E: x = 1"
    other = "import time\nA = 2; B = [1, 2]; C = {'b': 2, 'a': 1}; D = {1, 3}\nclass E: x = 1"

    settled = noise.settle(*(canonical(picture_of(each)) for each in (one, other)))
    again = noise.settle(*(canonical(picture_of(each)) for each in (other, one)))

    assert [str(path) for path in settled.noise] == ["seen_shop.A", "seen_shop.C", "seen_shop.D{3}"]
    assert compare(settled, again) == []
    changed = compare(settled, picture_of(other.replace("x = 1", "x = 2")))
    assert [str(each.path) for each in changed] == ["seen_shop.E.x"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("A = [1, 'x']\nB = {'k': 2.5}", "A = [1, 'y']\nB = {'k': 3.5}", id="values"),
        pytest.param("A = [1]", "A = [1]", id="nothing"),
        pytest.param("A = {'a', 'b'}\nB = 'x'", "A = {'a', 'c'}\nB = 'y'", id="elements"),
        pytest.param("def f(): return 1\nB = 'x'", "def f(): return 2\nB = 'y'", id="code"),
        pytest.param(
            "class C:\n    def __init__(self, n): self.n = n\nS = {C(1), C('x')}",
            "class C:\n    def __init__(self, n): self.n = n\nS = {C(1), C('y')}",
            id="what tells elements with one label apart",
        ),
    ],
)
def test_columns_are_settled_as_pictures_are(one: str, other: str) -> None:
    """The quick way gives the bytes that the walk gives."""
    a, b = (canonical(picture_of(each, keep=False)) for each in (one, other))
    documents = [encoded.document(Observation(each)) for each in (a, b)]

    assert encoded.pack(columns.settled(*documents)) == encoded.dump(Observation(noise.settle(a, b)))


def test_a_canonical_picture_does_not_depend_on_the_order_of_attributes() -> None:
    """Names of a module, members of a class and elements of a set may come in any order; those of a dict and a list may not."""
    one, other = (
        canonical(picture_of(source, keep=False))
        for source in ("A = 1\nB = {'x', 1}\nclass C: a = 1; b = 2", "class C: b = 2; a = 1\nB = {1, 'x'}\nA = 1")
    )

    assert one == other


def test_keys_that_may_not_be_told_are_digests_and_pair_nevertheless() -> None:
    """Hidden keys are equal where the keys are; names of attributes, types and positions stay."""
    one = picture_of("A = {'secret': 1, 'known': [1]}")
    hidden = encoded.of_document(
        columns.hidden(encoded.document(Observation(one)), lambda label: label == "['known']")
    ).picture

    assert "secret" not in repr(hidden)
    assert hidden.at(("seen_shop", ".A", "['known']", "[0]")) is not None
    for other in (one, hidden):
        assert compare(hidden, other) == compare(other, hidden) == []


def test_noise_is_not_compared() -> None:
    """Below a node that is noise nothing differs."""
    nodes = [
        Node("builtins.module", "m", "", Flag.MUTABLE, ((".a", 1),)),
        Node("builtins.list", "", "", Flag.NOISE, ()),
    ]
    other = [nodes[0], Node("builtins.dict", "", "", Flag.MUTABLE, ())]

    assert compare(Picture({"m": 0}, nodes), Picture({"m": 0}, other)) == []
    assert [str(each.path) for each in compare(Picture({"m": 0}, [nodes[0], nodes[0]]), Picture({"m": 0}, other))] == [
        str(Path(("m", ".a")))
    ]
