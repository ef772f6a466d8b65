"""What a process has of a package, and what it does, as JSON: to compare one that was upgraded with a fresh one.

It is a walk of its own, which shares nothing with what the product looks with: objects by what they are made of, functions by their code,
and who else has the same object. Runs in a release, with the standard library alone.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import io
import random
import re
import signal
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import (
    BuiltinFunctionType,
    CodeType,
    FrameType,
    FunctionType,
    GenericAlias,
    MappingProxyType,
    MethodType,
    ModuleType,
)
from typing import Any

DEEP, FOREIGN = 7, 2
"""Steps from a name that are looked at; within what others have made."""
SECONDS, WAITING = 0.5, 2
"""What one call may take, of the processor and of the clock."""
LATE = "late"
"""What is told of a call that took longer."""
WORDS = 400
"""Characters that are told of a result."""

_SKIPPED = frozenset(
    [
        "__builtins__",
        "__cached__",
        "__dict__",
        "__loader__",
        "__spec__",
        "__warningregistry__",
        "__weakref__",
        "_abc_impl",
        "__static_attributes__",  # what the compiler has noted
        "__firstlineno__",
    ]
)
_PLAIN = (str, bytes, int, float, complex, bool, type(None), type(...), type(NotImplemented), range, slice)

ARGUMENTS: tuple[tuple[Any, ...], ...] = (
    (),
    ("a b",),
    (b"a b",),
    (3,),
    ({"a": [1]},),
    ("a", "b"),
    (["x"], 2),
    (None, "c", 1),
)
"""What everything is called with, one after the other."""


class Census:
    """One look at the modules of a package; where a version is in `lib` is left out of texts."""

    def __init__(self, top: str, lib: str) -> None:
        self._top, self._lib = top, lib
        self._known: dict[int, str] = {}
        self._held: list[object] = []

    def modules(self, names: Iterable[str]) -> dict[str, Any]:
        """All that the modules bind, by name."""
        found = {}
        for name in names:
            found[name] = {key: self._of(value, f"{name}.{key}") for key, value in _sorted(vars(sys.modules[name]))}
        return found

    def text(self, value: object) -> str:
        """How it is written, without addresses and places."""
        written = _called(repr, (value,)) if type(value) not in _PLAIN else repr(value)
        words = re.sub(
            r"0x[0-9a-f]{6,}", "0x", written if isinstance(written, str) else f"a {type(value).__qualname__}"
        )
        return re.sub(rf"{re.escape(self._lib)}/\w+-[\w.]+", "HOME", words)[:WORDS]

    def _of(self, value: Any, path: str, deep: int = DEEP) -> Any:
        if isinstance(value, _PLAIN) and type(value) in _PLAIN:
            return self.text(value)
        if not isinstance(value, (tuple, frozenset)) and id(value) in self._known:
            return f"= {self._known[id(value)]}"
        self._known[id(value)] = path
        self._held.append(value)
        if deep == 0:
            return f"a {type(value).__qualname__}"
        parts = self._parts(value)
        if isinstance(parts, str):
            return parts
        left = min(deep, FOREIGN) if "." in parts.get("is", "") and not self._is_ours(type(value).__module__) else deep
        return {key: self._of(each, f"{path}/{key}", left - 1) for key, each in parts.items()}

    def _parts(self, value: Any) -> dict[str, Any] | str:
        """What it is made of, by a word for each; or all that there is to say."""
        kind = type(value)
        if isinstance(value, ModuleType):
            return f"module {value.__name__}"
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, CodeType):
            return dict(self._code(value))
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, (dict, MappingProxyType)):
            return {"is": kind.__qualname__, **{f"[{self.text(key)}]": each for key, each in value.items()}}
        if isinstance(value, (list, tuple)):
            attributes = dict(_attributes(value)) if kind not in (list, tuple) else {}
            return {"is": kind.__qualname__, **{f"[{n}]": each for n, each in enumerate(value)}, **attributes}
        if isinstance(value, (set, frozenset)):
            return f"{kind.__qualname__} {sorted(map(self.text, value))}"
        if isinstance(value, MethodType):
            return {"is": "method", "of": value.__self__, "function": value.__func__}
        if isinstance(value, (staticmethod, classmethod)):
            return {"is": kind.__qualname__, "function": value.__func__}
        if isinstance(value, property):
            return {"is": "property", "get": value.fget, "set": value.fset, "delete": value.fdel, "doc": value.__doc__}
        if isinstance(value, functools.partial):
            return {"is": "partial", "of": value.func, "args": value.args, "keywords": value.keywords}
        if isinstance(value, re.Pattern):
            return f"pattern {value.pattern!r} {value.flags}"
        if isinstance(value, weakref.ref):
            return {"is": "reference", "to": value()}
        if isinstance(value, (BuiltinFunctionType, GenericAlias)) or kind.__module__ in ("typing", "types"):
            return self.text(value)
        return {"is": f"{kind.__module__}.{kind.__qualname__}", **dict(_attributes(value))}

    def _function(self, function: FunctionType) -> dict[str, Any]:
        cells = [_content(cell) for cell in function.__closure__ or ()]
        return {
            "is": f"function {function.__module__} {function.__qualname__} {function.__name__}",
            "code": function.__code__,
            "doc": function.__doc__,
            "defaults": function.__defaults__,
            "keywords": function.__kwdefaults__,
            "annotations": function.__annotations__,
            "cells": dict(zip(function.__code__.co_freevars, cells, strict=True)),
            **{f".{name}": each for name, each in _sorted(vars(function))},
        }

    def _code(self, code: CodeType) -> Iterator[tuple[str, Any]]:
        yield "name", f"{code.co_qualname} {self.text(code.co_filename)}:{code.co_firstlineno}"
        yield "bytes", code.co_code
        yield "names", f"{code.co_names} {code.co_varnames} {code.co_freevars} {code.co_cellvars} {code.co_flags}"
        yield "lines", self.text(list(code.co_lines())[:40])
        yield "constants", code.co_consts

    def _class(self, cls: type) -> dict[str, Any] | str:
        if not self._is_ours(cls.__module__):
            return f"class {cls.__module__}.{cls.__qualname__}"
        bases = {f"base {n}": base for n, base in enumerate(cls.__mro__[1:])}
        return {"is": f"{type(cls).__qualname__} {cls.__qualname__}", **bases, **dict(_sorted(vars(cls)))}

    def _is_ours(self, module: str) -> bool:
        return module.partition(".")[0] == self._top


def _sorted(names: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted((key, value) for key, value in list(names.items()) if isinstance(key, str) and key not in _SKIPPED)


def _attributes(value: object) -> Iterator[tuple[str, Any]]:
    with contextlib.suppress(AttributeError):
        yield from ((f".{key}", each) for key, each in _sorted(object.__getattribute__(value, "__dict__")))
    for cls in (each for each in type(value).__mro__ if "__slots__" in vars(each)):
        for name, slot in _sorted(vars(cls)):
            if inspect.ismemberdescriptor(slot):
                with contextlib.suppress(Exception):
                    yield f".{name}", slot.__get__(value, cls)


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return "nothing"


class Users:
    """Who has made instances of all classes of some modules, and calls whatever can be called."""

    def __init__(self, top: str, census: Callable[[], Census]) -> None:
        self._top, self._census = top, census
        self._held: dict[str, object] = {}

    def make(self) -> None:
        """Make an instance of each class, and hold it from now on."""
        self._held = dict(self._made())

    def modules(self, census: Census) -> dict[str, Any]:
        """What all modules bind."""
        return census.modules(sorted(name for name in sys.modules if name.partition(".")[0] == self._top))

    def release(self) -> None:
        """Hold no instances any longer."""
        self._held.clear()
        gc.collect()

    def _made(self) -> Iterator[tuple[str, object]]:
        """An instance of each class that can be made with one of `ARGUMENTS`."""
        for name, cls in self._defined_here(type):
            made = (_called(cls, arguments) for arguments in ARGUMENTS)
            if (first := next((each for each in made if not isinstance(each, _Raised)), None)) is not None:
                yield name, first

    def look(self) -> dict[str, Any]:
        """What all is and does now. Of instances that are held it is told what they have, and not with which values: that is state."""
        census = self._census()
        modules = self.modules(census)
        classes = dict(self._defined_here(type))
        return {
            "modules": modules,
            "instances": {name: _shape(each, classes.get(name)) for name, each in self._held.items()},
            "signatures": dict(self._signatures(census)),
            **self._calls(census),
        }

    def _signatures(self, census: Census) -> Iterator[tuple[str, str]]:
        for name, value in self._defined_here((FunctionType, type)):
            with contextlib.suppress(Exception):
                yield name, census.text(inspect.signature(value))

    def _calls(self, census: Census) -> dict[str, Any]:
        functions = {name: _results(census, function, ARGUMENTS) for name, function in self._defined_here(FunctionType)}
        methods: dict[str, Any] = {}
        for name, instance in self._made():
            methods[f"{name} {instance.__class__.__qualname__}"] = census.text(instance)
            for key in sorted(
                {key for cls in type(instance).__mro__[:-1] for key in vars(cls) if isinstance(key, str)}
            ):
                if not key.startswith("__"):
                    methods[f"{name}.{key}"] = _results(census, functools.partial(_used, instance, key), ARGUMENTS[:4])
        return {"functions": functions, "methods": methods}

    def _defined_here(self, kind: Any) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for module in sorted(name for name in sys.modules if name.partition(".")[0] == self._top):
            for name, value in _sorted(vars(sys.modules[module])):
                if isinstance(value, kind) and value.__module__ == module and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{module}.{name}", value


def _shape(instance: object, cls: type | None) -> str:
    """Which attributes an instance has, and whether it is one of a class."""
    return f"{type(instance) is cls}: {sorted(name for name, _ in _attributes(instance))}"


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __repr__(self) -> str:
        if isinstance(self._error, _Late):
            return LATE
        return f"{type(self._error).__name__}: {self._error}"


class _Late(BaseException):
    pass


def _used(instance: object, name: str, *given: Any) -> object:
    value = getattr(instance, name)
    return value(*given) if callable(value) else value


def _results(census: Census, function: Callable[..., object], every: Iterable[tuple[Any, ...]]) -> list[str]:
    """What comes of calls with these arguments, as text; one that takes too long is the last one."""
    results: list[str] = []
    for arguments in every:
        results.append(census.text(_called(function, arguments)))
        if results[-1] == LATE:
            break
    return results


def _called(function: Callable[..., object], arguments: tuple[Any, ...]) -> object:
    """What a call returns; what it raises; the first items of what it goes through."""

    def late(signum: int, frame: FrameType | None) -> None:
        raise _Late

    random.seed(1)
    timers = {signal.SIGVTALRM: (signal.ITIMER_VIRTUAL, SECONDS), signal.SIGALRM: (signal.ITIMER_REAL, WAITING)}
    for number, (timer, seconds) in timers.items():
        signal.signal(number, late)
        signal.setitimer(timer, seconds)
    try:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
            value = function(*(_copied(arguments) if function is not repr else arguments))
            if inspect.isgenerator(value):
                value = [each for each, _ in zip(value, range(20), strict=False)]
            if inspect.iscoroutine(value):
                value.close()
        return (value, out.getvalue()) if out.getvalue() else value
    except BaseException as error:
        return _Raised(error)
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)


def _copied(value: Any) -> Any:
    """Nobody changes what the next one gets."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(_copied, value))
    return {key: _copied(each) for key, each in value.items()} if isinstance(value, dict) else value
