"""The instructions of a relup as JSON: each is an object whose first key names it.

``{"load_object_code": "chat", "version": "0.2.0", "modules": […]}``; its other keys are the fields of its class.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from ..frozen import Frozen
from . import instructions as low
from . import parts, plain_values


def to_json(instruction: low.Instruction) -> dict[str, Any]:
    """Return an instruction as `json` writes it. Raises ValueError for values in it that are not plain."""
    name, codecs = next((name, codecs) for name, (kind, codecs) in _FORMS.items() if type(instruction) is kind)
    if not codecs:
        return {name: True}
    document = {}
    for number, field in enumerate(fields(instruction)):
        value = getattr(instruction, field.name)
        if field.name in _ADDED and not value:
            continue
        document[name if number == 0 else field.name] = codecs[field.name].write(value)
    return document


def from_json(document: Any) -> low.Instruction:
    """Return the instruction that `to_json` made this of. Raises ValueError when it made no such thing."""
    if not isinstance(document, dict) or not document:
        raise ValueError(f"an instruction is an object, not {document!r}")
    name = next(iter(document))
    if name not in _FORMS:
        raise ValueError(f"unknown instruction {name!r}")
    kind, codecs = _FORMS[name]
    if not codecs:
        return kind()  # type: ignore[no-any-return]
    keys = [name, *list(codecs)[1:]]
    missing = [key for key in keys if key not in document and key not in _ADDED]
    if problems := [*missing, *(key for key in document if key not in keys)]:
        raise ValueError(f"an instruction {name!r} has {', '.join(keys)}; look at {', '.join(map(repr, problems))}")
    try:
        values = {
            field: codec.read(document[key])
            for (field, codec), key in zip(codecs.items(), keys, strict=True)
            if key in document
        }
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise ValueError(f"{name} {document[name]!r}: {error}") from None
    except KeyError as error:
        raise ValueError(f"{name} {document[name]!r}: it has no {error}") from None
    return kind(**values)  # type: ignore[no-any-return]


class _Codec(Frozen):
    """How a field is written to JSON, and read; to read raises TypeError or ValueError."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _one_of(*choices: str) -> _Codec:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is none of {', '.join(choices)}")
        return str(value)

    return _Codec(str, read)


def _maybe(codec: _Codec) -> _Codec:
    return _Codec(
        lambda value: None if value is None else codec.write(value),
        lambda value: None if value is None else codec.read(value),
    )


def _list(codec: _Codec) -> _Codec:
    def read(values: Any) -> tuple[Any, ...]:
        if not isinstance(values, list):
            raise TypeError(f"{values!r} is not a list")
        return tuple(map(codec.read, values))

    return _Codec(lambda values: [codec.write(value) for value in values], read)


def _by_name(codec: _Codec) -> _Codec:
    return _Codec(
        lambda values: {name: codec.write(value) for name, value in values.items()},
        lambda values: {_text(name): codec.read(value) for name, value in values.items()},
    )


def _pair(first: str, codec: _Codec, second: str = "module") -> _Codec:
    return _Codec(
        lambda pair: {second: pair[0], first: codec.write(pair[1])},
        lambda entry: (_text(entry[second]), codec.read(entry[first])),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _timeout(value: Any) -> low.Timeout:
    if value in ("default", "infinity"):
        return "infinity" if value == "infinity" else "default"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ValueError(f"{value!r} is not a time to wait; it is a number of seconds, 'default' or 'infinity'")
    return float(value)


def _binding(value: Any) -> tuple[str, str]:
    module, name = value
    return _text(module), _text(name)


def _fragment(value: Any) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a fragment is base64: {error}") from None


def _changed(value: Any) -> low.Changed:
    if not isinstance(value["contract"], bool):
        raise TypeError(f"{value['contract']!r} is neither true nor false")
    return low.Changed(_text(value["was"]), _text(value["is"]), value["contract"])


def _guard(value: Any) -> low.Guard:
    [(kind, of)] = value.items()
    if kind not in low.GUARDS:
        raise ValueError(f"there is no guard {kind!r}")
    return low.Guard(kind, _text(of))


_TEXT = _Codec(lambda value: value, _text)
_TEXTS = _list(_TEXT)
_PURGE = _one_of("soft", "brutal")
_PLAIN = _Codec(plain_values.encode, plain_values.decode)
_VALUE = _Codec(lambda value: {"was": plain_values.encode(value)}, lambda entry: plain_values.decode(entry["was"]))
_GUARDS = _list(_Codec(lambda guard: {guard.kind: guard.of}, _guard))
_CHANGED = _Codec(lambda value: {"was": value.was, "is": value.now, "contract": value.contract}, _changed)
_FRAGMENT = _Codec(lambda value: base64.b64encode(value).decode(), _fragment)

_ADDED = ("given", "taken", "parts", "touches", "seen")
"""Keys that are left out where they hold nothing: older versions don't know them."""

_FORMS: Mapping[str, tuple[Any, Mapping[str, _Codec]]] = {
    "load_object_code": (low.LoadObjectCode, {"application": _TEXT, "version": _TEXT, "modules": _TEXTS}),
    "point_of_no_return": (low.PointOfNoReturn, {}),
    "load": (
        low.Load,
        {
            "module": _TEXT,
            "application": _TEXT,
            "pre": _PURGE,
            "post": _PURGE,
            "fragment": _maybe(_FRAGMENT),
            "changed": _by_name(_CHANGED),
            "refreshed": _TEXTS,
            "added": _TEXTS,
            "removed": _TEXTS,
            "replaced": _TEXTS,
            "values": _by_name(_VALUE),
            "rebind": _by_name(_Codec(list, _binding)),
            "imports": _TEXTS,
            "code_change": _TEXTS,
            "given": _by_name(_PLAIN),
            "taken": _by_name(_TEXTS),
            "caches": _TEXTS,
            "guards": _GUARDS,
            "parts": _list(_Codec(parts.to_json, parts.from_json)),
            "touches": _list(_Codec(list, _binding)),
            "seen": _Codec(bool, bool),
        },
    ),
    "remove": (low.Remove, {"module": _TEXT, "pre": _PURGE, "post": _PURGE, "guards": _GUARDS}),
    "purge": (low.Purge, {"modules": _TEXTS}),
    "suspend": (low.Suspend, {"modules": _list(_pair("timeout", _Codec(lambda value: value, _timeout)))}),
    "resume": (low.Resume, {"modules": _TEXTS}),
    "code_change": (low.CodeChange, {"direction": _one_of("up", "down"), "modules": _list(_pair("extra", _PLAIN))}),
    "stop": (low.Stop, {"modules": _TEXTS}),
    "start": (low.Start, {"modules": _TEXTS}),
    "sync_nodes": (low.SyncNodes, {"id": _TEXT, "nodes": _TEXTS, "function": _maybe(_TEXT)}),
    "apply": (low.Apply, {"module": _TEXT, "function": _TEXT, "arguments": _list(_PLAIN)}),
    "application_load": (low.ApplicationLoad, {"application": _TEXT}),
    "application_start": (
        low.ApplicationStart,
        {"application": _TEXT, "mode": _one_of("permanent", "transient", "temporary")},
    ),
    "application_stop": (low.ApplicationStop, {"application": _TEXT}),
    "application_unload": (low.ApplicationUnload, {"application": _TEXT}),
    "restart_new_emulator": (low.RestartNewEmulator, {}),
    "restart_emulator": (low.RestartEmulator, {}),
}
