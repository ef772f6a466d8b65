"""Running a configuration file, and watching what the build reads of the environment meanwhile."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..release.errors import ConfigError
from . import provenance
from .config import Values, evaluation, merge

_BETWEEN = {"os", "posixpath", "genericpath", "pathlib", "collections", "underway_runtime"}
"""Modules that read a variable for their caller, who is the one that counts."""


class Evaluation:
    """One configuration file while it runs."""

    def __init__(self, file: Path, label: str) -> None:
        self._file = str(file)
        self._label = label
        self.stated: Values = {}

    def state(self, application: str, values: Mapping[str, Any]) -> None:
        """Do what ``config(...)`` means, in the file or in something that it calls."""
        self.stated = merge(self.stated, {application: values})
        provenance.note(application, values, f"{self._label}:{self._line()}")

    def _line(self) -> int:
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename != self._file:
            frame = frame.f_back
        return frame.f_lineno


def evaluate(
    file: Path, environ: MutableMapping[str, str], may_read: frozenset[str] | None = None, label: str = ""
) -> Values:
    """Run one configuration file and return what it states.

    `environ` stands in for ``os.environ`` while it runs. `may_read` limits the variables that may be read; None allows
    all. `label` is how the file is called where its values are explained. Raises ConfigError naming the file and line
    for whatever the file raises.
    """
    label = label or str(file)
    try:
        code = compile(file.read_bytes(), str(file), "exec")
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigError(f"the configuration file {file} can't be read: {error}") from None
    this = Evaluation(file, label)
    token = evaluation.set(this)
    try:
        with watched(environ, may_read, label):
            exec(code, {"__name__": "__config__", "__file__": str(file)})
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        where = f"{file}, line {lines[-1]}" if lines else str(file)
        what = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
        raise ConfigError(f"{where}: {what}") from error
    finally:
        evaluation.reset(token)
    return this.stated


@contextmanager
def watched(environ: MutableMapping[str, str], may_read: frozenset[str] | None, label: str) -> Iterator[None]:
    """Put a watch in the place of ``os.environ`` and ``os.environb`` for as long as the block lasts."""
    before = os.environ, os.environb
    watches = Watch(environ, may_read, label), Watch(os.environb, may_read, label)
    os.environ, os.environb = watches  # type: ignore[assignment]  # mappings too, which is what is promised of them
    try:
        yield
    finally:
        os.environ, os.environb = before
        for watch in watches:
            watch.on = False


class Watch(MutableMapping[Any, Any]):
    """An environment that notes who reads what, and refuses what may not be read.

    What a file reads through the standard library counts as read by the file, as ``os.getenv`` and ``Path.home`` do.
    What the standard library reads for itself does not: ``subprocess`` looks into PATH, and passes on all that there is.
    What looks through all variables finds those that may be read.
    """

    def __init__(self, environ: MutableMapping[Any, Any], may_read: frozenset[str] | None, label: str) -> None:
        self._environ = environ
        self._may_read = may_read
        self._label = label
        self._own: set[str] = set()  # set while the file ran
        self.on = True  # a module that the file imported may keep this object

    def __getitem__(self, key: Any) -> Any:
        name = os.fsdecode(key)
        if self.on and (line := _reader()) is not None:
            if not self._allowed(name):
                raise ConfigError(
                    f"the environment variable {name} would be frozen into the release; read it in config/runtime.py,"
                    f' or declare it: build-env = ["{name}"]'
                )
            provenance.note_variable(name, f"{self._label}:{line}" if line else self._label)
        return self._environ[key]

    def __iter__(self) -> Iterator[Any]:
        everything = not self.on or self._may_read is None or _reader() is None
        return iter([key for key in self._environ if everything or self._allowed(os.fsdecode(key))])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._environ[key] = value
        self._own.add(os.fsdecode(key))

    def __delitem__(self, key: Any) -> None:
        del self._environ[key]

    def __len__(self) -> int:
        return len(list(iter(self)))

    def copy(self) -> dict[Any, Any]:
        return dict(self)

    def __or__(self, other: Mapping[Any, Any]) -> dict[Any, Any]:
        return {**self, **other}

    def __ror__(self, other: Mapping[Any, Any]) -> dict[Any, Any]:
        return {**other, **self}

    def _allowed(self, name: str) -> bool:
        return self._may_read is None or name in self._may_read or name in self._own


def _reader() -> int | None:
    """The line of the configuration file on whose behalf a variable is read, 0 for other code; None for the library."""
    frame = sys._getframe(2)
    while frame.f_back is not None and _module(frame.f_globals) in _BETWEEN:
        frame = frame.f_back
    if _module(frame.f_globals) in sys.stdlib_module_names:
        return None
    return frame.f_lineno if frame.f_globals.get("__name__") == "__config__" else 0


def _module(variables: Mapping[str, Any]) -> str:
    return str(variables.get("__name__")).partition(".")[0]
