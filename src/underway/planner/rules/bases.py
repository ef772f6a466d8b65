"""What makes a class, as far as its bases, decorators and keywords tell."""

from __future__ import annotations

import ast
import builtins
import re
import sys
from abc import ABCMeta
from importlib import import_module
from typing import Any

from ..edit import ModuleDiff, PlannerContext
from ..source import Function, Module, text, walk
from ..values import origin
from . import decorators

MADE_ONCE = {
    *("__slots__", "__init_subclass__", "__set_name__", "__class_getitem__", "__eq__", "__hash__", "__prepare__"),
    *("__classcell__", "__mro_entries__", "__new__", "__match_args__", "__dict__", "__weakref__"),
}
"""Members that are looked at when a class, or an instance, is made, or that live instances rely on."""

RAN_WHEN_MADE = ("__init_subclass__", "__set_name__", "__class_getitem__", "_generate_next_value_")
"""Methods that have run when classes were made."""

MADE_BY_DECORATORS = {
    *("__init__", "__repr__", "__post_init__", "__lt__", "__le__", "__gt__", "__ge__", "__setattr__", "__delattr__"),
    *("__getstate__", "__setstate__", "__replace__"),
}
"""Those that `dataclass` and `total_ordering` look for, and make where they are not there."""

MODELS = (
    *("pydantic.BaseModel", "pydantic.main.BaseModel"),
    *("pydantic_settings.BaseSettings", "pydantic_settings.main.BaseSettings"),
)
"""Those of pydantic that models come from."""

_PLAIN_BASES = {
    *("abc.ABC", "typing.Generic", "typing.Protocol", "underway_runtime.Application"),
    *("underway_runtime.application.Application", "threading.Thread", "logging.Handler", "logging.Formatter"),
    *(
        "collections.namedtuple",
        "json.JSONEncoder",
        "collections.abc.Mapping",
        "collections.abc.Sequence",
        "collections.abc.Iterator",
    ),
}
_ASKED = {
    *(
        "collections",
        "collections.abc",
        "contextlib",
        "http.client",
        "http.server",
        "http.cookies",
        "http.cookiejar",
        "io",
        "json",
    ),
    *(
        "logging",
        "logging.handlers",
        "queue",
        "threading",
        "socketserver",
        "string",
        "warnings",
        "email.message",
        "html.parser",
    ),
    *(
        "ast",
        "asyncio",
        "argparse",
        "datetime",
        "decimal",
        "numbers",
        "socket",
        "urllib.request",
        "xml.sax.handler",
        "zoneinfo",
    ),
}
"""Modules of which it is looked up what makes their classes."""
_PROTOCOLS = ("typing.Protocol", "typing_extensions.Protocol")
DATACLASS = "dataclasses.dataclass"
HOLDING = {
    *(f"{module}.{name}" for module in ("attr", "attrs") for name in ("define", "frozen", "mutable", "s", "attrs")),
    *(*(f"attr._next_gen.{name}" for name in ("define", "frozen", "mutable")), "attr._make.attrs"),
    "django.utils.decorators.method_decorator",
}
"""What makes a class, or a member of it, again of its members, each function the same."""
_HARMLESS = {DATACLASS, "typing.final", "typing.runtime_checkable", "functools.total_ordering"}


def plain_bases(world: PlannerContext, module: Module, node: ast.ClassDef) -> bool:
    """Whether nothing but `type` or `abc.ABCMeta` makes a class, and nothing is told of its making."""
    return all(_plain(world, module, base, ()) for base in node.bases) and not _hooks(node)


_INDIFFERENT = {
    *("enum.Enum", "enum.StrEnum", "enum.IntEnum", "enum.Flag", "enum.IntFlag", "enum.ReprEnum", "typing.NamedTuple"),
    *("pydantic.BaseModel", "pydantic.main.BaseModel", "sqlalchemy.orm.DeclarativeBase", "flask.views.MethodView"),
    *("sqlalchemy.orm.decl_api.DeclarativeBase", "django.db.models.Model", "django.db.models.base.Model"),
    *("django.forms.Form", "django.forms.forms.Form", "django.forms.ModelForm", "django.forms.models.ModelForm"),
    *("marshmallow.Schema", "marshmallow.schema.Schema", "starlette.endpoints.HTTPEndpoint", "abc.ABC"),
    *("aiohttp.web.View", "aiohttp.web_urldispatcher.View"),
}
"""Bases whose metaclass makes nothing of a function that a class has: it is in the class, and that is all."""
_DATA = {
    *(
        "enum.Enum",
        "enum.StrEnum",
        "enum.IntEnum",
        "enum.Flag",
        "enum.IntFlag",
        "typing.NamedTuple",
        "typing.TypedDict",
    ),
    *("typing_extensions.TypedDict", "pydantic.BaseModel", "pydantic.main.BaseModel"),
    *("django.forms.Form", "django.forms.forms.Form"),
}
"""Bases of classes that hold data, and register nothing."""
_READING = {"__dict__", "vars", "dir", "getmembers", "hasattr", "getattr", "callable", "__annotations__"}
"""What tells a class's members apart."""


def takes_functions(world: PlannerContext, module: Module, node: ast.ClassDef, seen: tuple[str, ...] = ()) -> bool:
    """Whether a function that comes to a class, or goes, is nothing to what has made the class."""
    if any(keyword.arg == "metaclass" for keyword in node.keywords):
        return False
    if any(
        isinstance(statement, Function) and statement.name == "__init_subclass__" and _reads(statement)
        for statement in node.body
    ):
        return False
    return all(_takes_functions(world, module, base, seen) for base in node.bases)


def _takes_functions(world: PlannerContext, module: Module, base: ast.expr, seen: tuple[str, ...]) -> bool:
    source = origin(world.new, module, base)
    dotted = ".".join(source) if source else ""
    if source is None or dotted == "typing.Protocol" or dotted in seen:
        return False
    if source[0] == "builtins" or dotted in _INDIFFERENT or dotted in _PLAIN_BASES:
        return True
    if source[0].partition(".")[0] in sys.stdlib_module_names:
        return not _is_generated(dotted)
    known = world.new.modules.get(source[0])
    node = known.classes.get(source[1]) if known else None
    return known is not None and node is not None and takes_functions(world, known, node, (*seen, dotted))


def _is_generated(dotted: str) -> bool:
    """Whether a class of the standard library makes its subclasses by what functions they have."""
    return dotted.startswith(("typing.", "ctypes.", "unittest."))


def _reads(function: Function) -> bool:
    names = {inner.id for inner in walk(function) if isinstance(inner, ast.Name)}
    return bool(_READING & (names | {inner.attr for inner in walk(function) if isinstance(inner, ast.Attribute)}))


def keeps_annotations(world: PlannerContext, module: Module, node: ast.ClassDef, seen: tuple[str, ...] = ()) -> bool:
    """Whether what makes a class only keeps the objects that annotate its fields: nothing is compiled of them."""
    itself = keeps_annotations_itself(world, module, node)
    return itself and all(_keeps_annotations(world, module, base, seen) for base in node.bases)


def keeps_annotations_itself(world: PlannerContext, module: Module, node: ast.ClassDef) -> bool:
    """The same, as far as the class says it: what it comes from may do something with them."""
    of = [
        origin(world.new, module, decorator.func if isinstance(decorator, ast.Call) else decorator)
        for decorator in node.decorator_list
    ]
    if any(source is None or ".".join(source) not in _HARMLESS for source in of) or _hooks(node):
        return False
    return not any(
        keyword.arg is None or (keyword.arg == "metaclass" and not _ignores_annotations(world, module, keyword.value))
        for keyword in node.keywords
    )


def _ignores_annotations(world: PlannerContext, module: Module, metaclass: ast.expr) -> bool:
    """Whether a metaclass is of a module that has no word for annotations."""
    source = origin(world.new, module, metaclass)
    known = world.new.modules.get(source[0]) if source else None
    if known is None:
        return source is not None and source[0] == "abc"
    source_text = known.source if isinstance(known.source, str) else known.source.decode("utf-8", "replace")
    return not re.search("annotation|type_hints", re.sub(r"from __future__ import annotations\b", "", source_text))


def _keeps_annotations(world: PlannerContext, module: Module, base: ast.expr, seen: tuple[str, ...]) -> bool:
    source = origin(world.new, module, base.value if isinstance(base, ast.Subscript) else base)
    dotted = ".".join(source) if source else ""
    if source is None or dotted in seen:
        return False
    if source[0].partition(".")[0] in sys.stdlib_module_names:
        return not dotted.startswith("ctypes.")
    known = world.new.modules.get(source[0])
    node = known.classes.get(source[1]) if known else None
    return known is not None and node is not None and keeps_annotations(world, known, node, (*seen, dotted))


def is_data(world: PlannerContext, module: Module, node: ast.ClassDef) -> bool:
    """Whether it is an Enum, a NamedTuple or the like: bases of the standard library that register nothing."""
    return all(keyword.arg in ("total", "frozen") for keyword in node.keywords) and _is_data(world, module, node, ())


def _is_data(world: PlannerContext, module: Module, node: ast.ClassDef, seen: tuple[str, ...]) -> bool:
    made = [origin(world.new, module, decorator) for decorator in node.decorator_list]
    if any(source is None or ".".join(source) not in ("enum.unique", "typing.final") for source in made) or _hooks(
        node
    ):
        return False
    for base in node.bases:
        source = origin(world.new, module, base)
        dotted = ".".join(source) if source else ""
        known = world.new.modules.get(source[0]) if source else None
        inner = known.classes.get(source[1]) if known and source else None
        if source is None or dotted in seen:
            return False
        if source[0] == "builtins" or dotted in _DATA:
            continue
        if known is None or inner is None or inner.keywords or not _is_data(world, known, inner, (*seen, dotted)):
            return False
    return True


def _plain(world: PlannerContext, module: Module, base: ast.expr, seen: tuple[str, ...], side_new: bool = True) -> bool:
    side = world.new if side_new else world.old
    source = origin(side, module, base)
    if source is None:
        return False
    if source[0] == "builtins":
        return isinstance(getattr(builtins, source[1], None), type)
    if ".".join(source) in _PLAIN_BASES or _is_plain_of_the_interpreter(*source):
        return True
    known = side.modules.get(source[0])
    node = known.classes.get(source[1]) if known else None
    if known is None or node is None or ".".join(source) in seen or node.keywords or _hooks(node):
        return False
    return all(_plain(world, known, parent, (*seen, ".".join(source))) for parent in node.bases)


def _is_plain_of_the_interpreter(module: str, name: str) -> bool:
    """Whether a class of the standard library is made by `type` or `abc.ABCMeta`, and told of no subclass."""
    if module not in _ASKED:
        return False
    member: Any = import_module(module)
    for part in name.split("."):
        member = getattr(member, part, None)
    if type(member) not in (type, ABCMeta):
        return False
    return not any("__init_subclass__" in vars(cls) for cls in member.__mro__ if cls is not object)


def _hooks(node: ast.ClassDef) -> bool:
    return any(isinstance(statement, Function) and statement.name == "__init_subclass__" for statement in node.body)


def is_protocol(world: PlannerContext, module: Module, node: ast.ClassDef, seen: tuple[str, ...] = ()) -> bool:
    """Whether a class, or one that it comes from, has noted which members it has, by more than `abc`."""
    for base in node.bases:
        source = origin(world.new, module, base)
        dotted = ".".join(source) if source else ""
        if dotted in _PROTOCOLS:
            return True
        known = world.new.modules.get(source[0]) if source else None
        inner = known.classes.get(source[1]) if known and source else None
        if known and inner and dotted not in seen and is_protocol(world, known, inner, (*seen, dotted)):
            return True
    return any(keyword.arg == "metaclass" for keyword in node.keywords)


def is_generic(world: PlannerContext, module: Module, node: ast.ClassDef, seen: tuple[str, ...] = ()) -> bool:
    """Whether a class, or one of the release that it comes from, has type parameters by `typing.Generic`."""
    for base in node.bases:
        source = origin(world.new, module, base)
        dotted = ".".join(source) if source else ""
        known = world.new.modules.get(source[0]) if source else None
        inner = known.classes.get(source[1]) if known and source else None
        if dotted in ("typing.Generic", *_PROTOCOLS):
            return True
        if known and inner and dotted not in seen and is_generic(world, known, inner, (*seen, dotted)):
            return True
    return False


def same_bases(edit: ModuleDiff, node: ast.ClassDef) -> bool:
    """Whether all that a class comes from is of the release, and the same in both versions."""
    new, old = edit.world.new, edit.world.old
    waiting = [(edit.new, base) for base in node.bases]
    for module, base in waiting:
        source = new.resolve(module, base)
        known = [side.modules.get(source[0]) for side in (old, new)] if source else []
        nodes = [side.classes.get(source[1]) for side in known if side is not None and source is not None]
        if (
            source is None
            or len(nodes) != 2
            or nodes[0] is None
            or nodes[1] is None
            or text(nodes[0]) != text(nodes[1])
        ):
            return False
        waiting += [(new.modules[source[0]], parent) for parent in nodes[1].bases]
    return True


def unknown_decorators(edit: ModuleDiff, node: ast.ClassDef) -> bool:
    """Whether a class has a decorator of which it is not known what it does."""
    others = (
        decorator
        for decorator in node.decorator_list
        if not _registers(edit, decorator) and not _routes(edit, decorator)
    )
    of = (origin(edit.world.new, edit.new, decorator) for decorator in others)
    return any(source is None or ".".join(source) not in _HARMLESS | HOLDING for source in of)


def _routes(edit: ModuleDiff, decorator: ast.expr) -> bool:
    """Whether a decorator gives a class to a framework, which makes an instance for each request."""
    return decorators.kinds(edit.world.new, edit.new, [decorator]) == {"routes"}


def _registers(edit: ModuleDiff, decorator: ast.expr) -> bool:
    """Whether it is ``register`` of an abstract class of the standard library, which only notes the class."""
    if not isinstance(decorator, ast.Attribute) or decorator.attr != "register":
        return False
    source = origin(edit.world.new, edit.new, decorator.value)
    return source is not None and ".".join(source).startswith(("collections.abc.", "numbers."))


def is_made_again(edit: ModuleDiff, node: ast.ClassDef) -> bool:
    """Whether a class has a decorator that makes another one of it."""
    of = (origin(edit.world.new, edit.new, decorator) for decorator in node.decorator_list)
    return any(source is not None and ".".join(source) in HOLDING for source in of)
