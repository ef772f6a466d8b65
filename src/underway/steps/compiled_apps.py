"""Applications as releases have them: stripped, compiled and indexed. Each is made once, and kept in the cache.

::

    applications/KEY/tree/
    ├── lib/python3.11/site-packages/   what becomes lib/NAME-VERSION: with pycs, and a RECORD of what is in it
    └── bin/ share/ ...                 what the wheel puts into the prefix, for releases/V

The key is of where the application comes from (a locked wheel, by its hash), of what it is finished with (interpreter,
strip, uv, this tool) and of the option ``strip``. Of what an application was before, all that did not change is taken over.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import Distribution, version
from pathlib import Path
from typing import Any

from underway_runtime.release.directory import application_directory, minor

from ..errors import BuildError
from ..packages import application_entries, wheel_record
from ..packages.stage import Installed
from ..toolchain import cache, cached_tree, uv
from ..toolchain.cache import Cache
from ..toolchain.cached_tree import TreeEntry
from ..toolchain.interpreters import Interpreter
from ..toolchain.programs import run
from . import bytecode, import_index, scripts
from .binaries import buildid, elf
from .binaries import strip as stripping
from .import_index import importable

KIND = "applications"

WORKERS = 2
"""How many applications are finished at a time, and, of a large one, how many processes compile."""

LARGE = 200
"""Modules that make an application large."""

COMPILE_TIMEOUT = 1800.0


@dataclass(frozen=True)
class Finisher:
    """Makes finished applications, and finds those that were made before."""

    cache: Cache
    python: Path
    """The release's interpreter, or what it is copied from: both compile to the same bytes."""
    python_version: str
    strip: bool | Mapping[str, bool]
    identity: str
    """Stands for all that an application is finished with."""
    scratch: Path
    """Where the build installs. An application that names this directory is not kept."""

    @property
    def home(self) -> str:
        """Where site-packages is in the tree of an entry."""
        return f"lib/python{minor(self.python_version)}/site-packages"

    def prepare(self, entries: Iterable[TreeEntry], ready: Path) -> None:
        """Put what will be ``lib/NAME-VERSION`` into the directory `ready`, while there is nothing else to do."""
        for entry in entries:
            entry.prepare(ready, application_entries.parts(entry)[0], entry.facts["home"])

    def find(self, origin: str) -> TreeEntry | None:
        """Find what was made of this origin before; None when nothing was."""
        return self.cache.find(KIND, self._key(origin))

    def make(self, installed: Sequence[Installed]) -> list[TreeEntry]:
        """Finish distributions, or find those that are known by their contents."""
        # The large ones first, so that both processors have something to do to the end.
        order = sorted(range(len(installed)), key=lambda i: -len(wheel_record.paths(*_dist_info(installed[i]))))
        with ThreadPoolExecutor(WORKERS) as pool:
            done = dict(zip(order, pool.map(self._make, [installed[i] for i in order]), strict=True))
        return [done[i] for i in range(len(installed))]

    def without(self, entry: TreeEntry, lost: Iterable[str]) -> TreeEntry:
        """The same application without some of its files, which others have in its place; relative to site-packages."""
        home = self.home
        gone = {os.path.normpath(f"{home}/{path}") for path in lost}
        gone |= {pyc for path in gone if (pyc := self._pyc(path))}

        def fill(tree: Path) -> Mapping[str, Any]:
            entry.put_into(tree, [path for path in entry.files if path not in gone])
            paths = [path.removeprefix(f"{home}/") for path in entry.files if _is_own(path, home) and path not in gone]
            wheel_record.write(tree / home, entry.facts["about"]["dist_info"], paths)
            return {**entry.facts, "importable": importable(tree / home)}

        key = self._key(json.dumps(["without", entry.facts["origin"], sorted(gone)]))
        return self.cache.get(KIND, key, fill, [self.scratch])

    def _key(self, origin: str) -> str:
        return cache.key(origin, self.identity)

    def _make(self, one: Installed) -> TreeEntry:
        record = f"{one.about.dist_info}/RECORD"
        digests = {
            entry.path: ""
            if entry.path == record
            else wheel_record.digest((one.site_packages / entry.path).read_bytes())
            for entry in wheel_record.read(one.site_packages, one.about.dist_info)
        }
        origin = one.origin or cache.key("content", one.about.name, one.about.version, digests)
        if not one.origin and (known := self.find(origin)) is not None:
            return known
        latest = cache.key("latest", one.about.name, one.about.version, self.identity)
        before = self.cache.find(KIND, str(self.cache.recall(latest)))

        def fill(tree: Path) -> Mapping[str, Any]:
            unchanged = self._take_over(tree, before, digests) if before is not None else set()
            self._finish(tree, one, list(digests), unchanged)
            return {
                "about": vars(one.about),
                "home": f"{self.home}/",
                "origin": origin,
                "digests": digests,
                "license": _license(one),
                "importable": importable(tree / self.home),
            }

        made = self.cache.make(KIND, self._key(origin), fill, [self.scratch])
        self.cache.remember(latest, self._key(origin))
        return made

    def _take_over(self, tree: Path, before: TreeEntry, digests: Mapping[str, str]) -> set[str]:
        """Place the files that did not change since, with what was compiled of them; returns them."""
        home = self.home
        same = {path for path, digest in before.facts["digests"].items() if digest and digests.get(path) == digest}
        files = {path: os.path.normpath(f"{home}/{path}") for path in same}
        unchanged = {path for path, file in files.items() if file in before.files}
        pycs = [pyc for path in unchanged if (pyc := self._pyc(files[path])) and pyc in before.files]
        before.put_into(tree, sorted([*(files[path] for path in unchanged), *pycs]))
        return unchanged

    def _finish(self, tree: Path, one: Installed, paths: Sequence[str], unchanged: set[str]) -> None:
        home = tree / self.home
        new = [path for path in paths if path not in unchanged]
        files = [Path(os.path.normpath(home / path)) for path in new]
        for path, file in zip(new, files, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            cached_tree.link(os.path.normpath(one.site_packages / path), file)
            if path.startswith("../"):
                scripts.settle(file)
        if self.strip is not False:
            for file in files:
                stripping.strip_file(file)
                if not one.origin.startswith("wheel "):  # it was built here
                    buildid.settle(file)
        wheel_record.write(home, one.about.dist_info, [path for path in paths if not path.startswith("../")])
        docstrings = not (isinstance(self.strip, Mapping) and self.strip.get("docstrings"))
        modules = [path for path in new if path.endswith(".py") and not path.startswith("../")]
        compile_modules(
            self.python, home, modules, docstrings, f"lib/{application_directory(one.about.name, one.about.version)}/"
        )

    def _pyc(self, path: str) -> str | None:
        """The compiled form of a file, None for what is not a module."""
        directory, name = os.path.split(path)
        tag = f"cpython-{minor(self.python_version).replace('.', '')}"
        return f"{directory}/__pycache__/{name[:-3]}.{tag}.pyc" if name.endswith(".py") else None


def finisher(store: Cache, interpreter: Interpreter, strip: bool | Mapping[str, bool], scratch: Path) -> Finisher:
    """What finishes the applications of one build."""
    command = shutil.which("strip") if strip is not False else None
    identity = cache.key(
        *(version("underway"), uv.VERSION, strip, cache.stamp(command)),
        *(interpreter.implementation, interpreter.version, interpreter.platform),
        *(cache.stamp(interpreter.executable), cache.stamp(interpreter.libpython)),
        *(
            cache.stamp(module)
            for module in (
                __file__,
                buildid.__file__,
                bytecode.__file__,
                scripts.__file__,
                elf.__file__,
                import_index.__file__,
                stripping.__file__,
                wheel_record.__file__,
            )
        ),
    )
    return Finisher(store, interpreter.executable, interpreter.version, strip, identity, scratch)


def compile_modules(python: Path, root: Path, files: Sequence[str], docstrings: bool, prefix: str = "") -> None:
    """Compile modules below `root` with an interpreter; each is named in its pyc with `prefix` before its path.

    Raises BuildError when the interpreter fails, and OSError when the disk is full or the like. What does not compile is
    passed over.
    """
    parts = WORKERS if len(files) >= LARGE else 1
    failed = "the modules of the release can't be compiled"

    def compile_part(part: int) -> None:
        task = {"root": str(root), "files": files[part::parts], "docstrings": docstrings, "prefix": prefix}
        command = [str(python), "-I", "-S", "-B", bytecode.__file__]
        done = run(command, failed, timeout=COMPILE_TIMEOUT, given=json.dumps(task))
        if done.returncode == bytecode.EX_IOERR:
            raise OSError(*json.loads(done.stdout))
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise BuildError(f"{failed}: {last}")

    if not files:
        return
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(compile_part, range(parts)))


def _dist_info(one: Installed) -> tuple[Path, str]:
    return one.site_packages, one.about.dist_info


def _license(one: Installed) -> str:
    """The licence of a distribution, where it is an expression of SPDX's."""
    metadata = Distribution.at(one.site_packages / one.about.dist_info).metadata
    return str(metadata["License-Expression"]) if "License-Expression" in metadata else ""


def _is_own(path: str, home: str) -> bool:
    """Whether a file is one that RECORD lists: in site-packages, and not compiled here."""
    return path.startswith(f"{home}/") and not ("/__pycache__/" in path and path.endswith(".pyc"))
