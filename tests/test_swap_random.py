"""Random programs and edits: what is called HOT becomes what a fresh start is, and undone it is what it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from code_server_helpers import Interpreter
from fresh import differences
from swap_helpers import Ask, asking, everywhere

PLAIN = ["1", "2", "'a'", "(1, 2)", "[1]", "{'k': [1]}", "frozenset({1})", "1.5", "None", "{1, 2}", "b'x'"]
"""Values of globals and attributes."""

FUNCTIONS = [
    "def {name}({arguments}):\n    return {value}, {other}",
    'def {name}({arguments}):\n    """Doc {value}."""\n    return [{value} for _ in range(2)]',
    "def {name}({arguments}):\n    def inner(y={value}):\n        return y, {other}\n    return inner()",
    "@functools.lru_cache\ndef {name}({arguments}):\n    return {value}",
    "def {name}({arguments}):\n    return (lambda z: (z, {value}))({other})",
    "def {name}(*, k: int = {value}):\n    return k",
]
METHODS = [
    "def {name}(self):\n    return {value}, {other}",
    "@property\ndef {name}(self):\n    return {value}",
    "@staticmethod\ndef {name}(x={value}):\n    return x",
    "@classmethod\ndef {name}(cls):\n    return cls.__name__, {other}",
    "def {name}(self):\n    return super().__repr__()[:1], {value}",
]

values = st.sampled_from(PLAIN)


def constants(earlier: int) -> st.SearchStrategy[str]:
    """A value, or an expression of the constants before."""
    names = [f"C{n}" for n in range(earlier)]
    return st.one_of(values, st.sampled_from([f"({name}, 1)" for name in names])) if names else values


def filled(templates: list[str], name: str) -> st.SearchStrategy[str]:
    """A definition of this name."""
    arguments = st.sampled_from(["", "x=1", "x=C0", "x: int = C1, *, y='d'"])
    return st.builds(
        lambda template, given, value, other: template.format(name=name, arguments=given, value=value, other=other),
        st.sampled_from(templates),
        arguments,
        values,
        st.sampled_from(["C0", "C1", "'same'"]),
    )


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


@st.composite
def classes(draw: st.DrawFn, name: str) -> str:
    base = draw(st.sampled_from(["", "(Base)"]))
    doc = draw(st.sampled_from(["", '    """A class."""\n', '    """Another."""\n']))
    members = [draw(st.none() | filled(METHODS, f"m{n}")) for n in range(3)]
    attributes = [draw(st.none() | st.builds("a{}: object = {}".format, st.just(n), values)) for n in range(2)]
    return f"class {name}{base}:\n{doc}    pass\n" + "".join(indented(each) for each in (*attributes, *members) if each)


SLOTS: list[st.SearchStrategy[str | None]] = [
    *(st.builds("C{} = {}".format, st.just(n), constants(n)) for n in range(3)),
    st.none() | st.builds("C3 = {}".format, constants(3)),
    st.just("class Base:\n    def shared(self):\n        return 1"),
    *(st.none() | filled(FUNCTIONS, f"f{n}") for n in range(3)),
    st.none() | classes("K0"),
    st.none() | classes("K1"),
]


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, str]:
    """A program, and the same with some definitions changed, added, removed or moved."""
    old = [draw(slot) for slot in SLOTS]
    changed = draw(st.sets(st.integers(0, len(SLOTS) - 1), max_size=3))
    new = [draw(slot) if n in changed else old[n] for n, slot in enumerate(SLOTS)]
    space = draw(st.sampled_from(["\n", "\n# moved\n\n"]))
    return _text(old, "\n"), _text(new, space)


def _text(definitions: list[str | None], space: str) -> str:
    return space.join(['"""A module."""', "import functools", *(each for each in definitions if each)]) + "\n"


@pytest.fixture(scope="module")
def ask(interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks a process that is swapped and undone, and one that imports afresh."""
    with asking(tmp_path_factory.mktemp("random") / "hello", interpreter) as ask:
        yield ask


@pytest.mark.sample(most=3)
@everywhere
@given(programs=edits())
def test_what_is_called_hot_becomes_what_a_fresh_start_is(ask: Ask, programs: tuple[str, str]) -> None:
    """Every module, function, member and plain global is equal, and does the same; undone, everything is the very same."""
    swapped, fresh = ask(*programs)

    event("swapped" if "described" in swapped else "refused" if "refused" in swapped else str(swapped["verdicts"]))
    assert swapped.get("undone", []) == []
    if "described" in swapped:
        assert differences(swapped["calls"], fresh["calls"]) == []
        assert differences(swapped["described"], fresh["described"]) == []
