"""Where each value of a configuration was set, which variables were read on the way, and what must not be shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TypeAlias

from ..frozen import Frozen

Path: TypeAlias = tuple[str, ...]
"""Application, key, and keys within the value."""

REDACTED = "[redacted]"

# Texts, which `re` compiles when they are first used: a start uses neither.
_SECRET = r"(?i)passw(or)?d|passphrase|secret|token|credential|cookie|api_?key|(^|[._-])(keys?|pwd|dsn)($|[._-])"
_USER_INFO = r"(?<=://)([^/@\s:]*):([^/@\s]+)(?=@)"


class Setting(Frozen):
    """One value that was set at one place."""

    path: Path
    value: Any
    where: str
    """``config/config.py:3``, a file, ``$NAME``, a provider, a default."""


class Origins:
    """Everything that was set, in order; what was set later wins."""

    def __init__(
        self, settings: Iterable[Setting] = (), variables: Mapping[str, str] | None = None, secrets: Iterable[Path] = ()
    ) -> None:
        self.settings = [*settings]
        self.variables = {**(variables or {})}
        """Environment variables that were read, and who read them; never their values."""
        self.secrets = {*secrets}
        """What schemas and providers call secret."""

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, Origins) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def of(self, path: Path) -> list[Setting]:
        """The settings of one value, the last one last; where it has none, those of what it is in or of what is in it."""
        for wanted in (path[: len(path) - i] for i in range(len(path))):
            if settings := [setting for setting in self.settings if setting.path == wanted]:
                return settings
        return [setting for setting in self.settings if setting.path[: len(path)] == path][-1:]

    def where(self, path: Path) -> str:
        """Where a value was last set; empty when nobody said."""
        settings = self.of(path)
        return settings[-1].where if settings else ""

    def is_secret(self, path: Path) -> bool:
        """Whether a value must not be shown: by where it came from, by its schema, or by its name.

        What was secret once stays so: what a later file puts there has the same purpose.
        """
        return names_secret(".".join(path[1:])) or any(path[:length] in self.secrets for length in range(len(path) + 1))

    def to_json(self) -> dict[str, Any]:
        return {
            "settings": [[list(s.path), s.value, s.where] for s in self.settings],
            "variables": self.variables,
            "secrets": sorted(map(list, self.secrets)),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Origins:
        return cls(
            [Setting(_path(path), value, str(where)) for path, value, where in document["settings"]],
            {str(name): str(where) for name, where in document["variables"].items()},
            set(map(_path, document["secrets"])),
        )


def _path(keys: Any) -> Path:
    """As it is in a file, which another user may have written. Raises ValueError."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("one of its keys is not a string")
    return tuple(keys)


recording: ContextVar[Origins | None] = ContextVar("underway_origins", default=None)
"""Where `note` and `note_variable` write, while configuration is put together."""


def note(application: str, values: Mapping[str, Any], where: str, *, secret: bool = False) -> None:
    """Say where these values of an application were set; for files and providers."""
    if (origins := recording.get()) is not None:
        set_here = [Setting(path, value, where) for path, value in leaves(values, (application,))]
        origins.settings += set_here
        origins.secrets.update(setting.path for setting in set_here if secret)


def note_variable(name: str, where: str) -> None:
    """Say that an environment variable was read."""
    if (origins := recording.get()) is not None:
        origins.variables.setdefault(name, where)


def leaves(values: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Each value that is not a mapping, or an empty one, with its path."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def names_secret(path: str) -> bool:
    """Whether the name of a key, or of what it is in, says that its value is a secret.

    >>> [names_secret(name) for name in ("db.password", "api_token", "tls.key", "monkeys", "keyboard")]
    [True, True, True, False, False]
    """
    return bool(re.search(_SECRET, path))


def shown(value: Any, *, secret: bool) -> str:
    """A value as JSON for people: nothing of a secret, and no password that is in a URL."""
    return printable(REDACTED if secret else without_passwords(value))


def printable(value: Any) -> str:
    """A value as JSON on one line, with nothing in it that a terminal would obey or can't encode."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


def without_passwords(value: Any) -> Any:
    """A value with the passwords of its URLs, and what keys in its lists call a secret, redacted.

    >>> without_passwords(["postgres://chat:hunter2@db/chat", {"token": 1}])
    ['postgres://chat:[redacted]@db/chat', {'token': '[redacted]'}]
    """
    if isinstance(value, str):
        return re.sub(_USER_INFO, rf"\1:{REDACTED}", value)
    if isinstance(value, list):
        return [without_passwords(item) for item in value]
    if isinstance(value, Mapping):
        return {key: REDACTED if names_secret(key) else without_passwords(item) for key, item in value.items()}
    return value
