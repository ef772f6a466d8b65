"""Configuration: files that state it, providers that load it at boot, and what an application reads.

A configuration file is Python that calls :data:`config` and :data:`env`, at build (``config/config.py``) and at boot
(``config/runtime.py``)::

    from underway_runtime import config, env

    config("chat", port=int(env("PORT", "8000")), limits={"rooms": 100})

Values are plain data, as JSON has it: what a file states can be stored, shown and compared. Mappings merge deeply, all
else is replaced, as in Elixir's Config (hexdocs.pm/elixir/Config.html).

``sys.config`` is the JSON that a release carries: ``config`` holds what is known at build; ``providers``, where there are
any, is the trigger that makes the boot load the rest.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ..release.errors import ConfigError, DamagedRelease, listing

FORMAT = 1

Values: TypeAlias = dict[str, dict[str, Any]]
"""Application name -> key -> value."""


class Provider(Protocol):
    """Where configuration comes from at boot, after Elixir's Config.Provider."""

    def init(self, argument: Any) -> Any:
        """Runs at build, once. Takes the argument of the release's definition; returns what `load` is to get, as
        plain data. Raising refuses the release."""

    def load(self, values: Values, argument: Any) -> Values:
        """Runs at each boot, in the order of the providers, before any application is loaded. Takes what is configured
        so far and what `init` returned; returns the whole configuration. Raising stops the boot."""


@dataclass
class _Evaluation:
    """One configuration file while it runs."""

    environ: Mapping[str, str]
    may_read: frozenset[str] | None
    stated: Values = field(default_factory=dict)


_evaluation: ContextVar[_Evaluation | None] = ContextVar("underway_configuration", default=None)
_MISSING: Any = object()


class Config:
    """The configuration of this process: states it in a configuration file, reads it anywhere else."""

    def __init__(self) -> None:
        self._values: Values = {}

    def __call__(self, application: str, /, **values: Any) -> None:
        """State values of an application; only in a configuration file.

        Raises ConfigError elsewhere, and for a value that is not plain data.
        """
        evaluation = _evaluation.get()
        if evaluation is None:
            raise ConfigError(
                f"config({application!r}, ...) states configuration, which only a configuration file may do;"
                f" to read a value use config.get({application!r}, KEY)"
            )
        if problems := not_plain({application: values}):
            raise ConfigError(listing("configuration is plain data:", problems))
        evaluation.stated = merge(evaluation.stated, {application: values})

    def get(self, application: str, key: str, default: Any = _MISSING) -> Any:
        """The value of a key of an application; `default` where it is not configured.

        Raises ConfigError when it is not configured and there is no default.
        """
        value = self._values.get(application, {}).get(key, default)
        if value is _MISSING:
            raise ConfigError(
                f"{key!r} of application {application!r} is not configured; state it in config/config.py or"
                f" config/runtime.py: config({application!r}, {key}=...)"
            )
        return value

    def application(self, application: str) -> dict[str, Any]:
        """All that is configured for an application; a copy of the top level."""
        return dict(self._values.get(application, {}))

    def __repr__(self) -> str:
        return (
            f"<config of {', '.join(sorted(self._values)) or 'nothing'}>"  # keys may name secrets; values are not shown
        )


config = Config()


def env(name: str, default: str | None = None) -> str:
    """The environment variable `name`, or `default`; for configuration files.

    Raises ConfigError when it is not set and there is no default, and at build when the release does not declare the
    variable in ``build-env``: what is read at build is frozen into every copy.
    """
    evaluation = _evaluation.get()
    environ = os.environ if evaluation is None else evaluation.environ
    if evaluation is not None and evaluation.may_read is not None and name not in evaluation.may_read:
        raise ConfigError(
            f"the environment variable {name} would be frozen into the release; read it in config/runtime.py, or declare"
            f' it: build-env = ["{name}"]'
        )
    value = environ.get(name, default)
    if value is None:
        raise ConfigError(f"the environment variable {name} is not set and has no default")
    return value


def switch(key: str) -> bool:
    """Whether a command may be used in this release: ``rpc``, ``remote`` and ``eval`` of underway_runtime, else True.

    Raises ConfigError when it is neither true nor false.
    """
    value = config.get("underway_runtime", key, True)
    if not isinstance(value, bool):
        raise ConfigError(f"`{key}` of underway_runtime is true or false, not {value!r}")
    return value


def install(values: Values) -> None:
    """Make `values` what `config.get` answers in this process."""
    config._values = values


def merge(left: Values, right: Mapping[str, Any]) -> Values:
    """`right` over `left`: mappings merge deeply, all else is replaced. Changes neither.

    >>> merge({"chat": {"limits": {"rooms": 1, "users": 2}}}, {"chat": {"limits": {"rooms": 5}, "port": 80}})
    {'chat': {'limits': {'rooms': 5, 'users': 2}, 'port': 80}}
    """
    merged: dict[str, Any] = dict(left)
    for key, value in right.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def not_plain(values: Any, path: str = "") -> list[str]:
    """What JSON can't hold in `values`, each with its place (``chat.limits.rooms``); empty when all is plain."""
    if isinstance(values, dict):
        problems = [
            f"{path or 'the top'} has the key {k!r}; a key is a string" for k in values if not isinstance(k, str)
        ]
        for key, value in values.items():
            problems += not_plain(value, f"{path}.{key}" if path else str(key))
        return problems
    if isinstance(values, list):
        return [p for i, value in enumerate(values) for p in not_plain(value, f"{path}[{i}]")]
    if values is None or (isinstance(values, (str, int, float)) and values == values and values not in _INFINITE):
        return []
    return [f"{path} is {values!r}, a {type(values).__name__}; use strings, numbers, booleans, None, lists and dicts"]


_INFINITE = (float("inf"), float("-inf"))


def evaluate(file: Path, environ: Mapping[str, str], may_read: frozenset[str] | None = None) -> Values:
    """Run one configuration file and return what it states.

    `may_read` limits the variables that `env` may read; None allows all. Raises ConfigError naming the file and line for
    whatever the file raises.
    """
    try:
        code = compile(file.read_bytes(), str(file), "exec")
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigError(f"the configuration file {file} can't be read: {error}") from None
    evaluation = _Evaluation(environ, may_read)
    token = _evaluation.set(evaluation)
    try:
        exec(code, {"__name__": "__config__", "__file__": str(file)})
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        where = f"{file}, line {lines[-1]}" if lines else str(file)
        what = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
        raise ConfigError(f"{where}: {what}") from error
    finally:
        _evaluation.reset(token)
    return evaluation.stated


class PythonFile:
    """The provider of ``config/runtime.py``. Its argument is a path, relative to ``releases/V`` or absolute."""

    def init(self, argument: str) -> str:
        return argument

    def load(self, values: Values, argument: str) -> Values:
        return merge(values, evaluate(Path(sys.prefix, argument), os.environ))


def resolve_provider(reference: str) -> Provider:
    """The provider named ``"module:Class"``, instantiated. Raises ConfigError when there is none of that name."""
    module, _, name = reference.partition(":")
    try:
        provider = getattr(import_module(module), name)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"there is no configuration provider {reference!r}: {error}") from None
    missing = [method for method in ("init", "load") if not callable(getattr(provider, method, None))]
    if missing:
        raise ConfigError(f"{reference!r} is no configuration provider: it has no {' and no '.join(missing)}")
    return provider  # type: ignore[no-any-return]  # its two methods were just looked up


def read(sys_config: Path) -> tuple[Values, list[tuple[str, Any]]]:
    """What a ``sys.config`` holds: the values known at build, and the providers to run at boot.

    Raises DamagedRelease when it is missing or not one.
    """
    try:
        document = json.loads(sys_config.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}; this runtime reads format {FORMAT}")
        providers = [(str(reference), argument) for reference, argument in document.get("providers", [])]
        values = document["config"]
        if not isinstance(values, dict) or not all(isinstance(v, dict) for v in values.values()):
            raise ValueError("'config' is not a mapping of applications")
    except FileNotFoundError:
        raise DamagedRelease(f"the configuration {sys_config} is missing; restore it from the archive") from None
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DamagedRelease(f"the configuration {sys_config} can't be read: {error}") from None
    return values, providers


def load(sys_config: Path) -> Values:
    """The configuration of this boot: what ``sys.config`` holds, then each provider in order.

    Raises DamagedRelease for the file and ConfigError, naming the provider, for what one raises or returns.
    """
    values, providers = read(sys_config)
    for reference, argument in providers:
        try:
            loaded = resolve_provider(reference).load(values, argument)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"the configuration provider {reference} failed: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(loaded, dict) or not all(isinstance(v, dict) for v in loaded.values()):
            raise ConfigError(
                f"the configuration provider {reference} returned {type(loaded).__name__}, no configuration"
            )
        if problems := not_plain(loaded):
            raise ConfigError(
                listing(f"the configuration provider {reference} returned what is not plain data:", problems)
            )
        values = loaded
    return values
