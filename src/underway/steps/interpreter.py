"""A relocatable interpreter inside the release, and the links that start it.

::

    python-3.11.7/
    ├── bin/python3.11        finds its libraries in $ORIGIN/../lib
    └── lib/
        ├── libpython3.11.so.1.0   where the interpreter is linked with it
        ├── libssl.so.3 ...        what interpreter and extension modules need beyond glibc; each looks in $ORIGIN
        └── python3.11/            the standard library with its pycs; no site-packages
            └── lib-dynload/       extension modules; they look in $ORIGIN/../..
"""

from __future__ import annotations

import ast
import json
import logging
import os
import pprint
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from underway_runtime.release.directory import ReleaseDirectory, minor

from ..errors import BuildError, listing
from ..release import Release
from ..toolchain import cache
from ..toolchain.cache import Cache
from ..toolchain.cached_tree import TreeEntry
from ..toolchain.interpreters import Interpreter, describe
from ..toolchain.programs import run
from . import bytecode
from .binaries import elf
from .cached_steps import Placed, put

log = logging.getLogger("underway")

# Building extensions and installing packages end with the release; Tcl, for turtles too, is half a system of its own.
# Python 3.13 has no nis, which alone needs Kerberos, no lib2to3 and no msilib. pydoc_data is the help on keywords at a prompt.
NEVER = (
    *("*/__pycache__", "*/site-packages", "*/dist-packages", "*.pyc"),
    *("/sitecustomize.py", "/usercustomize.py", "/EXTERNALLY-MANAGED", "/config-*", "/ensurepip"),
    *("/idlelib", "/tkinter", "/turtle.py", "/turtledemo", "/lib-dynload/_tkinter.*"),
    *("/lib-dynload/nis.*", "/lib2to3", "/msilib", "/pydoc_data"),
)
"""What no copy holds; patterns of paths below the standard library."""

TESTS = (
    *("*/test", "*/tests", "*/idle_test"),
    *("/lib-dynload/_test*", "/lib-dynload/_ctypes_test*", "/lib-dynload/_xxtestfuzz*", "/lib-dynload/xxlimited*"),
    "/lib-dynload/xxsubtype*",
)
"""The interpreter's own tests, which go unless the option strip is false."""

ZONES = "share/zoneinfo"
"""Below the prefix: the time zones that a release brings, for hosts that have none."""

TZPATH = "/usr/share/zoneinfo:/usr/lib/zoneinfo:/usr/share/lib/zoneinfo:/etc/zoneinfo"
"""Where Python looks for them by default."""

_AUTHORITIES = Path(__file__).with_name("ca_bundle.py")

UNWINDER = "libgcc_s.so.1"

_TIMEOUT = 300


def copy_interpreter(release: Release) -> Placed | None:
    """Copy the release's interpreter to ``python-X.Y.Z``, so that it runs there and wherever that is moved to.

    Returns what is known of the files, or None: a release whose ``interpreter_source`` is None has none of its own. The source
    is only read. The copy is made once, in the cache, and made again when the source or this machine's libraries have
    changed. With the option strip (the default) the interpreter's tests and the symbols of binaries are left out; the
    latter need binutils, and stay with a warning in the log where it is absent. Raises BuildError when the interpreter is not
    of the release's version, needs a library that this machine lacks, or loads one from outside the copy.
    """
    if release.interpreter_source is None:
        return None
    source = describe(release.interpreter_source)
    if source.version != release.interpreter_version:
        raise BuildError(
            f"{source.executable} is Python {source.version}; this release is made for {release.interpreter_version}"
        )
    target = ReleaseDirectory(release.path).interpreter(release.interpreter_version)
    if target.exists():
        shutil.rmtree(target)
    with cache.here(release.path.parent / "cache", os.environ) as store:
        return put(release, cached_copy(store, source, release.options.strips), target, prepared=True)


def cached_copy(store: Cache, source: Interpreter, strip: bool) -> TreeEntry:
    """The copy of an interpreter in the cache, made where there is none."""
    forbidden = [] if str(source.base_prefix) in SYSTEM_PREFIXES else [source.base_prefix]
    return store.get("interpreters", _key(source, strip), lambda tree: _make(source, tree, strip), forbidden)


def _make(source: Interpreter, target: Path, strip: bool) -> dict[str, Any]:
    """Make the copy in an empty directory."""
    stdlib = target / source.platlibdir / source.stdlib.name
    executable = target / "bin" / f"python{source.minor}"
    for directory in (target, executable.parent, target / "lib", stdlib.parent):
        _make_directory(directory)
    _copy_file(source.executable, executable)
    _copy_stdlib(source, stdlib, (*NEVER, *TESTS) if strip else NEVER)

    modules = sorted((stdlib / "lib-dynload").glob("*.so"))
    libraries = _copy_libraries(source, target, executable, modules)
    modules = [module for module in modules if module.exists()]
    if strip:
        _strip([executable, *libraries, *modules])
    _relocate(target, executable, libraries, modules)

    for file in sorted(stdlib.glob("_sysconfigdata*.py")):
        _free_of_prefix(file, source)
    _look_for_authorities(stdlib)
    _compile(executable, target)
    _check(executable, target)
    return {"version": source.version}


def _key(source: Interpreter, strip: bool) -> str:
    """Stands for all that a copy is made of: the source, the libraries of this machine, what strips, this module."""
    stdlib = [
        stamp
        for directory in {source.stdlib, source.lib_dynload or source.stdlib}
        for stamp in _listing(str(directory), ("test", "tests", *_NEVER_LISTED) if strip else _NEVER_LISTED)
    ]
    return cache.key(
        *(strip, cache.stamp(shutil.which("strip")), os.environ.get("LD_LIBRARY_PATH")),
        *(cache.stamp(file) for file in (source.executable, source.libpython, "/etc/ld.so.cache")),
        *(cache.stamp(module) for module in (__file__, elf.__file__, bytecode.__file__, _AUTHORITIES)),
        sorted(stdlib),
    )


_NEVER_LISTED = ("__pycache__", "site-packages", "dist-packages", "idlelib")


def _listing(directory: str, left_out: tuple[str, ...]) -> Iterator[tuple[str, int, int]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name in left_out:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _listing(entry.path, left_out)
            elif entry.is_file():
                status = entry.stat()
                yield entry.path, status.st_size, status.st_mtime_ns


def link_interpreter(release: Release) -> None:
    """Make ``releases/V`` an environment of the interpreter: ``bin/python``, ``pyvenv.cfg``, an empty site-packages.

    The links are relative; when the release has no interpreter of its own they are absolute, to the one of the
    target's that the build context names. Raises BuildError when it names none.
    """
    directory = ReleaseDirectory(release.path)
    version = directory.version(release.version)
    name = f"python{minor(release.interpreter_version)}"
    if release.interpreter_source is not None:
        interpreter = directory.interpreter(release.interpreter_version) / "bin" / name
        points_to = os.path.relpath(interpreter, version.python.parent)
    elif path := release.context.interpreter:
        points_to = os.path.abspath(path)
    else:
        raise BuildError("the release has no interpreter of its own, and its build context names none")
    version.python.parent.mkdir(parents=True, exist_ok=True)
    for link in (version.python, version.python.with_name("python3"), version.python.with_name(name)):
        link.unlink(missing_ok=True)
        link.symlink_to(points_to)
    # Without the key `home` the interpreter takes its own place, by the link, for the base: nothing absolute is needed.
    version.pyvenv_cfg.write_text("include-system-site-packages = false\n", encoding="utf-8")
    version.site_packages(release.interpreter_version).mkdir(parents=True, exist_ok=True)


def _copy_stdlib(source: Interpreter, target: Path, left_out: tuple[str, ...]) -> None:
    _copy_tree(source.stdlib, target, left_out)
    dynload = target / "lib-dynload"
    if source.lib_dynload is not None and not dynload.is_dir():
        _copy_tree(source.lib_dynload, dynload, left_out, "/lib-dynload")
    if not dynload.is_dir() or not any(dynload.iterdir()):
        # The interpreter finds its exec_prefix by this directory, and an empty one gets lost in archives.
        _make_directory(dynload)
        (dynload / "README").write_text("All extension modules of this interpreter are built in.\n", encoding="utf-8")


def _copy_tree(source: Path, target: Path, left_out: tuple[str, ...], below: str = "") -> None:
    """Copy what is in a directory. A link to a file becomes that file; one to a directory, or to nothing, goes."""
    _make_directory(target)
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        path = f"{below}/{entry.name}"
        if any(fnmatchcase(path, pattern) for pattern in left_out):
            continue
        if entry.is_dir(follow_symlinks=False):
            _copy_tree(Path(entry.path), target / entry.name, left_out, path)
        elif entry.is_file():
            _copy_file(Path(entry.path), target / entry.name)


def _copy_file(source: Path, target: Path) -> None:
    # Always new bytes, never a hard link: copies are stripped and patched. Other users must be able to read them.
    shutil.copyfile(source, target)
    target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)


def _make_directory(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o755)


def _copy_libraries(source: Interpreter, target: Path, executable: Path, modules: list[Path]) -> list[Path]:
    """Copy the libraries beyond glibc that the interpreter and its modules need, from where the loader finds them.

    A module that needs one that this machine does not have is removed. Returns the copies.
    """
    ld_so = elf.loader(source.executable)
    places: dict[str, Path] = {}
    for copy in (executable, *modules):
        if ld_so is None or all(map(elf.is_glibc, elf.needed(copy))):
            continue
        original = source.executable if copy is executable else (source.lib_dynload or source.stdlib) / copy.name
        needed = elf.resolve(original, ld_so)
        for name in [name for name, library in needed.items() if library is None]:
            # A module may count on what the interpreter itself has loaded, or has next to it.
            sibling = source.base_prefix / "lib" / name
            needed[name] = places.get(name) or (sibling if sibling.exists() else None)
        if missing := sorted(name for name, library in needed.items() if library is None):
            if copy is executable:
                raise BuildError(f"{original} needs {', '.join(missing)}, which this machine does not have")
            log.warning(
                "the release goes without %s: this machine has no %s", copy.name.partition(".")[0], ", ".join(missing)
            )
            copy.unlink()
            continue
        for name, library in needed.items():
            if library is not None:
                places.setdefault(name, library)
    # glibc itself loads it for pthread_exit, in which the threads of a Python that exits may end.
    if ld_so is not None and (unwinder := elf.resolve_in(source.executable, UNWINDER).get(UNWINDER)):
        places.setdefault(UNWINDER, unwinder)
    for name, library in sorted(places.items()):
        _copy_file(library, target / "lib" / name)
    return [target / "lib" / name for name in sorted(places)]


def _strip(binaries: list[Path]) -> None:
    try:
        if not elf.strip(binaries):
            log.warning("binaries keep their symbols: binutils' strip is not on PATH (on Debian: apt install binutils)")
    except BuildError as error:
        log.warning("binaries keep their symbols: %s", error)


def _relocate(target: Path, executable: Path, libraries: list[Path], modules: list[Path]) -> None:
    """Have each binary look for its libraries in the copy only: a build's own path would be found on the build host."""
    wanted: dict[str | None, list[Path]] = {
        f"$ORIGIN/{os.path.relpath(target / 'lib', executable.parent)}": [executable]
    }
    for binary in (*libraries, *modules):
        if not all(map(elf.is_glibc, elf.needed(binary))):
            where = os.path.relpath(target / "lib", binary.parent)
            wanted.setdefault("$ORIGIN" if where == "." else f"$ORIGIN/{where}", []).append(binary)
        elif elf.rpath(binary):
            wanted.setdefault(None, []).append(binary)
    for directories, binaries in wanted.items():
        elf.set_rpath(binaries, directories)


SYSTEM_PREFIXES = ("/", "/usr", "/usr/local")

_INSTALL_PATHS = re.compile(
    "BINDIR|BINLIBDEST|CONFINCLUDEDIR|CONFINCLUDEPY|DESTDIRS|DESTLIB|DESTSHARED|EXENAME|INCLDIRSTOMAKE|INCLUDEDIR"
    "|INCLUDEPY|LIBDEST|LIBDIR|LIBPC|LIBPL|MACHDESTLIB|MANDIR|SCRIPTDIR|datarootdir|exec_prefix|prefix"
)
"""The variables that hold nothing but paths of the installation."""

_SYSCONFIG = """\
# Made by underway from the interpreter's own: paths are where the interpreter is, not where it was built.
import sys

build_time_vars = {values}

for _name, _value in build_time_vars.items():
    if isinstance(_value, str):
        build_time_vars[_name] = _value.replace("@base@", sys.base_prefix).replace("@prefix@", sys.prefix)
"""


def _free_of_prefix(file: Path, source: Interpreter) -> None:
    """Rewrite sysconfig's data so that its paths follow the interpreter. What is not plain data stays as it is."""
    values = None
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "build_time_vars":
            values = ast.literal_eval(statement.value)
    if not isinstance(values, dict) or "@base@" in values.get("prefix", ""):
        return
    prefixes = {str(source.base_prefix), *(values[name] for name in ("prefix", "exec_prefix") if values.get(name))}
    for prefix in sorted(prefixes, key=len, reverse=True):
        # After -I and -L, or where a path begins; a prefix as common as /usr is only taken where it must be meant.
        begins = re.compile(rf"((?<=-[IL])|(?<![\w/-])){re.escape(prefix.rstrip('/'))}(?![\w.-])")
        for name, value in values.items():
            if isinstance(value, str) and (prefix not in SYSTEM_PREFIXES or _INSTALL_PATHS.fullmatch(name)):
                values[name] = begins.sub("@base@", value)
    values["LIBDIR"] = "@base@/lib"
    # The host's time zones first, as ever, for they are kept up to date; then those that the release may bring.
    values["TZPATH"] = f"{values.get('TZPATH') or TZPATH}:@prefix@/{ZONES}"
    file.write_text(_SYSCONFIG.format(values=pprint.pformat(values, width=120)), encoding="utf-8")


def _look_for_authorities(stdlib: Path) -> None:
    """Have ssl find the host's certificate authorities wherever that keeps them."""
    module = stdlib / "ssl.py"
    if module.exists() and not (stdlib / "_underway_authorities.py").exists():
        _copy_file(_AUTHORITIES, stdlib / "_underway_authorities.py")
        imports = "import _underway_authorities  # by underway: where the host of a release keeps them"
        module.write_text(f"{module.read_text(encoding='utf-8')}\n{imports}\n", encoding="utf-8")


def _compile(executable: Path, target: Path) -> None:
    """Compile the standard library with the interpreter itself; tests are not, as some are not meant to compile."""
    files = [path.relative_to(target) for path in target.rglob("*.py")]
    names = sorted(path.as_posix() for path in files if not {"test", "tests"} & set(path.parts))
    script = str(Path(__file__).with_name("bytecode.py"))

    def compile_half(start: int) -> None:
        _ask(executable, [script], json.dumps({"root": str(target), "files": names[start::2], "docstrings": True}))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compile_half, range(2)))
    for directory in target.rglob("__pycache__"):
        directory.chmod(0o755)
        for pyc in directory.iterdir():
            pyc.chmod(0o644)


def _check(executable: Path, target: Path) -> None:
    """Import every extension module and hold what is mapped then against the copy.

    A copy that still loads its libraries from the original's place works on this machine and on no other.
    """
    names = [path.name.partition(".")[0] for path in sorted(target.rglob("lib-dynload/*.so"))]
    answer = json.loads(_ask(executable, ["-c", _IMPORT_ALL], "\n".join(names)))
    for name, reason in answer["failed"].items():
        log.warning("the interpreter's module %s can't be imported: %s", name, reason)
    inside = os.path.realpath(target) + os.sep
    outside = sorted(
        path
        for path in answer["mapped"]
        if not (
            path.startswith((inside, "/dev/", "/memfd:"))
            or elf.is_glibc(path)
            or "/locale/" in path
            or "/gconv/" in path
        )
    )
    if outside:
        raise BuildError(listing("the copied interpreter loads files from outside the release:", outside))


_IMPORT_ALL = """
import importlib, json, sys
failed = {}
for name in sys.stdin.read().splitlines():
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = str(error)
with open("/proc/self/maps") as maps:
    mapped = {line.split(None, 5)[-1].rstrip() for line in maps if "/" in line}
print(json.dumps({"failed": failed, "mapped": sorted(mapped)}))
"""


def _ask(executable: Path, script: list[str], given: str) -> str:
    """Run a script with the copied interpreter in an empty environment; what it printed."""
    # -P: the directory of a script of ours holds names of the standard library's
    command = [str(executable), "-P", "-s", "-S", "-B", *script]
    failed = f"the copied interpreter {executable} does not run"
    done = run(command, failed, timeout=_TIMEOUT, given=given, environ={"PYTHONHASHSEED": "0"})
    if done.returncode != 0:
        raise BuildError(f"{failed} (exit status {done.returncode}): {done.stderr.strip()}")
    return done.stdout
