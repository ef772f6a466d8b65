"""Data of regular packages that more than one application has. Imported only when there is such a package.

An ordinary loader gives resources from the directory of ``__init__.py`` only; in one merged site-packages the data
files that another distribution put into the package would be there too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.machinery import SourceFileLoader, SourcelessFileLoader
from importlib.resources.abc import Traversable, TraversableResources
from pathlib import Path, PurePosixPath
from typing import Any

from .loader import ListedLoader


def loader(ordinary: Any, places: Sequence[str]) -> Any:
    """The loader for a package whose ``__init__`` has the ordinary one and whose ``__path__`` is ``places``."""
    several: _Several
    if type(ordinary) is ListedLoader:
        several = _SeveralListed(ordinary.name, ordinary.path, ordinary.pyc)
    elif type(ordinary) is SourceFileLoader:
        several = _SeveralSource(ordinary.name, ordinary.path)
    elif type(ordinary) is SourcelessFileLoader:
        several = _SeveralSourceless(ordinary.name, ordinary.path)
    else:
        return ordinary  # an extension module as __init__ has no data of its own to lose
    several.places = places
    return several


class _Several:
    """What a loader, the next class, does otherwise when its package is in several places."""

    places: Sequence[str]

    def get_data(self, path: str) -> bytes:
        data: bytes = super().get_data(_existing(path, self.places))  # type: ignore[misc]  # there is a next class
        return data

    def get_resource_reader(self, name: str | None = None) -> Any:
        return _Resources(self.places)


class _SeveralListed(_Several, ListedLoader):  # type: ignore[misc]  # bases disagree in typeshed
    pass


class _SeveralSource(_Several, SourceFileLoader):  # type: ignore[misc]  # likewise
    pass


class _SeveralSourceless(_Several, SourcelessFileLoader):
    pass


def _existing(path: str, places: Sequence[str]) -> str:
    """The path where there is such a file; else the same file in another of the places, if it has one."""
    below = path.removeprefix(places[0] + "/")
    # A missing pyc is an answer; the pyc of another place belongs to another __init__.py.
    if below == path or below.startswith("__pycache__/"):
        return path
    return next((other for directory in places if os.path.isfile(other := f"{directory}/{below}")), path)


class _Resources(TraversableResources):
    def __init__(self, places: Sequence[str]) -> None:
        self._places = places

    def files(self) -> Traversable:
        return MergedPath([Path(directory) for directory in self._places])

    def resource_path(self, resource: Any) -> str:
        return str(self.files().joinpath(resource))


class MergedPath(Traversable):
    """Several directories as if they were one; where a name is in more than one, the first has it.

    importlib's MultiplexedPath is the same from 3.12 on; before, it does not look deeper than one level.
    """

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = directories

    @property
    def name(self) -> str:
        return self._directories[0].name

    def iterdir(self) -> Iterator[Traversable]:
        children: dict[str, list[Path]] = {}
        for directory in self._directories:
            for child in directory.iterdir():
                children.setdefault(child.name, []).append(child)
        return map(_merged, children.values())

    def joinpath(self, *descendants: Any) -> Traversable:
        names = [part for descendant in descendants for part in PurePosixPath(descendant).parts]
        candidates = [directory.joinpath(*names) for directory in self._directories]
        return _merged([path for path in candidates if path.exists()] or candidates[:1])

    __truediv__ = joinpath

    def is_dir(self) -> bool:
        return True

    def is_file(self) -> bool:
        return False

    def read_bytes(self) -> bytes:
        raise IsADirectoryError(f"{self} is a directory")

    def read_text(self, encoding: str | None = None, *args: Any) -> str:
        raise IsADirectoryError(f"{self} is a directory")

    def open(self, mode: Any = "r", *args: Any, **kwargs: Any) -> Any:
        raise IsADirectoryError(f"{self} is a directory")

    def __repr__(self) -> str:
        return f"MergedPath({', '.join(repr(str(directory)) for directory in self._directories)})"


def _merged(paths: Sequence[Path]) -> Traversable:
    directories = [path for path in paths if path.is_dir()]
    return MergedPath(directories) if paths[0].is_dir() and len(directories) > 1 else paths[0]
