"""What frameworks have computed since they were imported, and keep, wherever it is: it is forgotten with each swap, and computed again.

A plan names what is below an object that a module has made (see the planner's rules for frameworks). What no module's object leads to,
or is made when something is asked for the first time, is found here: in all live instances of a class of the framework.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, filterfalse
from pathlib import PurePath
from types import ModuleType
from typing import Any, TypeAlias

from ...observation import objects
from . import heap
from .undo_log import Acts, nothing

_ROUTES = {"_reverse_dict": dict, "_namespace_dict": dict, "_app_dict": dict, "_callback_strs": set, "_populated": bool}
"""What a resolver of Django has found in the modules of its routes, each with what makes what it has before that."""

_CACHES = {
    "django.urls.resolvers": ("_get_cached_resolver", "get_ns_resolver"),
    "django.urls.utils": ("get_callable",),
    "django.template.utils": ("get_app_template_dirs",),
    "django.forms.renderers": ("get_default_renderer",),
    "fastapi.dependencies.models": (
        *("_is_gen_callable_cached", "_is_async_gen_callable_cached", "_is_coroutine_callable_cached"),
    ),
    "fastapi._compat.v2": ("get_cached_model_fields",),
    "aiohttp.web_app": ("_cached_build_middleware",),
}
"""Functions that remember what they have answered, and so hold what goes, by module."""

_EFFECTIVE: Mapping[str, Callable[[], object]] = {
    "_effective_candidates": list,
    "_effective_candidates_version": type(None),
    "_effective_low_priority_routes": list,
    "_effective_low_priority_routes_version": type(None),
}
"""What a router of FastAPI that another includes makes of its routes at the first request, each with what makes what it has before that."""

_WITH_PREFIX = ("MEDIA_URL", "STATIC_URL")
"""Settings that Django keeps in another form than that in which they are set."""


_OF_DJANGO = "django.conf.global_settings"

Alive: TypeAlias = Sequence[tuple[type, Sequence[Any]]]
"""Classes, each with its instances, subclasses apart."""


def classes() -> list[type]:
    """The classes that are spoken of here, as far as they are imported, with their subclasses."""
    known = (*(cls for cls, _ in _classes()), *(cls for cls, _ in _looking()))
    bases = [cls for cls in known if objects.is_a(cls, type)]
    return list({id(cls): cls for base in bases for cls in heap.with_subclasses(base)}.values())


def forgotten(instances: Alive) -> Acts:
    """What makes all of them compute it again."""
    result = Acts()
    for cls, forget in _classes():
        for kind, of_kind in instances:
            for instance in of_kind if _is_a(kind, cls) else ():
                names = objects.own_dict(instance)
                if names is not None:
                    forget(result, names)
    for clear in _clears():
        result.add(clear, clear)
    return result


def _is_a(kind: type, cls: Any) -> bool:
    return any(base is cls for base in objects.mro(kind))


def _classes() -> Iterator[tuple[Any, Callable[[Acts, dict[str, Any]], None]]]:
    """The classes of frameworks that are imported, each with what it forgets of the attributes of an instance."""
    yield _named("jinja2.environment", "Environment"), _jinja_templates
    yield _named("django.conf", "LazySettings"), _django_settings
    yield _named("django.urls.resolvers", "URLResolver"), _django_routes
    for name in ("RoutePattern", "RegexPattern"):
        yield _named("django.urls.resolvers", name), _django_pattern
    yield _named("django.template.utils", "EngineHandler"), _django_engines
    yield _included_router(), _fastapi_routes
    yield _named("logging", "Logger"), _levels


def _named(module: str, name: str) -> Any:
    loaded = sys.modules.get(module)
    return objects.names_of(loaded).get(name) if loaded is not None else None


def _levels(result: Acts, names: dict[str, Any]) -> None:
    """Loggers remember for which levels they are enabled, by their own level and those above them."""
    if names.get("_cache"):
        result.item(names, "_cache", {})


def _jinja_templates(result: Acts, names: dict[str, Any]) -> None:
    """Templates that are compiled have in them what a loader had, and what filters have made of constants."""
    emptied = _named("jinja2.environment", "copy_cache")
    if "cache" in names and emptied is not None:
        result.item(names, "cache", emptied(names["cache"]))


def _django_settings(result: Acts, names: dict[str, Any]) -> None:
    """Settings are copied from their module, and kept in front of that once they were asked for: both get what it has by then."""
    layers = list(_django_layers(names.get("_wrapped")))
    if not layers:
        return
    result.extend(copied_settings(layers[0]))
    asked = [name for name in names if name != "_wrapped"]
    for name in asked:
        result.no_item(names, name)
    plain = [name for name in asked if name not in _WITH_PREFIX]
    for settings in reversed(layers):
        has, value = partial(dict.__contains__, settings), partial(dict.__getitem__, settings)
        result.add(
            partial(dict.update, names, zip(filter(has, plain), map(value, filter(has, plain)), strict=False)), nothing
        )


def copied_settings(copy: dict[str, Any]) -> Acts:
    """What puts the settings of its module into a copy of them, by the names that come, stay and go in the module meanwhile.

    `copy` are the attributes of a ``django.conf.Settings``. What the process has set in it since then stays. The names are known only
    when it is done, in iterators of C: no act runs code of Python.
    """
    result = Acts()
    module, explicit = objects.module_names(copy.get("SETTINGS_MODULE", "")), copy.get("_explicit_settings")
    if not module or type(explicit) is not set:
        return result
    before, named = dict(copy), frozenset(explicit)
    taken = [name for name in named if name in copy and name in module and copy[name] is module[name]]

    def comes() -> Iterator[str]:
        return filterfalse(named.__contains__, filter(str.isupper, chain.from_iterable([module])))

    def stays() -> Iterator[str]:
        return filter(partial(dict.__contains__, module), taken)

    def goes() -> Iterator[str]:
        return filterfalse(partial(dict.__contains__, module), taken)

    result.add(nothing, partial(dict.update, copy, before))
    result.add(nothing, partial(dict.clear, copy))
    for names in (comes, stays):
        _copy(result, copy, module, names(), names())
    defaults = objects.module_names(_OF_DJANGO)
    has_default = partial(dict.__contains__, defaults)
    _copy(result, copy, defaults, filter(has_default, goes()), filter(has_default, goes()))
    result.add(partial(deque, map(partial(dict.pop, copy), filterfalse(has_default, goes())), 0), nothing)
    result.add(partial(set.update, explicit, comes()), partial(set.update, explicit, named))
    result.add(partial(set.difference_update, explicit, goes()), partial(set.clear, explicit))
    return result


def _copy(
    result: Acts, copy: dict[str, Any], source: dict[str, Any], names: Iterator[str], again: Iterator[str]
) -> None:
    """Copy these items, which both iterators name."""
    values = map(partial(dict.__getitem__, source), again)
    result.add(partial(dict.update, copy, zip(names, values, strict=False)), nothing)


def _django_layers(settings: Any) -> Iterator[dict[str, Any]]:
    """Where an object has its settings: itself, and then in what it was configured over, Django's own module in the end."""
    while (names := objects.own_dict(settings)) is not None:
        yield names
        over = None if names.get("_deleted") else names.get("default_settings")  # what was taken out is nowhere
        settings = None if objects.is_a(settings, ModuleType) else over


def _django_routes(result: Acts, names: dict[str, Any]) -> None:
    """Resolvers know all routes below them by name, once one was asked for."""
    result.no_item(names, "url_patterns")
    for name, empty in _ROUTES.items():
        if name in names:
            result.item(names, name, empty())


def _django_pattern(result: Acts, names: dict[str, Any]) -> None:
    """Forget what a route was compiled to, which it is when it is first compared with a path."""
    result.no_item(names, "regex")
    if "_regex_dict" in names:
        result.item(names, "_regex_dict", {})


def _django_engines(result: Acts, names: dict[str, Any]) -> None:
    """Engines know where templates are, which filters there are, and what they have compiled."""
    if names.get("_engines"):
        result.item(names, "_templates", None)
        result.item(names, "_engines", {})
        result.no_item(names, "templates")


def _included_router() -> Any:
    return _named("fastapi.routing", "_IncludedRouter")


def _fastapi_routes(result: Acts, names: dict[str, Any]) -> None:
    """Routers know which routes they have, and what each answers with, until there are others."""
    for name, empty in _EFFECTIVE.items():
        if name in names:
            result.item(names, name, empty())


def routes_known() -> list[Any]:
    """What routers that are included know of their routes; each swap makes them forget it."""
    cls = _included_router()
    routers = heap.instances_of(cls) if objects.is_a(cls, type) else ()
    return [objects.names_of(router).get(name) for router in routers for name in _EFFECTIVE]


def clears(path: str) -> bool:
    """Whether each swap has the function at this path, ``module.name``, forget what it has answered."""
    module, _, name = path.rpartition(".")
    return name in _CACHES.get(module, ())


def forget_answers() -> None:
    """Make functions forget what they have answered, now: they refer to functions and classes that they were asked about."""
    for clear in _clears():
        clear()


def _clears() -> Iterator[Callable[[], object]]:
    engine = _named("django.template.engine", "Engine")
    default = objects.members(engine).get("get_default") if objects.is_a(engine, type) else None
    functions = [_named(module, name) for module, names in _CACHES.items() for name in names]
    for cached in (*functions, getattr(default, "__func__", None), *_of_typing()):
        clear = getattr(cached, "cache_clear", None)
        if clear is not None:
            yield clear


def _of_typing() -> Sequence[Any]:
    """The functions that make types with arguments, and remember these."""
    clears = objects.module_names("typing").get("_cleanups")
    functions = [getattr(clear, "__self__", None) for clear in clears] if type(clears) is list else []
    return [function for function in functions if hasattr(function, "cache_info")]


_LOOKING: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("jinja2.loaders", "FileSystemLoader"): ("searchpath",),
    ("jinja2.loaders", "PackageLoader"): ("_template_root",),
    ("starlette.staticfiles", "StaticFiles"): ("directory", "all_directories"),
    ("flask.sansio.scaffold", "Scaffold"): ("root_path", "instance_path", "template_folder", "_static_folder"),
    ("flask.config", "Config"): ("root_path",),
    ("django.apps.config", "AppConfig"): ("path",),
}
"""By module and class: the attributes that say where an object looks for files."""


def _looking() -> Iterator[tuple[Any, tuple[str, ...]]]:
    for (module, name), names in _LOOKING.items():
        yield objects.module_names(module).get(name), names


def moved(files: Iterable[tuple[str, str]], instances: Alive) -> Acts:
    """What has files looked for where the new version has them, by whoever was made with a place in the old one.

    `files` are those of modules, in the old version and in the new one.
    """
    result = Acts()
    places = _directories(files)
    for kind, of_kind in instances if places else ():
        names = [name for base, of_base in _looking() if _is_a(kind, base) for name in of_base]
        for instance in of_kind if names else ():
            attributes = objects.own_dict(instance)
            for name in names:
                if attributes is not None and (moved_path := _moved(attributes.get(name), places)) is not None:
                    result.item(attributes, name, moved_path)
    return result


def _directories(files: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The directories of the applications that these files are of: old -> new."""
    directories = {}
    for old, new in files:
        before, after = old.split("/"), new.split("/")
        different = [number for number, (one, other) in enumerate(zip(before, after, strict=False)) if one != other]
        if len(different) == 1 and len(before) == len(after):
            end = different[0] + 1
            directories["/".join(before[:end])] = "/".join(after[:end])
    return directories


def _moved(value: Any, places: Mapping[str, str]) -> Any:
    """A path, or a list of some, in the new version; None where it is not in the old one."""
    if type(value) is list:
        moved = [_moved(element, places) for element in value]
        return (
            [new if new is not None else element for element, new in zip(value, moved, strict=True)]
            if any(moved)
            else None
        )
    text = value if type(value) is str else str(value) if objects.is_a(value, PurePath) else ""
    for old, new in places.items():
        if text == old or text.startswith(f"{old}/"):
            return type(value)(new + text[len(old) :])
    return None
