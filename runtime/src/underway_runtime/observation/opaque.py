"""What neither attributes, slots nor a known container show: a rule for each type that has state of its own in C.

==============================  ===================================================================================
rule                            of which types
==============================  ===================================================================================
`NAMED`                         descriptors and functions in C: told by the names of their class or module
`TEXTS`                         values with a text that says all of them: a pattern, a date, a path
`PARTS`                         wrappers: told by what they wrap, which is looked at in turn
`REDUCED`                       told by what `pickle` would make them of, which exact types of C say without foreign code
`STATELESS`                     locks that nobody holds, and what is made again by whoever needs it
`DERIVED`                       compiled from something that is in the graph itself, next to it
==============================  ===================================================================================

A type that has state in C and no rule is opaque: whoever compares is told so by its name. All rules are for exact types of C, or
ask a base of C for its own part, so that no code of an application runs.
"""

from __future__ import annotations

import _thread
import array
import builtins
import collections
import contextvars
import datetime as dt
import decimal
import functools
import gc
import importlib
import itertools
import operator
import pathlib
import random
import re
import struct
import sys
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..release import code_tree, plain_values
from . import objects
from .node import DIGITS, Flag, Seen, digest_of, is_plain

Rule = Callable[[Any], Seen]


def _by_owner(value: Any) -> Seen:
    return Seen(f"{objects.name_of(value.__objclass__)}.{value.__name__}", flags=Flag.NAMED)


def _builtin(value: Any) -> Seen:
    owner = value.__self__
    if owner is None or type(owner) is types.ModuleType:
        module = objects.names_of(owner).get("__name__") if owner is not None else value.__module__
        return Seen(f"{objects.text(module)}:{value.__name__}", flags=Flag.NAMED)
    return Seen(value.__name__, flags=0, edges=[("<self>", owner)])


def _text_rule(text: Callable[[Any], str]) -> Rule:
    return lambda value: Seen(flags=0, edges=[("<text>", text(value))])


def parts(*names: str, flags: int = Flag.MUTABLE) -> Rule:
    """A rule by attributes of an exact type of C."""
    labels = [(f"<{name.strip('_')}>", name) for name in names]

    def rule(value: Any) -> Seen:
        return Seen(flags=flags, edges=[(label, getattr(value, name)) for label, name in labels])

    return rule


def _bare(value: Any) -> Seen:
    return Seen()


def _reduced(value: Any) -> Seen:
    reduced = value.__reduce__()
    if isinstance(reduced, str):
        return Seen(digest=digest_of(reduced))
    return Seen(flags=0, edges=[("<made of>", part) for part in reduced[1:] if part is not None])


def _cell(value: types.CellType) -> Seen:
    try:
        return Seen(edges=[("<contents>", value.cell_contents)])
    except ValueError:
        return Seen(digest="empty")


def _reference(value: weakref.ReferenceType[Any]) -> Seen:
    target = weakref.ReferenceType.__call__(value)
    return Seen(digest="dead", flags=0) if target is None else Seen(flags=0, edges=[("<referent>", target)])


def _lru_cache(value: Any) -> Seen:
    names = objects.names_of(value)
    attributes = [
        (f".{name}", attribute) for name, attribute in names.items() if name not in ("__wrapped__", "cache_parameters")
    ]
    size = value.cache_info().currsize
    return Seen(
        digest=f"{size} kept" if size else "",
        edges=[("<wrapped>", names.get("__wrapped__")), ("<size>", value.cache_info().maxsize), *attributes],
    )


def _suspended(prefix: str) -> Rule:
    def rule(value: Any) -> Seen:
        frame = getattr(value, f"{prefix}_frame")
        where = "ended" if frame is None else f"at {frame.f_lasti}"
        return Seen(
            digest=where, edges=[("<code>", getattr(value, f"{prefix}_code"))], flags=Flag.MUTABLE | Flag.OPAQUE
        )

    return rule


def _of_this_thread(value: Any) -> Seen:
    names = _thread._local.__getattribute__(value, "__dict__")  # which is in none of its descriptors
    return Seen(edges=[(f".{name}", attribute) for name, attribute in names.items()])


def _context_variable(value: contextvars.ContextVar[Any]) -> Seen:
    return Seen(
        value.name,
        edges=[("<default>", referent) for referent in gc.get_referents(value) if referent is not value.name],
    )


_OF_PROPERTIES = ("fget", "fset", "fdel", "__doc__")


def _property(value: Any) -> Seen:
    edges = [(f"<{name.strip('_')}>", property.__dict__[name].__get__(value)) for name in _OF_PROPERTIES]
    return Seen(edges=[(label, function) for label, function in edges if function is not None])


def _wrapped(kind: Any) -> Rule:
    read = kind.__dict__["__func__"].__get__
    return lambda value: Seen(edges=[("<function>", read(value))])


def _partial(value: Any) -> Seen:
    kind = functools.partial.__dict__
    return Seen(edges=[(f"<{name}>", kind[name].__get__(value)) for name in ("func", "args", "keywords")])


def _exception(value: BaseException) -> Seen:
    kind = BaseException.__dict__
    edges = [(f"<{name.strip('_')}>", kind[name].__get__(value)) for name in ("args", "__cause__", "__context__")]
    return Seen(edges=[(label, part) for label, part in edges if part is not None])


def _lock(value: Any) -> Seen:
    return Seen(digest="held" if value.locked() else "")


def _rlock(value: Any) -> Seen:
    return Seen(digest="held" if value._is_owned() else "")


def _ignored(_: Any) -> Seen:
    return Seen()


def _named_by_type(_: Any) -> Seen:
    return Seen(flags=Flag.NAMED)


def _inner_containers(value: Any) -> Seen:
    """The lists and dicts that a container of C keeps besides its elements, as the garbage collector sees them."""
    return Seen(
        edges=[
            (f"<{type(referent).__name__}>", referent)
            for referent in _inner_referents(value)
            if type(referent) in (list, dict)
        ]
    )


def _inner_referents(value: Any) -> list[Any]:
    """What an object refers to, without its attributes: these are within it, or in a dict since somebody has asked for that."""
    names = objects.names_of(value)
    attributes = {id(names), *map(id, names.values())}
    return [referent for referent in gc.get_referents(value) if id(referent) not in attributes]


def _referring(value: Any) -> Seen:
    held = [referent for referent in gc.get_referents(value) if referent is not type(value)]
    return Seen(edges=[(f"<refers to {number}>", referent) for number, referent in enumerate(held)])


def _proxy(value: Any) -> Seen:
    """A weak proxy does whatever it is asked to what it stands for, but for its text, which says where that is."""
    text = type.__getattribute__(type(value), "__repr__")
    return Seen(flags=0, edges=[("<text>", text(value))])


def _mapping_proxy(value: Any) -> Seen:
    return Seen(edges=[("<mapping>", referent) for referent in gc.get_referents(value)])


def _code(value: types.CodeType) -> Seen:
    return Seen(value.co_qualname, code_tree.digest(value)[:DIGITS], Flag.CODE)


def _clock(value: Any) -> Seen:
    bare = value.replace(tzinfo=None)
    edges = [("<tzinfo>", value.tzinfo)] if value.tzinfo is not None else []
    return Seen(digest=digest_of(f"{bare.isoformat()} {value.fold}"), flags=0, edges=edges)


def _count(value: Any) -> Seen:
    step = gc.get_referents(value)
    return Seen(digest=digest_of(repr(value)) if all(map(is_plain, step)) else "", flags=Flag.MUTABLE)


def _generic_alias(value: Any) -> Seen:
    kind = types.GenericAlias.__dict__
    return Seen(edges=[(f"<{name.strip('_')}>", kind[name].__get__(value)) for name in ("__origin__", "__args__")])


def _sentinel(value: Any) -> Seen:
    return Seen(digest=digest_of(f"{value.__module__}.{value.__name__}"))


def _lazy_import(value: Any) -> Seen:
    """What was not imported yet is told by what it would be."""
    return Seen(objects.LAZY_IMPORT.__repr__(value), flags=Flag.NAMED)


def _of_newer_pythons() -> Mapping[type, Rule]:
    """Rules for types that not each Python has: texts from templates since 3.14, lazy imports and sentinels since 3.15."""
    rules: dict[type, Rule] = {}
    if objects.LAZY_IMPORT is not None:
        rules |= {objects.LAZY_IMPORT: _lazy_import, vars(builtins)["sentinel"]: _sentinel}
    if sys.version_info >= (3, 14):
        templates: Any = importlib.import_module("string.templatelib")
        rules[templates.Template] = parts("strings", "interpolations", flags=0)
        rules[templates.Interpolation] = parts("value", "expression", "conversion", "format_spec", flags=0)
    return rules


_Generator: Any = random.Random.__bases__[0]
"""What numbers of a generator come from; of one without a seed it differs in each process."""
_tuple_getter = type(collections.namedtuple("Any", "one").__dict__["one"])

EXACT: Mapping[type, Rule] = {
    **dict.fromkeys(
        (
            types.MemberDescriptorType,
            types.GetSetDescriptorType,
            types.WrapperDescriptorType,
            types.MethodDescriptorType,
            types.ClassMethodDescriptorType,
        ),
        _by_owner,
    ),
    types.BuiltinFunctionType: _builtin,
    types.MethodWrapperType: _builtin,
    types.MethodType: parts("__func__", "__self__", flags=0),
    types.CodeType: _code,
    types.CellType: _cell,
    types.MappingProxyType: _mapping_proxy,
    types.UnionType: parts("__args__", flags=0),
    types.GeneratorType: _suspended("gi"),
    types.CoroutineType: _suspended("cr"),
    types.AsyncGeneratorType: _suspended("ag"),
    slice: parts("start", "stop", "step", flags=0),
    range: parts("start", "stop", "step", flags=0),
    object: _bare,
    weakref.ProxyType: _proxy,
    weakref.CallableProxyType: _proxy,
    super: parts("__thisclass__", "__self__"),
    re.Pattern: lambda value: Seen(flags=0, edges=[("<pattern>", value.pattern), ("<flags>", value.flags)]),
    struct.Struct: parts("format", flags=0),
    type(functools.lru_cache(len)): _lru_cache,
    contextvars.ContextVar: _context_variable,
    _thread._local: _of_this_thread,
    _thread.LockType: _lock,
    type(_thread.RLock()): _rlock,
    array.array: lambda value: Seen(digest=digest_of(f"{value.typecode} {value.tobytes().hex()}")),
    bytearray: lambda value: Seen(digest=digest_of(bytes(value).hex())),
    decimal.Decimal: _text_rule(decimal.Decimal.__str__),
    dt.date: _text_rule(dt.date.isoformat),
    dt.timedelta: _text_rule(dt.timedelta.__repr__),
    dt.timezone: _text_rule(dt.timezone.__repr__),
    dt.datetime: _clock,
    dt.time: _clock,
    **dict.fromkeys((operator.itemgetter, operator.attrgetter, operator.methodcaller, _tuple_getter), _reduced),
    itertools.count: _count,
    **_of_newer_pythons(),
    **{
        kind: _text_rule(pathlib.PurePath.__str__)
        for kind in (pathlib.PosixPath, pathlib.PurePosixPath, pathlib.PureWindowsPath)
    },
}
"""Rules for exact types."""

BASES: Mapping[type, Rule] = {
    weakref.ReferenceType: _reference,
    property: _property,
    staticmethod: _wrapped(staticmethod),
    classmethod: _wrapped(classmethod),
    functools.partial: _partial,
    BaseException: _exception,
    types.SimpleNamespace: _bare,
    types.GenericAlias: _generic_alias,
    _Generator: lambda value: Seen(digest=digest_of(repr(_Generator.getstate(value)))),
}
"""Rules for what a base of C holds; attributes and slots are added to that."""

STATELESS = frozenset({"_thread._local", "_thread._localdummy", "_abc._abc_data"})
"""What is different in each process or thread, and made again where it is needed, by name of type."""

OF_THE_PROCESS = frozenset(
    {"os._Environ", "_io.TextIOWrapper", "_io.BufferedReader", "_io.BufferedWriter", "_io.FileIO"}
)
"""What belongs to the process and not to a version, by name of type: variables of the environment, open files."""

COMPILED = frozenset({"?.cython_function_or_method", "builtins.PyCapsule", "builtins.fused_cython_function"})
"""What is in the file of an extension, which is compared as a file, by name of type."""

NOTHING_MORE = frozenset({"sqlalchemy.util._immutabledict_cy.immutabledict", "multidict._multidict.istr"})
"""Subclasses of containers and texts in C that hold nothing which these do not tell, by name of type."""

REFERRING = frozenset({"propcache._helpers_c.under_cached_property", "propcache._helpers_c.cached_property"})
"""Types in C whose state is what they refer to, by name of type."""

KEEPING = frozenset(
    {
        "sqlalchemy.util._collections_cy.OrderedSet",
        "sqlalchemy.util._collections_cy.IdentitySet",
        "frozenlist._frozenlist.FrozenList",
    }
)
"""Containers in C which keep lists or dicts besides their elements, by name of type."""

HASHED = frozenset({"sqlalchemy.util.langhelpers.symbol"})
"""Numbers that are the hash of something, by name of type: their attributes tell what they are."""

DERIVED: Mapping[str, str] = {
    "pydantic_core._pydantic_core.SchemaValidator": "__pydantic_core_schema__",
    "pydantic_core._pydantic_core.SchemaSerializer": "__pydantic_core_schema__",
    "pydantic._internal._mock_val_ser.MockValSer": "__pydantic_core_schema__",
}
"""What is compiled from something that is in the graph, next to it; by name of type, with the name of that."""


_EXACT = {id(kind): rule for kind, rule in EXACT.items()}
_BASES = {id(kind): rule for kind, rule in BASES.items()}


def rule_of(kind: type) -> Rule | None:
    """The rule for a type that has one by itself or by its name."""
    if (rule := _EXACT.get(id(kind))) is not None:
        return rule
    name = objects.name_of(kind)
    if name in COMPILED or name in OF_THE_PROCESS:
        return _named_by_type
    if name in REFERRING:
        return _referring
    if name == "builtins.builtin_method":
        return _builtin  # the kind that knows its class, which has no name in `types`
    return _ignored if name in STATELESS or name in DERIVED else None


def base_of(mro: Iterable[type]) -> tuple[type, Rule] | None:
    """The first base of C that has a rule, and the rule."""
    for base in mro:
        if (rule := _BASES.get(id(base))) is not None:
            return base, rule
        if objects.name_of(base) in KEEPING:
            return base, _inner_containers
    return None


CONTAINERS = tuple(filter(None, (dict, list, tuple, set, frozenset, collections.deque, plain_values.FROZEN_DICT)))
"""Bases whose elements are looked at."""
