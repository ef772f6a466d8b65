"""The definitions of compiled modules, and their digests."""

from __future__ import annotations

import marshal
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underway_runtime.release import code_tree

SOURCE = '''
"""A module."""
import functools
LIMIT = 3

class Room:
    """A room."""
    size = 1

    def __init__(self, name, *, limit=LIMIT):
        self.name = name

    @property
    def it(self):
        return {1, 1.0, "x", b"x", ...}

    @it.setter
    def it(self, value):
        def inner(x):
            return value in ("a", "b", 0.0) and x in {"one", "two", "three"}
        self.value = inner

    class Door:
        def open(self):
            class Key:
                a = 5
                def turn(self):
                    self.turned = super().turn()
            return [Key for each in range(3)]

async def serve(rooms):
    async for room in rooms:
        yield (lambda: room), (lambda: 2)
'''


def compiled(source: str, file: str = "lib/chat-1/chat.py") -> types.CodeType:
    return compile(source, file, "exec", dont_inherit=True)


def digests(source: str, file: str = "lib/chat-1/chat.py") -> dict[str, str]:
    return {path: code_tree.digest(code) for path, code in code_tree.tree(compiled(source, file)).items()}


def test_definitions_are_found_by_their_qualified_names() -> None:
    """Methods, second ones of one name, what is nested in them, and lambdas have paths of their own; class bodies have none."""
    paths = [path for path in code_tree.tree(compiled(SOURCE)) if "listcomp" not in path]

    assert paths == [
        "Room.__init__",
        "Room.it",
        "Room.it#2",
        "Room.it#2.<locals>.inner",
        "Room.Door.open",
        "Room.Door.open.<locals>.Key.turn",
        "serve",
        "serve.<locals>.<lambda>",
        "serve.<locals>.<lambda>#2",
    ]


def test_a_digest_does_not_depend_on_the_place() -> None:
    """Other lines, another file, and a way through a pyc make no difference."""
    moved = digests("\n\n# moved\n\n" + SOURCE.replace("    size = 1\n", "    size = 1\n\n\n"), "lib/chat-2/other.py")
    unmarshalled = code_tree.tree(marshal.loads(marshal.dumps(compiled(SOURCE))))

    assert moved == digests(SOURCE)
    assert {path: code_tree.digest(code) for path, code in unmarshalled.items()} == digests(SOURCE)


def test_the_code_of_a_live_function_has_the_digest_of_the_compiled_one() -> None:
    """Also after it has run often enough to be specialized."""
    source = "def add(a, b=0):\n    return [x + a for x in range(b)] + [len(str(a))]\n"
    module: dict[str, Any] = {}
    exec(compiled(source, "<live>"), module)
    for number in range(200):
        module["add"](number, 3)

    assert code_tree.digest(module["add"].__code__) == digests(source)["add"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(): return 1", "def f(): return 1.0"),
        ("def f(): return 1", "def f(): return True"),
        ("def f(): return 0.0", "def f(): return -0.0"),
        ("def f(): return 'a'", "def f(): return b'a'"),
        ("def f(): return (1, (2, 3))", "def f(): return (1, (2.0, 3))"),
        ("def f(x): return x in {1, 2}", "def f(x): return x in {1.0, 2}"),
        ("def f(): return x.y", "def f(): return x.z"),
        ("def f(a): return 1", "def f(b): return 1"),
        ("def f(a, /): return 1", "def f(a): return 1"),
        ("def f(): return 1", "async def f(): return 1"),
        ("def f():\n def g(): return 1\n return g", "def f():\n def g(): return 2\n return g"),
        ("def f():\n class A:\n  x = 1\n return A", "def f():\n\n\n\n class A:\n  x = 2\n return A"),
        ("def f():\n class A:\n  x = 2\n return A", "def f():\n\n class A:\n  x = 4\n return A"),
    ],
)
def test_a_digest_tells_what_does_not_do_the_same(one: str, other: str) -> None:
    """Types of constants, signs of zero, names and what is nested make a difference."""
    assert digests(one)["f"] != digests(other)["f"]


def test_definitions_of_one_name_in_two_classes_of_one_name_are_told_apart() -> None:
    """The second class counts on, and so does all that is in it."""
    both = "if X:\n class A:\n  def m(self): return 1\nelse:\n class A:\n  def m(self): return 2\n"

    assert list(code_tree.tree(compiled(both))) == ["A.m", "A#2.m"]


constants = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(st.characters())
    | st.binary(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=20,
)


@given(constants)
def test_every_constant_survives_marshal(value: Any) -> None:
    """The digest of a constant is that of the one that is read from a pyc."""
    code = compiled("def f(): return 0").co_consts[0]
    assert isinstance(code, types.CodeType)
    with_value = code.replace(co_consts=(None, value))

    assert code_tree.digest(marshal.loads(marshal.dumps(with_value))) == code_tree.digest(with_value)
