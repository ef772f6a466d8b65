"""What decorators do to a function, as far as it is known: whether a new body, or a new signature, reaches who calls it."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterable
from typing import Literal, TypeAlias

from ..edit import PlannerContext
from ..source import Function, Module, Origin, walk
from ..values import Side, origin
from . import own_decorators

Kind: TypeAlias = Literal["neutral", "holds", "caches", "routes", "unknown"]
"""``neutral``: the class or module holds the function, or a plain descriptor of it; ``holds``: a wrapper calls it by
reference, whatever it does; ``caches``: so, and remembers; ``routes``: a framework, or a dispatcher, holds it and has read
its signature."""

_NEUTRAL = {
    *("builtins.property", "builtins.staticmethod", "builtins.classmethod", "abc.abstractmethod"),
    *("typing.final", "typing.override", "typing.overload", "typing.no_type_check"),
    *("typing_extensions.final", "typing_extensions.override", "typing_extensions.overload"),
}
_HOLDS = {
    *("functools.wraps", "contextlib.contextmanager", "contextlib.asynccontextmanager", "functools.singledispatch"),
    *("celery.shared_task", "celery.app.shared_task", "tenacity.retry"),
    *("pydantic.field_validator", "pydantic.model_validator", "pydantic.field_serializer", "pydantic.model_serializer"),
    *("pydantic.functional_validators.field_validator", "pydantic.functional_validators.model_validator"),
    *("pydantic.functional_serializers.field_serializer", "pydantic.functional_serializers.model_serializer"),
    *("sqlalchemy.event.listens_for", "sqlalchemy.event.api.listens_for", "sqlalchemy.orm.validates"),
    *(
        "sqlalchemy.orm.mapper.validates",
        "sqlalchemy.ext.hybrid.hybrid_property",
        "sqlalchemy.ext.hybrid.hybrid_method",
    ),
    *("django.dispatch.receiver", "django.dispatch.dispatcher.receiver", "django.db.transaction.atomic"),
    *(f"django.views.decorators.http.require_{name}" for name in ("http_methods", "GET", "POST", "safe")),
    *("django.views.decorators.csrf.csrf_exempt", "django.views.decorators.cache.never_cache"),
    *("django.contrib.auth.decorators.login_required", "django.contrib.auth.decorators.permission_required"),
    *("django.contrib.auth.decorators.user_passes_test",),
    *("aiohttp.web.middleware", "aiohttp.web_middlewares.middleware"),
    *("pytest.hookimpl", "pytest.hookspec", "_pytest.config.hookimpl", "_pytest.config.hookspec"),
}
"""These keep the function itself, and call it."""
_READS = {
    *(f"click.{name}" for name in ("command", "group", "option", "argument", "pass_context", "pass_obj")),
    *(f"click.decorators.{name}" for name in ("command", "group", "option", "argument", "pass_context", "pass_obj")),
}
"""These too, and have read the docstring and the parameters."""
_CACHES = {"functools.lru_cache", "functools.cache", "functools.cached_property"}
_PROPERTY = {"getter", "setter", "deleter"}
_FRAMEWORKS = {
    *("fastapi.FastAPI", "fastapi.APIRouter", "fastapi.applications.FastAPI", "fastapi.routing.APIRouter"),
    *("starlette.applications.Starlette", "starlette.routing.Router"),
    *("flask.Flask", "flask.Blueprint", "flask.app.Flask", "flask.blueprints.Blueprint"),
    *("aiohttp.web.Application", "aiohttp.web_app.Application"),
    *("aiohttp.web.RouteTableDef", "aiohttp.web_routedef.RouteTableDef"),
    *("django.template.Library", "django.template.library.Library"),
}
_CALLING = {"flask.Flask", "flask.Blueprint", "flask.app.Flask", "flask.blueprints.Blueprint"}
"""Those that read nothing of a function that they are given: they call it with what the route has for it."""
_QUEUES = ("celery.Celery", "celery.app.base.Celery")
_ROUTES = {
    *("get", "post", "put", "patch", "delete", "options", "head", "route", "websocket", "websocket_route", "api_route"),
    *("exception_handler", "errorhandler", "middleware", "on_event", "before_request", "after_request", "view"),
    *("teardown_request", "teardown_appcontext", "context_processor", "template_filter", "template_global", "trace"),
    *("filter", "simple_tag", "simple_block_tag", "inclusion_tag", "tag"),
}


_REGISTERING = {
    *("add_api_route", "add_api_websocket_route", "add_route", "add_websocket_route", "add_url_rule"),
    *("add_event_handler", "add_exception_handler", "register_error_handler"),
}
_KEEPERS = {
    *("starlette.routing.Route", "starlette.routing.WebSocketRoute", "fastapi.routing.APIRoute"),
    *("fastapi.Depends", "fastapi.Security", "fastapi.param_functions.Depends", "fastapi.param_functions.Security"),
    *("functools.partial", "typing.TypeVar", "typing.NewType", "typing.cast", "dataclasses.field"),
    *("signal.signal", "atexit.register"),
}
_DESCRIBING = {
    f"{module}.{name}"
    for module in ("fastapi", "fastapi.param_functions", "fastapi.params")
    for name in ("Depends", "Security", "Query", "Path", "Header", "Cookie", "Body", "Form", "File")
}
"""What describes a parameter for a framework, and keeps nothing of a call."""


def describes(side: Side, module: Module, called: ast.expr) -> bool:
    """Whether a call makes a description of a parameter, which is the same whenever it is made."""
    return ".".join(origin(side, module, called) or ()) in _DESCRIBING


def depends(side: Side, module: Module, called: ast.expr) -> bool:
    """Whether a call says which function a parameter comes of."""
    return ".".join(origin(side, module, called) or ()).rpartition(".")[2] in ("Depends", "Security") and describes(
        side, module, called
    )


def only_describes(side: Side, module: Module, call: ast.expr) -> bool:
    """Whether a call makes nothing but a description of a parameter, of names and constants."""
    if not isinstance(call, ast.Call) or not describes(side, module, call.func):
        return False
    return not any(isinstance(inner, ast.Dict | ast.Set | ast.ListComp) for inner in walk(call))


def is_depended_on(world: PlannerContext, function: Origin) -> bool:
    """Whether a handler depends on a function, which FastAPI has read then: ``Depends(function)``."""
    for module in (world.new.modules[name] for name in sorted(world.compared) if name in world.new.modules):
        for node in (inner for statement in module.body for inner in walk(statement)):
            match node:
                case ast.Call(called, [first, *_]) if depends(world.new, module, called):
                    if world.new.resolve(module, first) == function:
                        return True
    return False


def keeps(side: Side, module: Module, called: ast.expr) -> bool:
    """Whether a call keeps a function that it is given, and does not call it; it may look at its signature."""
    if ".".join(origin(side, module, called) or ()) in _KEEPERS:
        return True
    return (
        isinstance(called, ast.Attribute)
        and called.attr in _REGISTERING
        and is_framework(side, side.resolve(module, called.value))
    )


def kinds(side: Side, module: Module, decorators: Iterable[ast.expr]) -> set[Kind]:
    """What the decorators of a function are; empty where it has none."""
    return {_kind(side, module, decorator) for decorator in decorators}


def only_call(side: Side, module: Module, decorators: Iterable[ast.expr]) -> bool:
    """Whether a function has decorators of a framework, and none of these has read how it is called, or what it says of itself."""
    called = [decorator.func if isinstance(decorator, ast.Call) else decorator for decorator in decorators]
    return bool(called) and all(
        isinstance(part, ast.Attribute) and is_framework(side, side.resolve(module, part.value), _CALLING)
        for part in called
    )


def is_framework(side: Side, source: Origin | None, known_by: Container[str] = _FRAMEWORKS) -> bool:
    """Whether a global is made by the class of a known framework, or by one of those in `known_by`."""
    known = side.modules.get(source[0]) if source else None
    made = known.globals.get(source[1]) if known and source else None
    if not isinstance(made, ast.Call) or known is None:
        return False
    by = origin(side, known, made.func)
    return by is not None and ".".join(by) in known_by


def makes_framework(side: Side, module: Module, function: Function) -> str:
    """The class of a known framework of which a function makes an object; empty for none."""
    local = {
        alias.asname or alias.name: f"{inner.module}.{alias.name}"
        for inner in walk(function)
        if isinstance(inner, ast.ImportFrom) and not inner.level
        for alias in inner.names
    }
    for inner in walk(function):
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name | ast.Attribute):
            known = local.get(ast.unparse(inner.func)) or ".".join(origin(side, module, inner.func) or ())
            if known in _FRAMEWORKS:
                return ast.unparse(inner.func)
    return ""


def _kind(side: Side, module: Module, decorator: ast.expr) -> Kind:
    source = origin(side, module, decorator)
    dotted = ".".join(source) if source else ""
    if dotted in _NEUTRAL:
        return "neutral"
    if dotted in _HOLDS:
        return "holds"
    if dotted in _READS:
        return "routes"
    if dotted in _CACHES:
        return "caches"
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(called, ast.Attribute):
        if called.attr in _PROPERTY and isinstance(called.value, ast.Name) and not isinstance(decorator, ast.Call):
            return "neutral"
        if called.attr == "register" and is_dispatch(side, module, called.value):
            return "routes"
        if called.attr in _ROUTES and is_framework(side, side.resolve(module, called.value)):
            return "routes"
        if called.attr == "task" and is_framework(side, side.resolve(module, called.value), _QUEUES):
            return "holds"
    return "holds" if own_decorators.holds_only(side, module, decorator) else "unknown"


def is_dispatch(side: Side, module: Module, node: ast.expr) -> bool:
    """Whether this is a function that `singledispatch` dispatches: what is registered with it is kept, and it is not called."""
    source = side.resolve(module, node)
    known = side.modules.get(source[0]) if source else None
    function = known.functions.get(source[1]) if known and source else None
    return (
        function is not None
        and known is not None
        and any(
            (of := origin(side, known, decorator)) is not None and ".".join(of) == "functools.singledispatch"
            for decorator in function.decorator_list
        )
    )
