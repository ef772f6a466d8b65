"""What applications say of their configuration, and whether it holds.

An application declares a dataclass, or a pydantic model where the release has pydantic: as ``config_schema`` of its
`Application` class, or with the option ``config-schema``. Each field is a key. The types that can be checked are those of
plain data: ``str``, ``int``, ``float``, ``bool``, ``None``, ``Any``, ``Literal``, unions, ``list``, ``dict`` with ``str``
keys, and dataclasses within. A field with ``metadata={"secret": True}`` (in pydantic: a ``SecretStr``, or
``json_schema_extra={"secret": True}``) is never shown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ..process import garbage_collector
from ..process.stop_signals import Stopping
from ..release import server_options
from ..release.boot_script import Instruction, Load, Start
from ..release.decode import Problem, fields_of, is_dataclass, problems_of
from ..release.errors import BootError, ConfigError, did_you_mean, listing
from ..release.references import find
from .config import Values, merge
from .fields import defaults, fields, is_model, secrets
from .provenance import Origins, Setting, leaves, shown

RUNTIME = "underway_runtime"
READ_BY_THE_NODE = frozenset({"args", "drain_timeout", "listen", "overlap", "processes", "ready", "server"})
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
    starting = {instruction.application for instruction in instructions if isinstance(instruction, Start)}
    problems = own_problems(values, origins)
    for load in (instruction for instruction in instructions if isinstance(instruction, Load)):
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
    starting = {instruction.application for instruction in instructions if isinstance(instruction, Start)}
    named = {
        instruction.application: _schema(instruction, starting)
        for instruction in instructions
        if isinstance(instruction, Load)
    }
    return {application: name for application, (schema, name) in named.items() if schema is not None}


def own_problems(values: Values, origins: Origins, faults: Collection[str] | None = None) -> list[str]:
    """Return what is wrong with the configuration of underway itself; only `faults` of these kinds, where more may come."""
    if RUNTIME not in values:
        return []
    from .runtime_schema import Runtime

    check = _Check(RUNTIME, "its schema", origins)
    check.dataclass(Runtime, values[RUNTIME], faults)
    return check.problems


def _misplaced(path: tuple[str, ...]) -> str:
    """What is said of a key that is not the application's, and underway's or the other way round."""
    from .runtime_schema import Runtime

    application, *_, key = path
    if len(path) != 2:
        return ""
    if application == RUNTIME:
        return f"; it belongs to an application: config(NAME, {key}=...)" if key in READ_BY_THE_NODE else ""
    return f"; it belongs to underway: config({RUNTIME!r}, {key}=...)" if key in fields_of(Runtime) else ""


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
        definition = find(reference)
    except Stopping:
        raise
    except SystemExit as error:
        raise BootError(f"its module calls sys.exit({error})") from error
    garbage_collector.set_aside()  # the application was imported for it
    return definition


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
            self.dataclass(schema, given)
        return defaults(schema, values)

    def dataclass(self, schema: Any, given: Any, faults: Collection[str] | None = None) -> None:
        """Note what is wrong by a dataclass; only `faults` of these kinds, unless None."""
        problems = problems_of(schema, given, self._path)
        self._note(problem for problem in problems if faults is None or problem.fault in faults)

    def _model(self, model: Any, given: dict[str, Any]) -> None:
        """Note what is wrong by a pydantic model."""
        keys = tuple(fields(model))
        if model.model_config.get("extra") not in ("allow", "forbid"):
            self._note(Problem((*self._path, key), "unknown", known=keys) for key in given if key not in keys)
        try:
            model.model_validate(given)
        except Exception as error:
            if not hasattr(error, "errors"):
                raise
            self._note(self._problem(row, keys) for row in error.errors())

    def _problem(self, row: Mapping[str, Any], keys: tuple[str, ...]) -> Problem:
        """One of pydantic's errors."""
        path = (*self._path, *map(str, row["loc"]))
        match row["type"]:
            case "missing":
                return Problem(path, "missing", wanted="a value")
            case "extra_forbidden":
                return Problem(path, "unknown", known=keys)
        return Problem(path, "wrong", row["input"], "another value" if self._origins.is_secret(path) else row["msg"])

    def _note(self, problems: Iterable[Problem]) -> None:
        self.problems += map(self._text, problems)

    def _text(self, problem: Problem) -> str:
        """One line about a problem; nothing in it is the value of a secret."""
        path, value = problem.path, problem.value
        where = ".".join(path)
        match problem.fault:
            case "missing":
                return f"{where} is missing; {self._name} wants {problem.wanted}"
            case "unknown":
                hint = _misplaced(path) or did_you_mean(path[-1], problem.known)
                return f"{where}{self._set(path)} is not in {self._name}{hint}"
            case "refused":
                return f"{where}: {problem.known[0]} refuses it: {self._reason(problem)}"
        is_hidden = isinstance(value, Mapping) or self._origins.is_secret(path)
        kind = type(value).__name__
        description = kind if is_hidden else f"{shown(value, secret=False)}, {kind}"
        return f"{where} is {description}{self._set(path)}; {self._name} wants {problem.wanted}"

    def _reason(self, problem: Problem) -> str:
        """What a schema raised: without its message, where that has the value of a secret in it."""
        reason = f"{type(problem.error).__name__}: {problem.error}"
        secrets = [str(value) for key, value in problem.value.items() if self._origins.is_secret((*problem.path, key))]
        is_told = any(secret and secret in reason for secret in secrets)
        return type(problem.error).__name__ if is_told else reason

    def _set(self, path: tuple[str, ...]) -> str:
        where = self._origins.where(path)
        return f" ({where})" if where else ""
