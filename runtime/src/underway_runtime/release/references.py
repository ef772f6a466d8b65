"""``module:name.name``, by which options, boot scripts, gates, appups and schemas refer to an object."""

from __future__ import annotations

from importlib import import_module
from operator import attrgetter
from typing import Any, TypeGuard

from .errors import BootError


def is_reference(text: object) -> TypeGuard[str]:
    """Return whether this has the form of a reference.

    >>> [is_reference(text) for text in ("chat:ready", "acme.web:App.make", "chat", "chat:", "chat.ready", "a b:c", None)]
    [True, True, False, False, False, False, False]
    """
    if not isinstance(text, str):
        return False
    module, colon, path = text.partition(":")
    return bool(colon) and all(name.isidentifier() for name in (*module.split("."), *path.split(".")))


def module_of(reference: str) -> str:
    """The module that a reference names."""
    return reference.partition(":")[0]


def find(reference: str) -> Any:
    """Find the object that a reference leads to. Raises BootError when there is none; what an import raises, as it is."""
    module, _, path = reference.partition(":")
    if not is_reference(reference):
        raise BootError(f"{reference!r} is not MODULE:NAME")
    try:
        imported = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # something that it imports is missing
        raise BootError(f"there is no module {module!r}, which {reference!r} names") from None
    try:
        return attrgetter(path)(imported)
    except AttributeError:
        raise BootError(f"{module} has no {path!r}, which {reference!r} names") from None
