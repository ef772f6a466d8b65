"""Configuration as an application reads it and a configuration file states it.

A configuration file is Python that calls :data:`config` and :data:`env`, at build (``config/config.py``) and at boot
(``config/runtime.py``)::

    from underway_runtime import config, env

    config("chat", port=int(env("PORT", "8000")), limits={"rooms": 100})

Values are plain data, as JSON has it: what a file states can be stored, shown and compared. Mappings merge deeply, all
else is replaced. Every process that reads configuration imports this module, so it imports little; what runs the files
is `evaluation`, what puts the configuration of a boot together `resolution`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

from ..release.errors import ConfigError, listing

if TYPE_CHECKING:
    from .config_file import Evaluation

FORMAT = 1

Values: TypeAlias = dict[str, dict[str, Any]]
"""Application name -> key -> value."""

MISSING: Any = object()
"""What `lookup` finds where there is nothing; None is a value."""

evaluation: ContextVar[Evaluation | None] = ContextVar("underway_configuration", default=None)
"""The configuration file that runs right now."""


class Config:
    """The configuration of this process: states it in a configuration file, reads it anywhere else."""

    def __init__(self) -> None:
        self._values: Values | None = None
        """None until they are installed."""
        self._environment = "prod"
        self._asked: list[tuple[tuple[str, ...], Any]] | None = None
        self._resolve: Callable[[], tuple[Values, str]] | None = None

    @property
    def environment(self) -> str:
        """What the release was built for: the option ``env``."""
        self._installed()
        return self._environment

    def __call__(self, application: str, /, **values: Any) -> None:
        """State values of an application; only in a configuration file.

        Raises ConfigError elsewhere, and for a value that is not plain data.
        """
        file = evaluation.get()
        if file is None:
            raise ConfigError(
                f"config({application!r}, ...) states configuration, which only a configuration file may do;"
                f" to read a value use config.get({application!r}, KEY)"
            )
        if problems := not_plain({application: values}):
            raise ConfigError(listing("configuration is plain data:", problems))
        file.state(application, values)

    def get(self, application: str, key: str, default: Any = MISSING) -> Any:
        """Return the value of a key of an application; `default` where it is not configured.

        Raises ConfigError when it is not configured and there is no default.
        """
        return self._value_at((application, key), default)

    def compile_env(self, application: str, *path: str, default: Any = MISSING) -> Any:
        """The value at a path of keys of an application, for code that the build runs and that keeps what it read.

        What is read so at build is recorded in the release, and a boot that is configured otherwise is refused:
        Elixir's ``Application.compile_env``. Raises ConfigError when it is not configured and there is no default.
        """
        if self._asked is not None:
            self._asked.append(((application, *path), lookup(self._current(), (application, *path))))
        return self._value_at((application, *path), default)

    def application(self, application: str) -> dict[str, Any]:
        """All that is configured for an application; a copy of the top level."""
        return dict(self._current().get(application, {}))

    def _value_at(self, path: tuple[str, ...], default: Any) -> Any:
        value = lookup(self._current(), path)
        if value is not MISSING:
            return value
        if default is MISSING:
            raise ConfigError(
                f"{'.'.join(path[1:])!r} of application {path[0]!r} is not configured; state it in config/config.py or"
                f" config/runtime.py: config({path[0]!r}, {path[1]}=...)"
            )
        return default

    def _current(self) -> Values:
        file = evaluation.get()
        return self._installed() if file is None else merge(self._installed(), file.stated)

    def _installed(self) -> Values:
        if self._values is None:
            self._values = {}
            if self._resolve is not None:
                self._values, self._environment = self._resolve()
        return self._values

    def __repr__(self) -> str:
        return f"<config of {', '.join(sorted(self._values or ())) or 'nothing'}>"  # keys may name secrets; values are not shown


config = Config()


def env(name: str, default: str | None = None) -> str:
    """The environment variable `name`, or `default`; for configuration files.

    Raises ConfigError when it is not set and there is no default, and at build when the release does not declare the
    variable in ``build-env``: what is read at build is frozen into every copy.
    """
    value = os.environ.get(name, default)  # which `evaluation` watches while a file runs
    if value is None:
        raise ConfigError(f"the environment variable {name} is not set and has no default")
    return value


def is_enabled(key: str) -> bool:
    """Whether a command may be used in this release: ``rpc``, ``remote`` and ``eval`` of underway_runtime, else True.

    Raises ConfigError when it is neither true nor false.
    """
    value = config.get("underway_runtime", key, True)
    if not isinstance(value, bool):
        raise ConfigError(f"`{key}` of underway_runtime is true or false, not {value!r}")
    return value


def seconds(key: str, default: float, application: str = "underway_runtime") -> float:
    """What is configured as a number of seconds. Raises ConfigError when it is none, or not above 0."""
    value = config.get(application, key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise ConfigError(f"`{key}` of {application} is a number of seconds, not {value!r}")
    return float(value)


def install(values: Values, environment: str | None = None) -> None:
    """Make `values` what `config.get` answers in this process."""
    config._values = values
    if environment is not None:
        config._environment = environment


def forget() -> None:
    """Forget what is installed in this process."""
    config._values = None


def resolve_when_asked(resolve: Callable[[], tuple[Values, str]]) -> None:
    """Have `resolve` make values and environment of this process when somebody first asks for one, if none are installed by then."""
    config._resolve = resolve


def record_compile_env() -> list[tuple[tuple[str, ...], Any]]:
    """Write down from now on what `config.compile_env` is asked for: path, and value or MISSING. Returns that list."""
    config._asked = []
    return config._asked


def lookup(values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """The value at a path, or MISSING."""
    value: Any = values
    for key in path:
        value = value.get(key, MISSING) if isinstance(value, Mapping) else MISSING
    return value


def merge(left: Values, right: Mapping[str, Any]) -> Values:
    """Put `right` over `left`: mappings merge deeply, all else is replaced. Changes neither.

    That is what Elixir's Config does with keyword lists; its maps are replaced as a whole (``Config.__merge__``). JSON
    has one kind of mapping, and it is the one that merges.

    >>> merge({"chat": {"limits": {"rooms": 1, "users": 2}}}, {"chat": {"limits": {"rooms": 5}, "port": 80}})
    {'chat': {'limits': {'rooms': 5, 'users': 2}, 'port': 80}}
    """
    merged: dict[str, Any] = dict(left)
    for key, value in right.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def not_plain(values: Any, path: str = "") -> list[str]:
    """What JSON can't hold in `values`, each with its place (``chat.limits.rooms``); empty when all is plain.

    The value itself is only shown where nothing in its place says that it is a secret.
    """
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
    from .provenance import names_secret

    what = "" if names_secret(path) else f"{values!r}, "
    return [f"{path} is {what}a {type(values).__name__}; use strings, numbers, booleans, None, lists and dicts"]


_INFINITE = (float("inf"), float("-inf"))
