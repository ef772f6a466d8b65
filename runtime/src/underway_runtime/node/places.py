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


def loader(ordinary: Any, places: Sequence[str]) -> Any:
    """The loader for a package whose ``__init__`` has the ordinary one and whose ``__path__`` is ``places``."""
    if type(ordinary) is SourceFileLoader:
        return _SourceLoader(ordinary.name, ordinary.path, places)
    if type(ordinary) is SourcelessFileLoader:
        return _SourcelessLoader(ordinary.name, ordinary.path, places)
    return ordinary  # an extension module as __init__ has no data of its own to lose


class _SourceLoader(SourceFileLoader):
    def __init__(self, name: str, path: str, places: Sequence[str]) -> None:
        super().__init__(name, path)
        self.places = places

    def get_data(self, path: str) -> bytes:
        return super().get_data(_existing(path, self.places))

    def get_resource_reader(self, name: str | None = None) -> Any:
        return _Resources(self.places)


class _SourcelessLoader(SourcelessFileLoader):
    def __init__(self, name: str, path: str, places: Sequence[str]) -> None:
        super().__init__(name, path)
        self.places = places

    def get_data(self, path: str) -> bytes:
        return super().get_data(_existing(path, self.places))

    def get_resource_reader(self, name: str | None = None) -> Any:
        return _Resources(self.places)


def _existing(path: str, places: Sequence[str]) -> str:
    """The path where there is such a file; else the same file in another of the places, if it has one."""
    below = path.removeprefix(places[0] + "/")
    # A missing pyc is an answer; the pyc of another place belongs to another __init__.py.
    if below == path or below.startswith("__pycache__/"):
        return path
    return next((other for place in places if os.path.isfile(other := f"{place}/{below}")), path)


class _Resources(TraversableResources):
    def __init__(self, places: Sequence[str]) -> None:
        self._places = places

    def files(self) -> Traversable:
        return MergedPath([Path(place) for place in self._places])

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
