"""Django copies its settings when it is set up; some it reads each time, of others it keeps what it has made of them.

What it finds by name, and keeps, is forgotten with each swap, in the process: see `underway_runtime.upgrade.hot.caches`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...edit import ModuleDiff, PlannerContext
from ...places import place_read, unused_default
from ...source import Module, initialiser, names_bound, text, walk

REMEMBERED = ("django.urls.resolvers._route_to_regex",)
"""Routes are compiled once; what comes of it depends on the text of the route alone."""

BY_HASH = (".coroutine_functions_to_sensitive_variables",)
"""Dicts whose keys are hashes, which are others in each process."""

_READ_EACH_TIME = frozenset(
    {
        *("BASE_DIR", "TEMPLATES", "ALLOWED_HOSTS", "ADMINS", "MANAGERS", "APPEND_SLASH", "INTERNAL_IPS"),
        *("DEFAULT_FROM_EMAIL", "SERVER_EMAIL", "EMAIL_SUBJECT_PREFIX", "LOGIN_URL", "LOGIN_REDIRECT_URL"),
        *("LOGOUT_REDIRECT_URL", "SESSION_COOKIE_AGE", "DATA_UPLOAD_MAX_MEMORY_SIZE", "DATA_UPLOAD_MAX_NUMBER_FIELDS"),
        *("X_FRAME_OPTIONS", "PASSWORD_RESET_TIMEOUT"),
    }
)
"""Settings of which nothing is kept, or what is kept is forgotten with each swap."""

_KEPT = re.compile(
    r"(INSTALLED_APPS|MIDDLEWARE|DATABASES?|DATABASE_ROUTERS|CACHES|LOGGING(_CONFIG)?|ROOT_URLCONF|WSGI_APPLICATION|ASGI_APPLICATION"
    r"|AUTH\w*|PASSWORD_HASHERS|LANGUAGE\w*|LOCALE_PATHS|USE_\w+|FORMAT_\w+|\w+_FORMATS?|TIME_ZONE|FIRST_DAY_OF_WEEK|STORAGES"
    r"|SERIALIZATION_MODULES|MEDIA_\w+|STATIC\w*|FILE_UPLOAD_\w+|DEFAULT_\w+|FORM_\w+|SECURE_\w+|SESSION_\w+|CSRF_\w+|SECRET_KEY\w*"
    r"|DEBUG\w*|MESSAGE_\w+|MIGRATION_MODULES|FIXTURE_DIRS|CACHE_\w+|ABSOLUTE_URL_OVERRIDES|TEST_\w+|EMAIL_\w+|SIGNING_BACKEND"
    r"|DISALLOWED_USER_AGENTS|IGNORABLE_404_URLS|PREPEND_WWW|FORCE_SCRIPT_NAME|TEMPLATE_\w+)"
)
"""Settings of Django itself of which it keeps what it has made of them, or may in some version."""


_PLACED = (
    "it depends on where the code is, and so differs in each version; what is to stay belongs below RELEASE_VAR: "
    'Path(os.environ.get("RELEASE_VAR", BASE_DIR))'
)


def check(world: PlannerContext, edits: Mapping[str, ModuleDiff], others: Mapping[str, Path]) -> None:
    """Write RESTART rows for settings that change, and are read by others than the project itself, who may keep them.

    `others` are the files of the modules that are not compared, by name.
    """
    for name in dict.fromkeys(_settings(edits)):
        edit = edits[name]
        for setting in sorted(_changed(world, edit)):
            if setting not in _READ_EACH_TIME and (reader := _reader(setting, others)):
                placed = setting in edit.new.stored and text_of(edit.old, setting) == text_of(edit.new, setting)
                why = _PLACED if placed else "it changes"
                reason = f"{reader} has read it when it was set up, and keeps what it has made of it; {why}"
                edit.restart(setting, "setting", reason, _at(edit.new, setting))


def _settings(edits: Mapping[str, ModuleDiff]) -> Iterator[str]:
    """The modules that Django is told to take its settings of, or that look like one."""
    for edit in edits.values():
        if "INSTALLED_APPS" in edit.new.stored or "INSTALLED_APPS" in edit.old.stored:
            yield edit.new.name
        for statement in edit.new.body:
            texts = {inner.value for inner in walk(statement) if isinstance(inner, ast.Constant)}
            if "DJANGO_SETTINGS_MODULE" in texts:
                yield from (str(text) for text in texts if text in edits)


def _changed(world: PlannerContext, edit: ModuleDiff) -> set[str]:
    """The settings that become others: by what they say, by where the code is, or by others that do."""
    names = {name for name in {**edit.old.stored, **edit.new.stored} if name.isupper()}
    changed = {name for name in names if text_of(edit.old, name) != text_of(edit.new, name)}
    changed |= {name for name in (*edit.was, *edit.replaced, *edit.added, *edit.removed) if name.isupper()}
    for name in names - changed:
        statement = _at(edit.new, name)
        if statement is not None and edit.moves and place_read(world, edit.new, statement):
            changed.add(name)
    while more := {name for name in names - changed if _names_in(world, edit.new, _at(edit.new, name)) & changed}:
        changed |= more
    return changed


def _reader(setting: str, others: Mapping[str, Path]) -> str:
    """Who reads a setting besides the project: Django, or a module of another application that names it; empty for nobody."""
    if _KEPT.fullmatch(setting):
        return "Django"
    word = re.compile(rb"\b%s\b" % setting.encode())
    return next((name for name, file in others.items() if word.search(file.read_bytes())), "")


def _at(module: Module, name: str) -> ast.stmt | None:
    return next((statement for statement in module.body if name in names_bound(statement)), None)


def _names_in(world: PlannerContext, module: Module, statement: ast.stmt | None) -> set[str]:
    value = initialiser(statement) if statement is not None else None
    nodes = list(walk(value)) if value is not None else []
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    unused = {id(inner) for call in calls for of in unused_default(world, module, call) for inner in walk(of)}
    return {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in unused}


def text_of(module: Module, name: str) -> list[str]:
    """All statements of a module that bind a name, as text."""
    return [text(statement) for statement in module.body if name in names_bound(statement)]
