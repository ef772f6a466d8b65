"""Modules that the index lists are found without looking for them, and loaded from their pycs without looking at the source.

``code.index`` says of each directory of code in the release, the standard library's included, which modules, packages
and extension modules are in it. For these

* ``ListedFinder`` makes the spec that importlib's ``FileFinder`` would make; that reads the directory, and asks for the
  time of its last change at each import, and
* ``ListedLoader`` reads the unchecked pyc and nothing else; importlib's loader first asks for the time of the source,
  which it then has no use for, and reads through a buffered file.

All else is left to importlib: what is not listed or not there any more, sources without such a pyc, namespace packages,
processes that want other pycs. What the build lists was there alone; nobody looks for what is added later under the same
name. It is a listing and not a store: code stays in its own pyc, as one file with all of it is no faster to read from.
"""

import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    MAGIC_NUMBER,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from _imp import _fix_co_filename, check_hash_based_pycs  # type: ignore[attr-defined]  # unknown to typeshed
from marshal import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType, ModuleType
    from typing import Any

LOADERS: "tuple[tuple[type[Any], list[str]], ...]" = (
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (SourceFileLoader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)
"""What importlib itself gives its finders: suffixes in the order in which one directory is asked for them."""

MODULE, PACKAGE = "", "/"
"""Kinds of what is listed: source with a pyc, a directory with such an ``__init__``; an extension has its file's name."""

_UNCHECKED = MAGIC_NUMBER + b"\x01\x00\x00\x00"
"""How a pyc of this interpreter begins that is never compared with its source."""

_HEADER = 16
_CHUNK = 65536
_PYC = f".{sys.implementation.cache_tag}.pyc"


def wanted() -> bool:
    """Whether this process takes pycs as the build made them; it does not with -O, say."""
    return not sys.flags.optimize and sys.pycache_prefix is None and check_hash_based_pycs != "always"


def kinds(listing: "Mapping[str, str]") -> "dict[str, str]":
    """Name -> kind, of what the index says about one directory."""
    extensions = ((file.partition(".")[0], file) for file in listing.get("extensions", "").split())
    return {
        **dict.fromkeys(listing.get("modules", "").split(), MODULE),
        **dict.fromkeys(listing.get("packages", "").split(), PACKAGE),
        **{name: file for name, file in extensions if file[len(name) :] in EXTENSION_SUFFIXES},
    }


class ListedFinder(FileFinder):
    """The finder of one directory that the index lists."""

    def __init__(self, path: str, listed: "Callable[[], Mapping[str, str]]") -> None:
        """``listed`` is asked at each import, as another release may be installed meanwhile."""
        super().__init__(path, *LOADERS)
        self._listed = listed

    def find_spec(self, fullname: str, target: "ModuleType | None" = None) -> ModuleSpec | None:
        name = fullname.rpartition(".")[2]
        kind = self._listed().get(name)
        if kind is None:
            return super().find_spec(fullname, target)
        directory = f"{self.path}/{name}" if kind == PACKAGE else self.path
        stem = "__init__" if kind == PACKAGE else name
        file = f"{directory}/{stem}.py" if kind in (MODULE, PACKAGE) else f"{directory}/{kind}"
        try:
            os.stat(file)
        except OSError:  # somebody took it away
            return super().find_spec(fullname, target)
        if kind not in (MODULE, PACKAGE):
            spec = ModuleSpec(fullname, ExtensionFileLoader(fullname, file), origin=file)
        else:
            loader = ListedLoader(fullname, file, f"{directory}/__pycache__/{stem}{_PYC}")
            spec = ModuleSpec(fullname, loader, origin=file, is_package=kind == PACKAGE)
            spec.cached = loader.pyc
            if kind == PACKAGE:
                spec.submodule_search_locations = [directory]
        spec.has_location = True
        return spec


class ListedLoader(SourceFileLoader):
    """importlib's loader of source files, but for where it has the code from."""

    def __init__(self, name: str, path: str, pyc: str) -> None:
        super().__init__(name, path)
        self.pyc = pyc

    def get_code(self, fullname: str) -> "CodeType | None":
        """Return the code of the module.

        Raises ImportError, naming the pyc, when that is damaged.
        """
        data = _read(self.pyc) if fullname == self.name else b""
        if not data.startswith(_UNCHECKED):
            return super().get_code(fullname)
        try:
            code: CodeType = loads(memoryview(data)[_HEADER:])
            _fix_co_filename(code, self.path)
        except (EOFError, TypeError, ValueError) as error:
            raise ImportError(
                f"{self.pyc} is damaged ({error}); restore it from the release's archive", name=fullname, path=self.pyc
            ) from error
        return code


def _read(path: str) -> bytes:
    """Read what is in a file; nothing where it can't be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        data = os.read(descriptor, _CHUNK)
        if len(data) == _CHUNK:
            parts = [data]
            while part := os.read(descriptor, 16 * _CHUNK):
                parts.append(part)
            data = b"".join(parts)
        return data
    except OSError:
        return b""
    finally:
        os.close(descriptor)
