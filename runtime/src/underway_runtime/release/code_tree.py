"""The definitions in a compiled module, and what tells whether two of them do the same.

A definition is the code of a function: of a method, a lambda or a comprehension too, and of what is nested. Its path is
its qualified name, ``Room.join`` or ``make.<locals>.inner``; the second of one name, such as the setter of a property, is
``Room.size#2``, and what is nested in that begins so. What computes the annotations of a function, since 3.14, is
``Room.join.__annotate__``, that of a class ``Room.__annotate__``, whatever the compiler calls it. The bodies of classes are no
definitions, those within functions are part of these. Nor is the scope in which type parameters are made,
``<generic parameters of f>``, which runs once, around ``f``; the bounds and defaults of these are nested in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from opcode import opmap
from types import CodeType, FunctionType
from typing import Any

_GENERIC = "<generic parameters of "

CO_OPTIMIZED = 0x1
"""Every function has this flag; modules and class bodies do not."""

ANNOTATE = "__annotate__"
"""The last part of the path of what computes annotations."""

IS_LAZY = ANNOTATE in FunctionType.__dict__
"""Whether this Python computes annotations when they are asked for."""

_HAS_DOCSTRING = 0x4000000

POSITIONS = ("__firstlineno__", "__static_attributes__")
"""What the compiler adds to a class body since 3.13: where it is, and what its methods say already."""


def tree(module: CodeType) -> Mapping[str, CodeType]:
    """The definitions of a module's code by their paths, each before what is nested in it."""
    codes: dict[str, CodeType] = {}
    seen: dict[str, int] = {}
    _collect(module, "", codes, seen)
    return codes


def is_function(code: CodeType) -> bool:
    """Whether this is the code of a function, not of a class body or a module."""
    return bool(code.co_flags & CO_OPTIMIZED)


def mangled(path: str) -> str:
    """A path with the private names in classes as classes have them.

    >>> mangled("_Room.__count"), mangled("Room.__init__"), mangled("__top"), mangled("Room.say.<locals>.__x")
    ('_Room._Room__count', 'Room.__init__', '__top', 'Room.say.<locals>.__x')
    """
    parts = path.split(".")
    for before, (number, name) in zip(parts, list(enumerate(parts))[1:], strict=False):
        cls = before.lstrip("_")
        if name.startswith("__") and not name.endswith("__") and cls.isidentifier():
            parts[number] = f"_{cls}{name}"
    return ".".join(parts)


def digest(code: CodeType) -> str:
    """64 hexadecimal digits: equal where two definitions do the same, wherever they stand.

    All of it counts, what is nested too, but for the name of the file and the lines. It is the same for the code in a pyc
    and for that of a live function, and only comparable within one version of the interpreter.
    """
    return hashlib.sha256("\n".join(_parts(code)).encode("utf-8", "surrogatepass")).hexdigest()


def _collect(code: CodeType, prefix: str, codes: dict[str, CodeType], seen: dict[str, int]) -> None:
    annotates: CodeType | None = (
        None  # what comes next, as the compiler has it: a class's and a module's own comes last
    )
    for constant in code.co_consts:
        if not isinstance(constant, CodeType):
            continue
        if _annotates(constant) and annotates is None:
            annotates = constant
            continue
        path = prefix + constant.co_name
        seen[path] = seen.get(path, 0) + 1
        if seen[path] > 1:
            path = f"{path}#{seen[path]}"
        if annotates is not None:
            codes[f"{path}.{ANNOTATE}"], annotates = annotates, None
        if not is_function(constant):
            _collect(constant, f"{path}.", codes, seen)
            continue
        if is_generic(constant):
            _collect_generic(constant, prefix, path, codes, seen)
        else:
            codes[path] = constant
            _collect(constant, f"{path}.<locals>.", codes, seen)
    if annotates is not None:
        codes[f"{prefix}{ANNOTATE}"] = annotates


def _annotates(code: CodeType) -> bool:
    """Whether the compiler has made this, to compute annotations when they are asked for."""
    return code.co_name == ANNOTATE and is_function(code) and IS_LAZY


def _collect_generic(code: CodeType, prefix: str, path: str, codes: dict[str, CodeType], seen: dict[str, int]) -> None:
    """Put what has type parameters where their scope is, which is in no qualified name; what belongs to them is below it."""
    name = code.co_name.removeprefix(_GENERIC).removesuffix(">")
    constants = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    definition = next((constant for constant in reversed(constants) if constant.co_name == name), None)
    inner = tuple(constant for constant in constants if constant is not definition)
    _collect(code.replace(co_consts=inner), f"{path}.", codes, seen)
    if definition is not None:
        _collect(code.replace(co_consts=(definition,)), prefix, codes, seen)


def annotated_by(path: str) -> str | None:
    """The path of whose annotations a definition computes, empty for a module's; None for any other definition.

    >>> annotated_by("Room.join.__annotate__"), annotated_by("__annotate__"), annotated_by("Room.join")
    ('Room.join', '', None)
    """
    owner, _, name = path.rpartition(".")
    return owner if name == ANNOTATE else None


def docstring(code: CodeType) -> str | None:
    """The docstring in the code of a function, which since 3.14 is the first constant only where a flag says so."""
    first = code.co_consts[0] if code.co_consts and (not IS_LAZY or code.co_flags & _HAS_DOCSTRING) else None
    return first if isinstance(first, str) else None


def is_generic(code: CodeType) -> bool:
    """Whether this is the scope in which the type parameters of something are made."""
    return code.co_name.startswith(_GENERIC)


def outside(path: str) -> Iterator[str]:
    """The definitions that one is nested in, from the innermost.

    >>> list(outside("Room.say.<locals>.inner.<locals>.<lambda>#2"))
    ['Room.say.<locals>.inner', 'Room.say']
    """
    while ".<locals>." in path:
        path = path.rpartition(".<locals>.")[0]
        yield path


def owner(path: str) -> str:
    """The definition that a path belongs to: itself, but for what belongs to the type parameters of another.

    >>> owner("Room.<generic parameters of say>.T")
    'Room.say'
    >>> owner("Room.say.<locals>.inner")
    'Room.say.<locals>.inner'
    """
    before, separator, after = path.partition(_GENERIC)
    return before + after.partition(">")[0] if separator else path


def _parts(code: CodeType) -> Iterator[str]:
    """All of a code object in lines, nested ones after the line that says so: what the interpreter writes in C is quick."""
    yield repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags, code.co_stacksize))
    yield from _constant((code.co_name, code.co_qualname))
    yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars))
    yield repr((_bytecode(code), code.co_exceptiontable))
    without = _positions(code)
    yield f"constants {len(code.co_consts)}"
    for number, constant in enumerate(code.co_consts):
        yield from _constant(None if number in without else constant)


_TOLD = frozenset(map(id, (str, bytes, bool, float, complex, type(None), type(...))))
"""Types of constants of which `repr` tells all, in one line, and tells them from those of other types."""


def _constant(value: Any) -> Iterator[str]:
    """Lines that stand for a constant, with its type: 1, 1.0 and True are equal, and not the same."""
    kind = type(value)
    if id(kind) in _TOLD:
        yield repr(value)
    elif kind is CodeType:
        yield "code"
        yield from _parts(value)
    elif kind is int:
        yield hex(value)
    elif kind is tuple:
        if all(id(type(item)) in _TOLD for item in value):
            yield repr(value)
            return
        yield f"tuple {len(value)}"
        for item in value:
            yield from _constant(item)
    elif kind is frozenset:
        yield f"frozenset {len(value)}"
        yield from sorted("\n".join(_constant(item)) for item in value)
    elif kind is slice:
        yield "slice"
        yield from _constant((value.start, value.stop, value.step))
    else:  # of no compiler: something has put it there, whose own code is not to run here
        yield repr(object.__repr__(value))


def _bytecode(code: CodeType) -> bytes:
    """The instructions; since 3.14 those of a class body hold the line that it begins at, if that is a small one."""
    if _SMALL is None or is_function(code) or POSITIONS[0] not in code.co_names:
        return code.co_code
    name, instructions = code.co_names.index(POSITIONS[0]), bytearray(code.co_code)
    for at in range(0, len(instructions) - 2, 2):
        if instructions[at] == _SMALL and (*instructions[at + 2 : at + 4],) == (opmap["STORE_NAME"], name):
            instructions[at + 1] = 0
            break  # the compiler's own is the first
    return bytes(instructions)


_SMALL = opmap.get("LOAD_SMALL_INT")


def _positions(code: CodeType) -> set[int]:
    """Which constants of a class body say nothing but where it is."""
    if is_function(code) or not any(name in code.co_names for name in POSITIONS):
        return set()
    pairs = list(zip(code.co_code[::2], code.co_code[1::2], strict=True))
    if any(op == opmap["EXTENDED_ARG"] for op, _ in pairs):
        return set()  # so big that it is as well to call it another when it has moved
    loaded = [arg for op, arg in pairs if op == opmap["LOAD_CONST"]]
    return {
        arg
        for (op, arg), (then, name) in pairwise(pairs)
        if (op, then) == (opmap["LOAD_CONST"], opmap["STORE_NAME"])
        and code.co_names[name] in POSITIONS
        and loaded.count(arg) == 1  # what else is the same number stays
    }
