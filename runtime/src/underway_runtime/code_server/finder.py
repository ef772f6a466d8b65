"""The code server: what a release imports is found through ``releases/V/code.index``.

``underway.pth`` calls ``start`` in every process whose executable is ``releases/V/bin/python``, before anything else
runs. From then on the one entry ``<root>/lib`` at the end of ``sys.path`` behaves as the site-packages directory would
into which all applications had been installed, though each has a directory of its own:

=========================  ==========================================================================================
``LibraryFinder``          on ``sys.path_hooks``; answers for ``<root>/lib``: top-level names, and pkgutil's questions
``SharedFinder``           on ``sys.meta_path`` before the path finder; what is inside a package of several applications
``DistributionFinder``     on ``sys.meta_path`` after the path finder; answers importlib.metadata
=========================  ==========================================================================================

What is in a directory is in the index too; ``modules`` finds and loads that, of the standard library as well. In a
directory that is not listed there importlib's own ``FileFinder`` looks. ``__file__``, pycs and extension modules are the
ordinary ones either way, and loaders are of the ordinary classes.

This runs at the start of every process, so it imports only what the interpreter has loaded already and the C half of
json: ``import json`` alone doubles the time that an empty process takes, for the sake of ``re``.
"""

import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import FileFinder, PathFinder  # importlib.machinery, without importlib

from . import loader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from importlib.metadata import DistributionFinder as MetadataFinder
    from importlib.metadata import PathDistribution
    from types import ModuleType
    from typing import Any, NoReturn

FORMAT = 1

_TOLD = ("pkg_resources", "gevent.monkey", "eventlet.patcher")
"""Modules that need a word when they have been imported."""

_SUFFIXES = [suffix for _, suffixes in loader.LOADERS for suffix in suffixes]


class Index:
    """What a ``code.index`` says. It does not change; another release has another."""

    __slots__ = ("_kinds", "code", "distributions", "pth", "several", "top")

    def __init__(self, document: "Any") -> None:
        """Take the parsed file; raises ValueError where it is not a code index."""
        if not isinstance(document, dict) or "format" not in document:
            raise ValueError("it has no format")
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}; this runtime reads format {FORMAT}")
        self.top: dict[str, list[str]] = _mapping(document, "top", _is_directories)
        """Top-level name -> directories in lib that have it, in the order in which they are asked."""
        shared: dict[str, list[str]] = _mapping(document, "shared", _is_directories)
        self.several = {name: places for name, places in self.top.items() if len(places) > 1} | shared
        """Dotted name -> directories in lib, for what more than one application has."""
        self.distributions: dict[str, str] = _mapping(document, "distributions", _is_text)
        """Name as PEP 503 writes it -> its dist-info directory, below lib."""
        pth = document.get("pth")
        if not isinstance(pth, list) or not all(map(_is_text, pth)):
            raise ValueError("'pth' makes no sense")
        self.pth: list[str] = pth
        """``.pth`` and ``.start`` files of distributions, below lib."""
        self.code: dict[str, dict[str, str]] = _mapping({"code": {}, **document}, "code", _is_listing)
        """Directory, below the root -> its modules, packages and extensions; each is names with spaces between them."""
        self._kinds: dict[str, dict[str, str]] = {}

    def kinds(self, directory: str) -> "Mapping[str, str]":
        """Name -> kind, of what is in a directory as far as it is listed."""
        try:
            return self._kinds[directory]
        except KeyError:
            return self._kinds.setdefault(directory, loader.kinds(self.code.get(directory, {})))


def read_index(path: str) -> Index:
    """Read a ``code.index``.

    Raises DamagedRelease, naming the file and what is wrong, when it is missing or not one.
    """
    try:
        with open(path, "rb") as file:
            return Index(_parse(file.read().decode()))
    except FileNotFoundError:
        problem = f"the code index {path} is missing"
    except OSError as error:
        problem = f"the code index {path} can't be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        problem = f"the code index {path} is not one: {error}"
    from ..release.errors import DamagedRelease

    raise DamagedRelease(f"{problem}; restore it from the release's archive")


class CodeServer:
    """The index in force, and the directories that were searched so far."""

    def __init__(self, lib: str, index: Index) -> None:
        self.lib = lib
        self.index = index
        """All finders look here each time they are asked."""
        self._listed = loader.wanted()
        self._finders: dict[str, FileFinder] = {}

    def places(self, name: str, directories: "Iterable[str]") -> list[str]:
        """Where the package ``name`` is (or lib's applications are, for '') in each of these directories of lib."""
        below = "/" + name.replace(".", "/") if name else ""
        return [f"{self.lib}/{directory}{below}" for directory in directories]

    def find(self, name: str, places: "Sequence[str]") -> ModuleSpec | None:
        """Find a module as it would be found if all these directories were merged into one.

        The spec of a package that is in more than one of them has all its places. For a namespace package the spec
        has no loader: the path finder joins it with what other entries of ``sys.path`` have.
        """
        if len(places) == 1:
            return self.finder(places[0]).find_spec(name)
        specs = [spec for directory in places if (spec := self.finder(directory).find_spec(name)) is not None]
        if not specs:
            return None
        loadable = [spec for spec in specs if spec.loader is not None]
        if not loadable:
            namespace = ModuleSpec(name, None)
            namespace.submodule_search_locations = [p for spec in specs for p in spec.submodule_search_locations or ()]
            return namespace
        best = min(loadable, key=_precedence)
        if (locations := best.submodule_search_locations) is not None:
            tail = name.rpartition(".")[2]
            locations += [
                at for directory in places if (at := f"{directory}/{tail}") not in locations and os.path.isdir(at)
            ]
            if len(locations) > 1:
                from . import merged_packages as several

                best.loader = several.loader(best.loader, locations)
        return best

    def invalidate_caches(self) -> None:
        """Look at every directory again."""
        for finder in list(self._finders.values()):
            finder.invalidate_caches()

    def lists(self, path: str) -> bool:
        """Whether the index says what is in this directory."""
        root = self.lib.removesuffix("lib")
        return self._listed and path.startswith(root) and path[len(root) :] in self.index.code

    def finder(self, path: str) -> FileFinder:
        """The finder of a directory; the same each time."""
        try:
            return self._finders[path]
        except KeyError:
            finder = self._listed_finder(path) if self.lists(path) else FileFinder(path, *loader.LOADERS)
            return self._finders.setdefault(path, finder)

    def _listed_finder(self, path: str) -> FileFinder:
        directory = path[len(self.lib.removesuffix("lib")) :]
        return loader.ListedFinder(path, lambda: self.index.kinds(directory))


class LibraryFinder:
    """The finder of the entry ``<root>/lib`` of ``sys.path``."""

    def __init__(self, server: CodeServer) -> None:
        self._server = server

    def find_spec(self, fullname: str, target: "ModuleType | None" = None) -> ModuleSpec | None:
        server = self._server
        directories = server.index.top.get(fullname.rpartition(".")[2])
        if directories is None:
            return None
        places = server.places("", directories)
        for directory in places:  # as they would be there if they were on the path; twisted looks for them
            if directory not in sys.path_importer_cache:
                sys.path_importer_cache[directory] = server.finder(directory)
        return server.find(fullname, places)

    def iter_modules(self, prefix: str = "") -> "Iterator[tuple[str, bool]]":
        """Names and whether each is a package, sorted; no namespace packages: pkgutil lists none anywhere."""
        for name in sorted(self._server.index.top):
            spec = self.find_spec(name)
            if spec is not None and spec.loader is not None:
                yield prefix + name, spec.submodule_search_locations is not None

    def invalidate_caches(self) -> None:
        self._server.invalidate_caches()

    def __repr__(self) -> str:
        return f"LibraryFinder({self._server.lib!r})"


class SharedFinder:
    """Finds what is inside a package that several applications have, where the path finder would find too little.

    It would stop at the first place that has a regular package; of ``pkg.plugins`` with modules in two applications
    one application's would be lost.
    """

    def __init__(self, server: CodeServer) -> None:
        self._server = server

    def find_spec(
        self, fullname: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> ModuleSpec | None:
        server = self._server
        if fullname in _TOLD:
            from . import post_import

            return post_import.find_spec(fullname, path, server)
        parent = fullname.rpartition(".")[0]
        if path is None or parent not in server.index.several:
            return None
        places = server.places(parent, server.index.several[parent])
        spec = server.find(fullname, places)
        if spec is None or spec.loader is None:
            return None  # the path finder joins the places of a namespace package just as well
        for entry in path:
            if entry in places:
                return spec
            other = PathFinder.find_spec(fullname, [entry])
            if other is not None and other.loader is not None:
                return None  # a place outside of lib comes first
        return None

    def __repr__(self) -> str:
        return f"SharedFinder({self._server.lib!r})"


class DistributionFinder:
    """Finds distributions for importlib.metadata and its backport."""

    def __init__(self, server: CodeServer) -> None:
        self.server = server

    def find_spec(
        self, fullname: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> ModuleSpec | None:
        return None

    def find_distributions(self, context: "MetadataFinder.Context | None" = None) -> "Iterator[PathDistribution]":
        """Find the distribution that the context names, or all; none where the context does not look into lib."""
        from . import distributions

        return distributions.find(self.server, context)

    def __repr__(self) -> str:
        return f"DistributionFinder({self.server.lib!r})"


def running() -> CodeServer | None:
    """The code server of this process, once it is started."""
    return next((finder.server for finder in sys.meta_path if isinstance(finder, DistributionFinder)), None)


def start(version_directory: str | None = None) -> CodeServer:
    """Start the code server of this process; a second call changes nothing.

    ``version_directory`` is ``releases/V``; without it, ``sys.prefix``. Where its index is missing or not one, the
    process says so and ends with status 1: the interpreter would print and forget an exception, and go on without code.
    """
    if (server := running()) is not None:
        return server
    version_directory = os.path.abspath(version_directory or sys.prefix)
    try:
        index = read_index(f"{version_directory}/code.index")
    except Exception as error:
        _end(str(error))
    sys.dont_write_bytecode = True  # also when the release is writable: what is unpacked stays as it was verified
    lib = os.path.join(os.path.dirname(os.path.dirname(version_directory)), "lib")
    server = CodeServer(lib, index)
    _install(server)
    if index.pth:
        _process_pth(server)
    return server


def _install(server: CodeServer) -> None:
    library = LibraryFinder(server)

    def code_server(entry: str) -> LibraryFinder | FileFinder:
        if entry == server.lib:
            return library
        if server.lists(entry):
            return server.finder(entry)
        raise ImportError("the code server answers for directories of this release")

    sys.path_hooks.insert(0, code_server)  # importlib's hook would take any directory
    for entry in list(sys.path_importer_cache):
        if entry == server.lib or server.lists(entry):
            del sys.path_importer_cache[entry]
    meta_path: list[Any] = sys.meta_path
    before = meta_path.index(PathFinder) if PathFinder in meta_path else len(meta_path)
    meta_path.insert(before, SharedFinder(server))
    meta_path.append(DistributionFinder(server))
    if server.lib not in sys.path:
        sys.path.append(server.lib)


def _process_pth(server: CodeServer) -> None:
    """Do what site does with the ``.pth`` files in site-packages, and where it knows these, since 3.15, with the ``.start`` files."""
    import site

    files = [
        (f"{server.lib}/{directory}", name)
        for directory, _, name in (path.rpartition("/") for path in server.index.pth)
    ]
    if hasattr(site, "StartupState"):  # all directories come before all that is called
        state: Any = site.StartupState()
        for directory, name in files:
            (state._read_pth_file if name.endswith(".pth") else state._read_start_file)(directory, name)
        state.process()
    else:
        for directory, name in files:
            if name.endswith(".pth"):
                site.addpackage(directory, name, None)
    # setuptools' "-nspkg.pth" files make namespace packages of what is in their own directory; in a site-packages
    # that is everything.
    for name, directories in server.index.several.items():
        locations = getattr(sys.modules.get(name), "__path__", None)
        if locations is not None:
            for addition in server.places(name, directories):
                if addition not in locations and os.path.isdir(addition):
                    locations.append(addition)


def _end(message: str) -> "NoReturn":
    # site turns SystemExit into "Fatal Python error" with a traceback, and prints and ignores every other exception.
    try:
        if sys.stderr is not None:
            sys.stderr.write(f"underway: {message}\n")
            sys.stderr.flush()
    finally:
        os._exit(1)


def _parse(text: str) -> "Any":
    options: Any = _ScannerOptions
    try:
        from _json import make_scanner

        document, end = make_scanner(options)(text, 0)
        if not text[end:].strip():
            return document
    except (ImportError, AttributeError, StopIteration, SystemError, ValueError):
        pass  # without json imported the scanner can't say what is wrong; with 3.11 it fails even to raise
    from json import loads

    return loads(text)


class _ScannerOptions:
    """What the scanner in C asks json.JSONDecoder for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    array_hook = None  # since 3.15
    parse_float = float
    parse_int = int
    parse_constant = str


def _mapping(document: "dict[str, Any]", key: str, is_value: "Any") -> "Any":
    mapping = document.get(key)
    if not isinstance(mapping, dict) or not all(map(is_value, mapping.values())):
        raise ValueError(f"{key!r} makes no sense")
    return mapping


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_listing(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_directories(value: object) -> bool:
    return isinstance(value, list) and value != [] and all(map(_is_text, value))


def _precedence(spec: ModuleSpec) -> tuple[bool, int]:
    """Sort key for what a single directory would choose: packages first, then by suffix."""
    is_module = spec.submodule_search_locations is None
    stem = spec.name.rpartition(".")[2] if is_module else "__init__"
    return is_module, _SUFFIXES.index(os.path.basename(spec.origin or "")[len(stem) :])
