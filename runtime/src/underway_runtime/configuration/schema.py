"""What applications say of their configuration, and whether it holds.

An application declares a dataclass, or a pydantic model where the release has pydantic: as ``config_schema`` of its
`Application` class, or with the option ``config-schema``. Each field is a key. The types that can be checked are those of
plain data: ``str``, ``int``, ``float``, ``bool``, ``None``, ``Any``, ``Literal``, unions, ``list``, ``dict`` with ``str``
keys, and dataclasses within. A field with ``metadata={"secret": True}`` (in pydantic: a ``SecretStr``, or
``json_schema_extra={"secret": True}``) is never shown.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..process.stop_signals import Stopping
from ..release import server_options
from ..release.boot_script import Instruction, Load, Start
from ..release.errors import BootError, ConfigError, listing
from ..release.references import find
from .config import Values, merge
from .fields import defaults, fields, is_dataclass, is_model, secrets
from .provenance import Origins, Setting, leaves, shown

RUNTIME = "underway_runtime"
READ_BY_THE_NODE = frozenset({"args", "drain_timeout", "listen", "overlap", "ready", "server"})
"""Keys of any application that the node itself reads; a schema need not know them."""


def check(
    values: Values, origins: Origins, instructions: Iterable[Instruction], begin: Callable[[str], object] = bool
) -> Values:
    """Check the configuration of every application that has a schema; returns it with the schemas' defaults filled in.

    What is configured for underway itself is checked as well, and stays as it is.

    `begin` is told whose turn it is. Notes in `origins` what is secret and where defaults come from. Raises ConfigError
    once, with everything that is wrong with any application.
    """
    instructions = list(instructions)
    starting = {each.application for each in instructions if isinstance(each, Start)}
    problems = _own_problems(values, origins)
    for load in (each for each in instructions if isinstance(each, Load)):
        problems += server_options.problems_of(
            load.application, load.start, values.get(load.application, {}).get("server", {})
        )
        begin(f"the import of {load.application}, for its schema")
        try:
            schema, name = _schema(load, starting)
        except ConfigError as error:
            problems.append(str(error))
            continue
        if schema is None:
            continue
        one = _Check(load.application, name, origins)
        try:
            filled_in = one.run(schema, values.get(load.application, {}))
        except Exception as error:
            problems.append(f"the schema {name} of {load.application} can't be used: {type(error).__name__}: {error}")
            continue
        problems += one.problems
        origins.settings[:0] = [
            Setting(path, value, f"the default of {name}") for path, value in leaves(filled_in, (load.application,))
        ]
        values = merge(values, {load.application: merge(filled_in, values.get(load.application, {}))})
    if problems:
        raise ConfigError(listing("the configuration is not what the applications ask for:", problems))
    return values


def having(instructions: Iterable[Instruction]) -> dict[str, str]:
    """The applications that have a schema, and its name. Raises ConfigError for one that can't be loaded."""
    instructions = list(instructions)
    starting = {each.application for each in instructions if isinstance(each, Start)}
    named = {each.application: _schema(each, starting) for each in instructions if isinstance(each, Load)}
    return {application: name for application, (schema, name) in named.items() if schema is not None}


def _own_problems(values: Values, origins: Origins) -> list[str]:
    if RUNTIME not in values:
        return []
    from .runtime_schema import Runtime

    own = _Check(RUNTIME, "its schema", origins)
    own._dataclass(Runtime, values[RUNTIME], (RUNTIME,))
    return own.problems


def _schema(load: Load, starting: set[str]) -> tuple[Any, str]:
    """The schema of an application, and its name; None where it has none."""
    if load.config_schema is not None:
        name, schema = load.config_schema, None
        try:
            schema = _find(name)
        except Exception as error:
            raise ConfigError(
                f"the schema of {load.application} can't be loaded: {type(error).__name__}: {error}"
            ) from error
    else:
        reference = (load.start or {}).get("class") if load.application in starting else None
        if not reference:
            return None, ""
        try:
            schema = getattr(_find(reference), "config_schema", None)
        except Exception:
            return None, ""  # the boot is about to import it, and says what is wrong with it
        name = (
            f"{schema.__module__}:{schema.__qualname__}" if isinstance(schema, type) else f"{reference}.config_schema"
        )
    if schema is not None and not is_dataclass(schema) and not is_model(schema):
        raise ConfigError(f"the schema of {load.application}, {name}, is neither a dataclass nor a pydantic model")
    return schema, name


def _find(reference: str) -> Any:
    try:
        return find(reference)
    except Stopping:
        raise
    except SystemExit as error:
        raise BootError(f"its module calls sys.exit({error})") from error


class _Check:
    """One application's configuration against its schema."""

    def __init__(self, application: str, schema_name: str, origins: Origins) -> None:
        self._path = (application,)
        self._name = schema_name
        self._origins = origins
        self.problems: list[str] = []

    def run(self, schema: Any, values: dict[str, Any]) -> dict[str, Any]:
        """Note what is wrong and what is secret; returns the defaults of what is not configured."""
        self._origins.secrets.update((*self._path, *path) for path in secrets(schema))
        known = fields(schema)
        given = {key: value for key, value in values.items() if key in known or key not in READ_BY_THE_NODE}
        if is_model(schema):
            self._model(schema, given)
        else:
            self._dataclass(schema, given, self._path)
        return defaults(schema, values)

    def _dataclass(self, schema: Any, values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
        """An instance, made so that ``__post_init__`` has its say; None where something is wrong."""
        before = len(self.problems)
        known = fields(schema)
        self._unknown(values, known, path)
        arguments = {}
        for name, field in known.items():
            if name in values:
                arguments[name] = self._value(values[name], field.kind, (*path, name))
            elif field.default is None:
                self._missing((*path, name), _wanted(field.kind))
        if len(self.problems) > before:
            return None
        try:
            return schema(**arguments)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            secret = [str(values[name]) for name in values if self._origins.is_secret((*path, name))]
            if any(text and text in what for text in secret):
                what = type(error).__name__
            self.problems.append(f"{'.'.join(path)}: {schema.__name__} refuses it: {what}")
            return None

    def _value(self, value: Any, kind: Any, path: tuple[str, ...]) -> Any:
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            if arms := [arm for arm in arguments if _fits(value, arm)]:
                return self._value(value, arms[0], path)
        elif origin is typing.Annotated:
            return self._value(value, arguments[0], path)
        elif is_dataclass(kind) and isinstance(value, Mapping):
            return self._dataclass(kind, value, path)
        elif origin is list and isinstance(value, list):
            return [self._value(each, arguments[0], (*path, str(i))) for i, each in enumerate(value)]
        elif origin is dict and isinstance(value, Mapping):
            return {key: self._value(each, arguments[1], (*path, key)) for key, each in value.items()}
        elif _fits(value, kind):
            return float(value) if kind is float else value
        self._wrong(path, value, _wanted(kind))
        return None

    def _model(self, model: Any, given: dict[str, Any]) -> None:
        known = fields(model)
        if model.model_config.get("extra") not in ("allow", "forbid"):
            self._unknown(given, known, self._path)
        try:
            model.model_validate(given)
        except Exception as error:
            if not hasattr(error, "errors"):
                raise
            for problem in error.errors():
                path = (*self._path, *map(str, problem["loc"]))
                if problem["type"] == "missing":
                    self._missing(path, "a value")
                elif problem["type"] == "extra_forbidden":
                    self._unknown({path[-1]: None}, known, path[:-1])
                else:
                    said = problem["msg"] if not self._origins.is_secret(path) else "another value"
                    self._wrong(path, problem["input"], said)

    def _unknown(self, values: Mapping[str, Any], known: Iterable[str], path: tuple[str, ...]) -> None:
        known = list(known)
        for name in values:
            if name not in known:
                import difflib

                close = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                here = (*path, name)
                self.problems.append(f"{'.'.join(here)}{self._set(here)} is not in {self._name}{hint}")

    def _missing(self, path: tuple[str, ...], wanted: str) -> None:
        self.problems.append(f"{'.'.join(path)} is missing; {self._name} wants {wanted}")

    def _wrong(self, path: tuple[str, ...], value: Any, wanted: str) -> None:
        kind = type(value).__name__
        hidden = isinstance(value, Mapping) or self._origins.is_secret(path)
        found = kind if hidden else f"{shown(value, secret=False)}, {kind}"
        self.problems.append(f"{'.'.join(path)} is {found}{self._set(path)}; {self._name} wants {wanted}")

    def _set(self, path: tuple[str, ...]) -> str:
        where = self._origins.where(path)
        return f" ({where})" if where else ""


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a type as far as one look tells; what is inside is looked at afterwards."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, arm) for arm in arguments)
    if origin is typing.Annotated:
        return _fits(value, arguments[0])
    if origin is typing.Literal:
        return any(type(value) is type(each) and value == each for each in arguments)
    if is_dataclass(kind) or origin is dict or kind is dict:
        return isinstance(value, Mapping)
    if kind is None or kind is types.NoneType:
        return value is None
    if kind is float:
        return type(value) in (int, float)
    if origin is list or kind in (str, int, bool, list):
        return type(value) is (origin or kind)
    return False


def _wanted(kind: Any) -> str:
    """A type in words: ``int``, ``one of "red", "blue"``, ``int or None``."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_wanted, arguments))
    if origin is typing.Annotated:
        return _wanted(arguments[0])
    if origin is typing.Literal:
        return f"one of {', '.join(shown(each, secret=False) for each in arguments)}"
    if origin in (list, dict):
        return f"{origin.__name__}[{', '.join(map(_wanted, arguments))}]"
    if kind is types.NoneType:
        return "None"
    if kind in (str, int, float, bool, list, dict, Any) or is_dataclass(kind):
        return "anything" if kind is Any else kind.__name__
    return f"{kind}, which is not a type of plain data and can't be checked"
