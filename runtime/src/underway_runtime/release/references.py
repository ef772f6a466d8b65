"""``module:name.name``, by which options, boot scripts, gates and schemas refer to an object."""

from __future__ import annotations

from functools import reduce
from importlib import import_module
from typing import Any

from .errors import BootError


def find(reference: str) -> Any:
    """The object that a reference leads to. Raises BootError when there is none; what an import raises, as it is."""
    name, _, path = reference.partition(":")
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # something that it imports is missing
        raise BootError(f"there is no module {name!r}, which {reference!r} names") from None
    try:
        return reduce(getattr, path.split("."), module)
    except AttributeError:
        raise BootError(f"{name} has no {path!r}, which {reference!r} names") from None
