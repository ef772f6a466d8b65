"""A closed world: what the binaries of a release load is in the release, but for glibc, which is the target's.

==================================  =================================================================================
a binary of a wheel that            is changed so
==================================  =================================================================================
looks for libraries outside         those places go
has a DT_RUNPATH                    it becomes a DT_RPATH, one byte: only then does the loader go on to where the
                                    interpreter's libraries are, and not to LD_LIBRARY_PATH before that
is a program and needs what is not  it looks in the interpreter's ``lib`` too; when it is in ``lib/NAME-VERSION``, which
next to it                           several releases share, in an ``underway.libs`` there
==================================  =================================================================================

What nobody in the release has is copied from this machine to ``python-X.Y.Z/lib``, with all that it needs in turn. How a library
of a wheel is changed depends on the wheel alone, so ``lib/NAME-VERSION`` is the same in every release. The reasons and the
measurements are in docs/explanation/closed-world.md.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from underway_runtime.release.directory import ReleaseDirectory, VersionDirectory, minor

from ...errors import BuildError, listing
from ...packages import wheel_record
from ...release import Release
from ...toolchain.cached_tree import make_directory
from . import elf

log = logging.getLogger("underway")

DRIVERS = ("libcuda.so.*", "libnvidia-*.so.*", "libnvcuvid.so.*")
"""Libraries of drivers, which must fit the host's kernel: they are the host's, or not there."""

LIBRARIES = "underway.libs"
"""The directory of the libraries that a program in an application's directory brings along."""

_TEXTS = (".py", ".pyc", ".pyi", ".pxd", ".h", ".hpp", ".txt", ".md", ".rst", ".json", ".html", ".css", ".js")


@dataclass(frozen=True)
class Closed:
    """What became of a release that was closed."""

    glibc: str
    """The oldest that everything in it runs with, ``"2.36"``; empty where nothing asks for one."""
    changed: frozenset[str]
    """The files that were changed or added, relative to the root of the release."""


def close(release: Release) -> Closed:
    """Bundle what the binaries of the applications need, and hold all of it against the loader.

    What matches the option ``host-libraries`` may stay outside. Raises BuildError with every library that neither the release
    nor this machine has, or that would be loaded from outside. RECORDs are true afterwards, and ``releases/V/glibc`` says
    what the launcher holds a host against. A release without an interpreter of its own is not closed: only places outside of it
    are removed from its binaries.
    """
    world = _survey(release)
    changed = _keep_inside(world)
    if world.executable is not None:
        changed |= _bundle(world, world.executable, release)
        _check(world, world.executable, release)
    changed |= _write_records(world, changed)
    glibc = ".".join(map(str, max((binary.glibc for binary in world.binaries.values() if binary.glibc), default=())))
    loader = elf.loader(world.executable) if world.executable is not None else None
    needs = VersionDirectory(release.version_path).glibc
    needs.write_text(f"{glibc} {loader or ''}\n", encoding="utf-8")
    needs.chmod(0o644)
    return Closed(
        glibc=glibc,
        changed=frozenset(path.relative_to(world.root).as_posix() for path in changed),
    )


@dataclass(frozen=True)
class _Closure:
    """The binaries of a release, as far as a process of its interpreter can load or start them."""

    root: Path
    executable: Path | None
    """The release's interpreter, where it has its own."""
    lib: Path
    """Where that looks for libraries."""
    homes: tuple[Path, ...]
    """The directories of the applications, then ``releases/V`` and that of the interpreter."""
    binaries: dict[Path, elf.Binary]
    """All of them, the interpreter's too; kept true as they are changed."""
    left: Mapping[Path, tuple[Path, ...]]
    """Where on this machine each looked for libraries before it was released."""

    def places(self, path: Path) -> list[Path]:
        """The directories inside the release that a binary itself names."""
        places = (_directory_meant(path.parent, entry) for entry in _entries(self.binaries[path]))
        return [directory for directory in places if directory is not None]

    def find(self, name: str, places: list[Path]) -> Path | None:
        """Find the first library of that name in some directories."""
        return next((directory / name for directory in places if (directory / name).is_file()), None)


def _survey(release: Release) -> _Closure:
    root = Path(os.path.realpath(release.path))  # entries are made normal before they are compared with places in it
    directory = ReleaseDirectory(root)
    home = directory.interpreter(release.interpreter_version)
    executable = home / "bin" / f"python{minor(release.interpreter_version)}"
    interpreter = executable if release.interpreter_source is not None else None
    shared = dict.fromkeys(directory.lib / app.directory for app in release.applications.values())
    homes = (*shared, Path(os.path.realpath(release.version_path)), home)
    read = {path: elf.read(path) for tree in homes for path in _binaries_in(tree)}
    binaries = {path: binary for path, binary in read.items() if _is_ours(binary)}
    left = {
        path: tuple(Path(entry) for entry in (*binary.rpath, *(binary.runpath or ())) if entry.startswith("/"))
        for path, binary in binaries.items()
    }
    return _Closure(root, interpreter, home / "lib", homes, binaries, left)


def _binaries_in(tree: Path) -> Iterator[Path]:
    for directory, directories, files in os.walk(tree):
        directories.sort()
        yield from (path for name in sorted(files) if _may_be_binary(path := Path(directory, name)))


def _may_be_binary(path: Path) -> bool:
    return not path.name.endswith(_TEXTS) and not path.is_symlink() and elf.is_elf(path)


def _is_ours(binary: elf.Binary) -> bool:
    """Whether processes of this machine load it; some wheels hold what is for other processors, or for musl, as well."""
    musl = [name for name in (*binary.needed, str(binary.loader)) if "libc.musl-" in name or "ld-musl-" in name]
    return binary.machine == _machine() and not musl


@cache
def _machine() -> tuple[int, int, int]:
    return elf.read(Path(sys.executable)).machine


def _entries(binary: elf.Binary) -> tuple[str, ...]:
    return binary.rpath if binary.runpath is None else binary.runpath


def _directory_meant(origin: Path, entry: str) -> Path | None:
    """The directory that an entry of a binary in `origin` means; None for what is not relative to that."""
    for word in ("$ORIGIN", "${ORIGIN}"):
        rest = entry.removeprefix(word)
        if entry.startswith(word) and (rest == "" or rest.startswith("/")) and "$" not in rest:
            return Path(os.path.normpath(f"{origin}{rest}"))
    return None


def _beyond_glibc(binary: elf.Binary) -> list[str]:
    return [name for name in binary.needed if not elf.is_glibc(name)]


def _new_runpath(home: Path, path: Path, binary: elf.Binary) -> Iterator[str | None]:
    """Where a binary is to look from now on, if that has to be set: where it did, but for what is outside `home`."""
    places = {entry: _directory_meant(path.parent, entry) for entry in _entries(binary)}
    inside = [entry for entry, directory in places.items() if directory is not None and directory.is_relative_to(home)]
    if len(inside) < len(places) or binary.runpath is not None:
        yield ":".join(inside) or None


def _keep_inside(world: _Closure) -> set[Path]:
    wanted = {
        path: places
        for path, binary in world.binaries.items()
        for places in _new_runpath(next(home for home in world.homes if path.is_relative_to(home)), path, binary)
    }
    _set_places(wanted)
    world.binaries.update({path: elf.read(path) for path in wanted})
    return set(wanted)


def _bundle(world: _Closure, executable: Path, release: Release) -> set[Path]:
    """Put what is missing to where it is looked for, until nothing is; what was changed."""
    strip = release.options.strips
    changed: set[Path] = set()
    problems: dict[str, str] = {}
    while missing := [
        (path, name) for path, name in _missing(world) if name not in problems and not _may_be_outside(name, release)
    ]:
        for path, name in missing:
            target = _pool(world, path) / name
            if target in world.binaries:
                continue
            if (source := _find_here(world, executable, path, name)) is None:
                problems[name] = f"{path.relative_to(world.root)} needs {name}"
                continue
            _copy_library(world, source, target, strip)
            log.info("%s comes from %s, for %s", name, source, path.relative_to(world.root))
            changed.add(target)
        programs = {path for path, name in missing if world.binaries[path].loader and name not in problems}
        _set_places({path: _with_pool(world, path) for path in sorted(programs)})
        world.binaries.update({path: elf.read(path) for path in programs})
        changed |= programs
    if problems:
        names = ", ".join(f'"{name}"' for name in sorted(problems))
        raise BuildError(
            listing("libraries are needed that neither the release nor this machine has:", problems.values())
            + "\ninstall them here, or name their directory in LD_LIBRARY_PATH; where they are the host's, or what needs them is"
            + " not used, say"
            + f" host-libraries = [{names}]"
        )
    return changed


def _missing(world: _Closure) -> Iterator[tuple[Path, str]]:
    """Each binary with the libraries that are not where it, or the process that loads it, looks."""
    for path, binary in world.binaries.items():
        if binary.loader is None:
            places = [*world.places(path), world.lib]
            for name in _beyond_glibc(binary):
                if not world.find(name, places) and not _inherits(world, path, name):
                    yield path, name
        elif path != world.executable:
            yield from ((path, name) for name in _missing_in_program(world, path))


def _missing_in_program(world: _Closure, program: Path) -> Iterator[str]:
    """What a program of a wheel, and all that it loads, does not find; the interpreter's places do not count."""
    queue, seen = [program], {program}
    while queue:
        path = queue.pop()
        binary = world.binaries[path]
        places = world.places(path) + (world.places(program) if binary.runpath is None else [])
        for name in _beyond_glibc(binary):
            if (library := world.find(name, places)) is None:
                yield name
            elif library in world.binaries and library not in seen:
                seen.add(library)
                queue.append(library)


def _inherits(world: _Closure, path: Path, name: str) -> bool:
    """Whether what loads a library, directly or not, hands down a place that has what it needs."""
    loaded, seen = [path], {path}
    while loaded:
        library = loaded.pop()
        names = {library.name, world.binaries[library].soname}
        for other, binary in world.binaries.items():
            if other not in seen and not names.isdisjoint(binary.needed):
                if binary.runpath is None and world.find(name, world.places(other)):
                    return True
                seen.add(other)
                loaded.append(other)
    return False


def _may_be_outside(name: str, release: Release) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in (*DRIVERS, *release.options.host_libraries))


def _pool(world: _Closure, path: Path) -> Path:
    """Where the libraries go that a binary misses."""
    home = next(home for home in world.homes if path.is_relative_to(home))
    return home / LIBRARIES if home in world.homes[:-2] and world.binaries[path].loader is not None else world.lib


def _with_pool(world: _Closure, program: Path) -> str:
    entry = f"$ORIGIN/{os.path.relpath(_pool(world, program), program.parent)}"
    return ":".join(dict.fromkeys([*_entries(world.binaries[program]), entry]))


def _find_here(world: _Closure, executable: Path, path: Path, name: str) -> Path | None:
    """Find a library that a binary needs: in the release already, or on this machine."""
    given = [Path(entry) for entry in os.environ.get("LD_LIBRARY_PATH", "").split(":") if entry]
    library = world.find(name, [world.lib, *world.left.get(path, ()), *given])
    library = library or elf.resolve_in(executable, name).get(name)
    return library if library and elf.read(library).machine == world.binaries[path].machine else None


def _copy_library(world: _Closure, source: Path, target: Path, strip: bool) -> None:
    make_directory(target.parent)
    shutil.copyfile(source, target)
    target.chmod(0o644)
    if strip:
        elf.strip([target])
    elf.set_rpath([target], "$ORIGIN" if _beyond_glibc(elf.read(target)) else None)
    world.binaries[target] = elf.read(target)


def _set_places(wanted: Mapping[Path, str | None]) -> None:
    """Set where binaries look; never in place, as a file may be a hard link to another release's or to a cache's."""
    groups: dict[str | None, list[Path]] = defaultdict(list)
    for path, entries in wanted.items():
        copy = path.with_name(f".{path.name}.underway")
        shutil.copyfile(path, copy)
        shutil.copymode(path, copy)
        copy.replace(path)
        groups[entries].append(path)
    for entries, paths in groups.items():
        elf.set_rpath(paths, entries)


def _check(world: _Closure, executable: Path, release: Release) -> None:
    """Ask the loader where it finds everything, and refuse what is outside."""
    groups: dict[tuple[object, ...], list[Path]] = defaultdict(list)
    for path, binary in world.binaries.items():
        names = _beyond_glibc(binary)
        if {" ", ":"} & {*path.name}:
            continue  # the loader can't be asked for such a name; `_missing` found nothing
        if binary.loader is not None and path != executable:
            groups[path,].append(path)
        elif names and binary.loader is None and not any(_inherits(world, path, name) for name in names):
            # With the same places, what one finds outside the others do not find inside: they can be asked together.
            groups[path.parent, binary.rpath, binary.runpath].append(path)
    problems = {}
    for paths in groups.values():
        program = world.binaries[paths[0]].loader
        libraries = elf.resolve(paths[0], program, {}) if program else elf.resolve_in(executable, *paths)
        for name, library in libraries.items():
            inside = library is not None and Path(os.path.realpath(library)).is_relative_to(
                os.path.realpath(world.root)
            )
            if not inside and not _may_be_outside(name, release):
                problems[name] = f"{paths[0].relative_to(world.root)} loads {library or f'no {name}: there is none'}"
    if problems:
        raise BuildError(listing("binaries of the release load what is outside of it:", problems.values()))


def _write_records(world: _Closure, changed: set[Path]) -> set[Path]:
    """Have the RECORDs tell of applications' files as they are now; returns those that were written."""
    written = set()
    for home in world.homes[:-2]:
        ours = {path.relative_to(home).as_posix() for path in changed if path.is_relative_to(home)}
        added = {path for path in ours if path.startswith(f"{LIBRARIES}/")}
        for info in wheel_record.dist_infos(home) if ours else ():
            listed = wheel_record.paths(home, info)
            if not ours.isdisjoint(listed):
                wheel_record.write(home, info, {*listed, *added})
                written.add(home / info / "RECORD")
                added = set()
    return written
