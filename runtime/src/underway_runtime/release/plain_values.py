"""Plain values as JSON, with their exact types: what a relup says of the globals and attributes that it changes.

==================================  ====================================================
None, bool, str, int, float, list   as they are
dict                                as it is, in its order; ``{"$dict": [[key, value]]}`` where a key is not a string or
                                    begins with ``$``
tuple, set, frozenset               ``{"$tuple": […]}``, ``{"$set": […]}``, ``{"$frozenset": […]}``
frozendict                          ``{"$frozendict": [[key, value]]}``, of Python 3.15 and later
bytes                               ``{"$bytes": "6162"}``
complex                             ``{"$complex": [real, imaginary]}``
...                                 ``{"$ellipsis": null}``
inf, nan                            ``{"$float": "inf"}``
a long number                       ``{"$int": "0x…"}``
a string that is not UTF-8          ``{"$str": "…"}``
==================================  ====================================================
"""

from __future__ import annotations

import builtins
import json
import math
from typing import Any

FROZEN_DICT: Any = getattr(builtins, "frozendict", None)
"""Python's own dict that can't be changed, since 3.15."""

LONG = 1 << 64
"""Numbers from here on are written as text, since Python reads no decimal number of more than 4300 digits."""


def encode(value: Any) -> Any:
    """Return what `json` writes for a plain value; the same value gives the same. Raises ValueError for any that is not plain."""
    try:
        return _encoded(value)
    except RecursionError:
        raise ValueError("the value holds itself, or is nested too deeply") from None


def decode(document: Any) -> Any:
    """Return the value that `encode` made this of. Raises ValueError when it made no such thing."""
    try:
        return _decoded(document)
    except (TypeError, RecursionError, OverflowError) as error:
        raise ValueError(f"it is not a plain value: {error}") from None


def is_plain(value: Any) -> bool:
    """Whether `encode` takes it."""
    try:
        encode(value)
    except ValueError:
        return False
    return True


def _encoded(value: Any) -> Any:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return {"$str": value.encode("utf-8", "surrogatepass").hex()}
        return value
    if kind is int:
        return value if -LONG < value < LONG else {"$int": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if kind is complex:
        return {"$complex": [_encoded(value.real), _encoded(value.imag)]}
    if kind is bytes:
        return {"$bytes": value.hex()}
    if value is ...:
        return {"$ellipsis": None}
    if kind is list:
        return [_encoded(item) for item in value]
    if kind is tuple:
        return {"$tuple": [_encoded(item) for item in value]}
    if kind is set or kind is frozenset:
        return {f"${kind.__name__}": sorted((_encoded(item) for item in value), key=json.dumps)}
    if kind is FROZEN_DICT:
        return {"$frozendict": [[_encoded(key), _encoded(item)] for key, item in value.items()]}
    if kind is dict:
        pairs = [(_encoded(key), _encoded(item)) for key, item in value.items()]
        if all(type(key) is str and not key.startswith("$") for key, _ in pairs):
            return dict(pairs)
        return {"$dict": [list(pair) for pair in pairs]}
    raise ValueError(f"{type.__repr__(kind)} is not plain")


def _decoded(document: Any) -> Any:
    match document:
        case None | bool() | int() | float() | str():
            return document
        case list():
            return [_decoded(item) for item in document]
        case {"$tuple": list(items)}:
            return tuple(map(_decoded, items))
        case {"$set": list(items)}:
            return set(map(_decoded, items))
        case {"$frozenset": list(items)}:
            return frozenset(map(_decoded, items))
        case {"$dict": list(pairs)}:
            return {_decoded(key): _decoded(value) for key, value in pairs}
        case {"$frozendict": list(pairs)} if FROZEN_DICT is not None:
            return FROZEN_DICT((_decoded(key), _decoded(value)) for key, value in pairs)
        case {"$bytes": str(text)}:
            return bytes.fromhex(text)
        case {"$str": str(text)}:
            return bytes.fromhex(text).decode("utf-8", "surrogatepass")
        case {"$int": str(text)}:
            return int(text, 16)
        case {"$float": str(text)}:
            return float(text)
        case {"$complex": [real, imaginary]}:
            return complex(_decoded(real), _decoded(imaginary))
        case {"$ellipsis": None}:
            return ...
        case dict() if not any(key.startswith("$") for key in document):
            return {key: _decoded(value) for key, value in document.items()}
    raise ValueError(f"{json.dumps(document)} is not a plain value")
