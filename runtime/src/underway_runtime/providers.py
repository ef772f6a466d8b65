"""The configuration providers that ship with the runtime, and what a provider is.

A release lists them in ``config-providers``, each ``"underway_runtime.providers:NAME"`` or with its argument::

    config-providers = [
        ["underway_runtime.providers:Toml", "/etc/chat.toml"],
        ["underway_runtime.providers:Environment", "CHAT"],
        ["underway_runtime.providers:Secrets", { application = "chat" }],
    ]

A path is absolute, relative to ``releases/V``, or begins with a variable of the node: ``$CONFIG_DIR/chat.toml``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from .configuration.config import Values, merge, not_plain
from .configuration.provenance import names_secret, note, note_variable
from .release.errors import ConfigError, listing

__all__ = ["Environment", "Json", "Provider", "PythonFile", "Secrets", "Toml", "note"]

_LARGEST = 1 << 20
"""Bytes of a secret; what is larger is no secret but a mistake."""


class Provider(Protocol):
    """Where configuration comes from at boot, after Elixir's Config.Provider."""

    def init(self, argument: Any) -> Any:
        """Runs at build, once. Takes the argument of the release's definition; returns what `load` is to get, as
        plain data. Raising refuses the release."""

    def load(self, values: Values, argument: Any) -> Values:
        """Runs at each boot, in the order of the providers, before any application is loaded. Takes what is configured
        so far and what `init` returned; returns the whole configuration. Raising stops the boot."""


class PythonFile:
    """A configuration file in Python, as ``config/runtime.py``. Its argument is a path."""

    def init(self, argument: Any) -> Any:
        return _file(argument)

    def load(self, values: Values, argument: Any) -> Values:
        from .configuration.config_file import evaluate

        file = _path_of(argument)
        return values if file is None else merge(values, evaluate(file, os.environ))


class Toml:
    """A TOML file with a table for each application. Its argument is a path, or ``{ path, optional }``."""

    def init(self, argument: Any) -> Any:
        return _file(argument)

    def load(self, values: Values, argument: Any) -> Values:
        import tomllib

        return _merge_file(values, argument, tomllib.loads)


class Json:
    """A JSON file with an object for each application. Its argument is a path, or ``{ path, optional }``."""

    def init(self, argument: Any) -> Any:
        return _file(argument)

    def load(self, values: Values, argument: Any) -> Values:
        import json

        return _merge_file(values, argument, json.loads)


class Environment:
    """Variables that begin with a prefix. Its argument is the prefix, or ``{ prefix, application }``.

    ``CHAT__LIMITS__ROOMS=5`` with the prefix ``CHAT`` is ``limits.rooms`` of the application ``chat``: ``__`` leads
    inwards, and keys are in lower case. What can be read as JSON is what JSON says: a number, true, false, null, a list,
    an object, a string in double quotes. All else is text as it stands, and so is what by its name is a secret.
    """

    def init(self, argument: Any) -> Any:
        given = _arguments(argument, "prefix", "application")
        if not isinstance(given.get("prefix"), str) or not given["prefix"]:
            raise ConfigError(f'its argument is a prefix, as in "CHAT", not {argument!r}')
        return {"prefix": given["prefix"], "application": given.get("application", given["prefix"].lower())}

    def load(self, values: Values, argument: Any) -> Values:
        start = f"{argument['prefix']}__"
        variables = {}
        for name in sorted(name for name in os.environ if name.startswith(start)):
            note_variable(name, f"the prefix {start}")
            keys, text = name[len(start) :].lower().split("__"), os.environ[name]
            variables[name] = (keys, text if names_secret(".".join(keys)) else _typed(text))
        return _placed(values, argument["application"], variables, lambda name: f"${name}")


class Secrets:
    """A directory with a file for each secret. Its argument is its path, or ``{ path, application, optional }``.

    The file ``password`` is the key ``password`` of `application`; ``tls__key`` is ``tls.key``. Without an application
    the first part names it: ``chat__password``. A value is always text, without the newline at the end of its file.
    Without a path it is systemd's ``$CREDENTIALS_DIRECTORY``, or else Docker's ``/run/secrets``, where there is one. What
    begins with a dot is no secret, and of a directory that Kubernetes mounts one generation is read, never two halves.
    """

    def init(self, argument: Any) -> Any:
        return _arguments(argument or {}, "path", "application", "optional")

    def load(self, values: Values, argument: Any) -> Values:
        directory = _path_of(argument, directory=True) if "path" in argument else _secrets_directory()
        if directory is None:
            return values
        entries: dict[str, tuple[list[str], Any]] = {}
        problems = []
        generation = Path(os.path.realpath(directory / "..data")) if (directory / "..data").is_dir() else directory
        try:
            names = sorted(os.listdir(generation))
        except OSError as error:
            raise ConfigError(f"the directory of secrets {directory} can't be read: {error.strerror}") from None
        for name in names:
            if name.startswith(".") or (generation / name).is_dir():
                continue
            try:
                entries[name] = (name.split("__"), _secret(generation / name))
            except (OSError, ValueError) as error:
                problems.append(f"{directory / name}: {getattr(error, 'strerror', None) or error}")
        if problems:
            raise ConfigError(listing("secrets can't be read:", problems))
        return _placed(values, argument.get("application"), entries, lambda name: str(directory / name), secret=True)


def _arguments(argument: Any, first: str, *others: str) -> dict[str, Any]:
    """The argument as a mapping of what it may hold; a text is the first of these. Raises ConfigError for another."""
    given = {first: argument} if isinstance(argument, str) else argument
    if not isinstance(given, Mapping) or not given.keys() <= {first, *others}:
        raise ConfigError(f"its argument is a text, or a table of {', '.join((first, *others))}; not {argument!r}")
    wrong = [f"{k} = {v!r}" for k, v in given.items() if not isinstance(v, bool if k == "optional" else str) or v == ""]
    if wrong:
        raise ConfigError(f"its argument has {', '.join(wrong)}")
    return dict(given)


def _file(argument: Any) -> dict[str, Any]:
    given = _arguments(argument, "path", "optional")
    if "path" not in given:
        raise ConfigError("its argument is the path of a file")
    return given


def _path_of(argument: Any, *, directory: bool = False) -> Path | None:
    """The path of an argument on this node; None where it is optional and not there."""
    path = argument["path"]
    optional = argument.get("optional", False)
    if path.startswith("$"):
        name, _, rest = path[1:].partition("/")
        name = name.removeprefix("{").removesuffix("}")
        note_variable(name, f"the path {path}")
        start = os.environ.get(name)
        if not start and optional:
            return None
        if not start:
            raise ConfigError(f"the environment variable {name} is not set, and {path} is to be read")
        path = os.path.join(start, rest)
    candidate = Path(sys.prefix, path)
    if candidate.is_dir() if directory else candidate.exists():
        return candidate
    if optional:
        return None
    what = "directory" if directory else "file"
    raise ConfigError(f"there is no {what} {candidate}; make it, or say optional = true")


def _secrets_directory() -> Path | None:
    note_variable("CREDENTIALS_DIRECTORY", "Secrets")
    directory = Path(os.environ.get("CREDENTIALS_DIRECTORY") or "/run/secrets")
    return directory if directory.is_dir() else None


def _merge_file(values: Values, argument: Any, parse: Callable[[str], Any]) -> Values:
    file = _path_of(argument)
    if file is None:
        return values
    try:
        stated = parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} can't be read: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(stated, dict) or not all(isinstance(keys, dict) for keys in stated.values()):
        raise ConfigError(f"{file} must hold a table for each application, as [chat] with port = 8000")
    if problems := not_plain(stated):
        raise ConfigError(listing(f"{file} is not plain data:", problems))
    for application, keys in stated.items():
        note(application, keys, str(file))
    return merge(values, stated)


def _placed(
    values: Values,
    application: str | None,
    entries: Mapping[str, tuple[list[str], Any]],
    where: Callable[[str], str],
    *,
    secret: bool = False,
) -> Values:
    """`values` with what was found, by name, at its path. Raises ConfigError listing names that don't make a path."""
    problems = []
    stated: Values = {}
    taken: dict[tuple[str, ...], str] = {}
    for name, (keys, value) in entries.items():
        path = tuple(keys) if application is None else (application, *keys)
        if not all(path) or len(path) < 2:
            problems.append(
                f"{where(name)} names no key; it is APPLICATION__KEY, or KEY where the application is given"
            )
            continue
        if clash := next((n for p, n in taken.items() if p[: len(path)] == path[: len(p)]), None):
            problems.append(f"{where(name)} and {where(clash)} can't both be set: one would be inside the other")
            continue
        taken[path] = name
        inner: Any = value
        for key in reversed(path[1:]):
            inner = {key: inner}
        note(path[0], inner, where(name), secret=secret)
        stated = merge(stated, {path[0]: inner})
    if problems:
        raise ConfigError(listing("configuration can't be placed:", problems))
    return merge(values, stated)


def _typed(text: str) -> Any:
    import json

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    try:
        value = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return text
    return text if not_plain(value) else value


def _secret(file: Path) -> str:
    with file.open("rb") as stream:
        content = stream.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError("it is larger than 1 MiB")
    try:
        return content.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None
