"""What a process has loaded of an application, as JSON: to compare a process that was swapped with a fresh one.

``describe("shop")`` runs in either, with the standard library and the runtime alone, over rpc as well; ``differences`` says
where two descriptions are not the same. Everything is in it that a fresh start decides: modules, the code of functions with
where it is, defaults, annotations, members of classes, plain globals. Of objects with an identity there is the type alone.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any

from underway_runtime.release import plain_values
from underway_runtime.release.code_tree import digest

_SKIPPED = {"__builtins__", "__dict__", "__weakref__", "__warningregistry__", "_abc_impl", "__annotations_cache__"}


def describe(*applications: str, below: str = "") -> dict[str, Any]:
    """Every loaded module of these top-level names; paths are written without `below`, the root of the release."""
    modules = {name: module for name, module in sorted(sys.modules.items()) if name.partition(".")[0] in applications}
    return {name: _names(vars(module), name, below) for name, module in modules.items()}


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Where they differ, as lines; none where they are the same."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = sorted(one.keys() | other.keys())
        return [
            line
            for key in keys
            for line in differences(one.get(key, "nothing"), other.get(key, "nothing"), f"{where}/{key}")
        ]
    return [] if one == other else [f"{where}: {one} | {other}"]


def _names(names: Mapping[str, Any], module: str, below: str) -> dict[str, Any]:
    return {name: _value(value, module, below) for name, value in names.items() if name not in _SKIPPED}


def _value(value: Any, module: str, below: str) -> Any:
    def inner(value: Any) -> Any:
        return _value(value, module, below)

    match value:
        case str():
            return repr(value.removeprefix(below))
        case FunctionType() if value.__module__ == module and value.__globals__.get("__name__") == module:
            return dict(_function(value, module, below))
        case FunctionType() | MethodType():
            return f"{type(value).__name__} {value.__module__}.{value.__qualname__}"
        case type() if value.__module__ == module:
            return {
                "bases": [base.__qualname__ for base in value.__bases__],
                "annotations": annotations_of(value),
                **_names(vars(value), module, below),
            }
        case type():
            return f"class {value.__module__}.{value.__qualname__}"
        case ModuleType():
            return f"module {value.__name__}"
        case staticmethod() | classmethod():
            return {
                type(value).__name__: inner(value.__func__),
                "doc": value.__doc__,
                "annotations": str(getattr(value, "__annotations__", None)),
            }
        case property():
            return {
                "get": inner(value.fget),
                "set": inner(value.fset),
                "delete": inner(value.fdel),
                "doc": value.__doc__,
            }
        case functools.cached_property():
            return {"cached": inner(value.func)}
        case functools.partial():
            return {"partial": inner(value.func), "args": inner(value.args)}
    if plain_values.is_plain(value):
        return repr(plain_values.encode(value)).replace(below, "") if below else repr(plain_values.encode(value))
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    origin = getattr(value, "origin", None) or getattr(value, "path", None)
    wrapped = getattr(value, "__dict__", {}).get("__wrapped__")
    return {"type": name, "wrapped": inner(wrapped)} if wrapped else f"{name} {str(origin).removeprefix(below)}"


def annotations_of(value: Any) -> dict[str, str]:
    """The annotations of a module, a class or a function, as texts."""
    if sys.version_info >= (3, 14):
        import annotationlib

        found = annotationlib.get_annotations(value, format=annotationlib.Format.FORWARDREF)
    else:
        found = vars(value).get("__annotations__", {}) if isinstance(value, type) else value.__annotations__
    return {name: str(each) for name, each in found.items()}


def _function(function: FunctionType, module: str, below: str) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    yield "code", digest(code)
    yield "at", f"{code.co_filename.removeprefix(below)}:{code.co_firstlineno} {function.__qualname__}"
    yield "doc", function.__doc__
    yield "defaults", [_value(each, module, below) for each in function.__defaults__ or ()]
    yield "keywords", {name: _value(each, module, below) for name, each in (function.__kwdefaults__ or {}).items()}
    yield "annotations", annotations_of(function)
    yield (
        "within",
        [
            _value(cell.cell_contents, module, below)
            for cell in function.__closure__ or ()
            if not isinstance(cell.cell_contents, type)
        ],
    )
    yield "has", {name: _value(each, module, below) for name, each in vars(function).items()}
