"""Which interpreter a release is built with: found with uv, described by itself, refused before anything is built."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import packaging
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.version import InvalidVersion, Version
from uv import find_uv_bin

from ..errors import BuildError, ProjectError, listing
from . import cache
from .programs import run

SUPPORTED = ("3.11", "3.12", "3.13", "3.14", "3.15")
"""The minor versions whose start-up was tried; where an interpreter looks for its files differs between them."""

_RANGE = f">={SUPPORTED[0]},<3.{int(SUPPORTED[-1][2:]) + 1}"
_ANSWER_TIMEOUT = 60
_SEARCH_TIMEOUT = 300


@dataclass(frozen=True)
class Interpreter:
    """An installed interpreter, as it answered; never a virtual environment or a shim, but the base of one."""

    executable: Path
    """The real path of the base interpreter."""
    version: str
    """``3.11.7``, as it names itself; may end in ``rc1`` or ``+``."""
    implementation: str
    """``cpython``."""
    abiflags: str
    free_threaded: bool
    platform: str
    """``linux-x86_64``, as sysconfig has it."""
    multiarch: str
    """``x86_64-linux-gnu``; empty where the build has none."""
    libc: tuple[str, str] | None
    """``("glibc", "2.36")``; None for any other C library."""
    base_prefix: Path
    platlibdir: str
    """The directory below the prefix that holds ``pythonX.Y``: ``lib``, on some systems ``lib64``."""
    stdlib: Path
    lib_dynload: Path | None
    """The directory of its extension modules."""
    libdir: Path
    """LIBDIR of its build; may not exist."""
    libpython: Path | None
    """The shared libpython that it has loaded; None when it is linked statically."""
    ext_suffix: str
    config_args: str
    """What its ``configure`` was given."""
    openssl_dir: str
    """Where its OpenSSL looks for openssl.cnf and CA certificates, compiled in; empty without ssl."""
    environment: tuple[tuple[str, str], ...] = field(repr=False)
    """Its PEP 508 environment, for `markers`."""
    wheel_tags: tuple[tuple[str, str, str], ...] = field(repr=False)
    """What it can install, best first, for `tags`."""

    @property
    def minor(self) -> str:
        """``3.11``."""
        return ".".join(self.version.split(".")[:2])

    @property
    def optimized(self) -> bool:
        """Whether its configure was asked for PGO. Debian's build has it without saying so."""
        return "--enable-optimizations" in self.config_args


def describe(executable: Path) -> Interpreter:
    """Ask an interpreter, or a virtual environment or shim of one, what its base is. Nothing but the cache is written.

    Raises BuildError when `executable` does not run or does not answer as a Python does.
    """
    key = _question_key(executable)
    remembered = cache.recall(key, os.environ) if key else None
    if remembered and remembered["stamps"] == _stamps(remembered["answer"]):
        return _interpreter(executable, remembered["answer"])
    answer = _ask(executable)
    if key:
        cache.remember(key, {"answer": answer, "stamps": _stamps(answer)}, os.environ)
    return _interpreter(executable, answer)


def _question_key(executable: Path) -> str | None:
    """Stands for all that the answer depends on, but for what it names; None for what is not a binary: a shim asks the environment."""
    try:
        with executable.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                return None
    except OSError:
        return None
    environment = executable.absolute().parents[1] / "pyvenv.cfg"
    real = executable.resolve()
    machine = (platform.uname(), os.confstr("CS_GNU_LIBC_VERSION") if sys.platform == "linux" else "")
    return cache.key(
        "interpreter",
        _QUESTIONS,
        str(executable.absolute()),
        version("packaging"),
        machine,
        *(cache.stamp(path) for path in (real, environment, packaging.__file__)),
    )


def _stamps(answer: dict[str, Any]) -> list[Any]:
    return [cache.stamp(path) for path in (*answer["bases"], answer["libpython"], f"{answer['stdlib']}/os.py")]


def _ask(executable: Path) -> dict[str, Any]:
    packages = str(Path(packaging.__file__).parents[1])
    command = [str(executable), "-I", "-S", "-B", "-c", _QUESTIONS, packages]
    done = run(command, f"the interpreter {executable} can't be run", timeout=_ANSWER_TIMEOUT)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
        _interpreter(executable, answer)
        return answer
    except (ValueError, KeyError, TypeError, AttributeError):
        reason = (done.stderr.strip().splitlines() or [f"it answered {done.stdout[:100]!r}"])[0][:200]
        raise BuildError(
            f"{executable} does not answer as a Python does (exit status {done.returncode}): {reason}"
        ) from None


def _interpreter(executable: Path, answer: Mapping[str, Any]) -> Interpreter:
    fields = dict(answer)
    base = next((Path(path) for path in fields.pop("bases") if os.access(path, os.X_OK)), None)
    if base is None:
        raise BuildError(
            f"the base interpreter of {executable} is gone; make that virtual environment again, or name another"
            " interpreter with --python"
        )
    fields.update({key: fields[key] and Path(fields[key]).resolve() for key in _PATHS})
    fields["libc"] = _libc(fields["libc"])
    fields["environment"] = tuple(sorted(fields["environment"].items()))
    fields["wheel_tags"] = tuple((tag[0], tag[1], tag[2]) for tag in fields["wheel_tags"])
    return Interpreter(executable=base.resolve(), **fields)


def find(request: str | None, project: Path, requires_python: str | None) -> Interpreter:
    """Find the interpreter to build with, first that applies: `request` (the option or --python), the nearest
    ``.python-version`` of the project and above, what requires-python allows; of that, the running one if it may.

    A request is what uv takes: ``3.12``, ``cpython@3.12.1``, ``>=3.12``, a name on PATH, a path. Nothing is downloaded.
    Raises BuildError when there is none on this machine, naming those that were found, and ProjectError with all
    the reasons when one may not be used.
    """
    allowed = _specifiers(requires_python)
    asked, origin = (request, "was asked for") if request else _pinned(project)
    if asked:
        if (located := _locate(asked, project)) is None:
            raise BuildError(_not_found(f"there is no interpreter {asked!r}, which {origin}", project))
        interpreter = describe(located)
        if reasons := problems(interpreter, requires_python):
            raise ProjectError(
                listing(f"{interpreter.executable}, which {origin} as {asked!r}, can't be used:", reasons)
            )
        return interpreter

    running = describe(Path(getattr(sys, "_base_executable", sys.executable)))
    if not (reasons := problems(running, requires_python)):
        return running
    if (located := _locate(f"cpython{allowed},{_RANGE}" if allowed else f"cpython{_RANGE}", project)) is not None:
        interpreter = describe(located)
        if not (others := problems(interpreter, requires_python)):
            return interpreter
        reasons = [f"{running.executable}: {reason}" for reason in reasons]
        reasons += [f"{interpreter.executable}: {reason}" for reason in others]
    raise BuildError(
        _not_found(listing("no interpreter of this machine can be used:", reasons), project, requires_python)
    )


def problems(interpreter: Interpreter, requires_python: str | None = None) -> list[str]:
    """Why a release can't be made with this interpreter; empty when it can."""
    reasons = []
    version = _version(interpreter.version)
    if not interpreter.platform.startswith("linux"):
        reasons.append(
            f"it is for {interpreter.platform}; this version of underway makes releases for Linux with glibc only"
        )
    elif interpreter.libc is None:
        reasons.append("its C library is not glibc (musl?); this version of underway makes releases for glibc only")
    if interpreter.implementation != "cpython":
        reasons.append(f"it is {interpreter.implementation}; a release runs CPython")
    if interpreter.minor not in SUPPORTED:
        newer = version.release > Version(SUPPORTED[-1]).release
        reasons.append(
            f"it is Python {interpreter.version}, which is {'not supported yet' if newer else 'too old'};"
            f" a release runs {_either(SUPPORTED)}"
        )
    elif version.pre is not None and version.pre[0] in ("a", "b"):
        reasons.append(
            f"it is Python {interpreter.version}, a preview: its byte code and what wheels rely on change until rc1"
        )
    if interpreter.free_threaded:
        reasons.append("it is a free-threaded build, which is not supported yet")
    if not _specifiers(requires_python).contains(version, prereleases=True):
        reasons.append(f"it is Python {interpreter.version}; the project's requires-python is {requires_python!r}")
    return reasons


def markers(interpreter: Interpreter) -> dict[str, str]:
    """The PEP 508 environment of an interpreter on this machine, to evaluate markers with."""
    return dict(interpreter.environment)


def tags(interpreter: Interpreter) -> tuple[Tag, ...]:
    """The tags of the wheels that an interpreter can use on this machine, best first."""
    return tuple(Tag(*parts) for parts in interpreter.wheel_tags)


def _specifiers(requires_python: str | None) -> SpecifierSet:
    try:
        allowed = SpecifierSet(requires_python or "")
    except InvalidSpecifier:
        raise ProjectError(
            f"requires-python is {requires_python!r}, which is not a set of versions; write it like '>=3.11'"
        ) from None
    if not any(_allows(allowed, minor) for minor in SUPPORTED):
        raise ProjectError(
            f"requires-python is {requires_python!r}, which allows none of the versions that a release runs:"
            f" {_either(SUPPORTED)}; later ones are not supported yet"
        )
    return allowed


def _allows(allowed: SpecifierSet, minor: str) -> bool:
    return any(allowed.contains(f"{minor}.{patch}") for patch in range(100))


def _pinned(project: Path) -> tuple[str | None, str]:
    for directory in (project.absolute(), *project.absolute().parents):
        file = directory / ".python-version"
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        if wanted := [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]:
            return wanted[0], f"{file} names"
    return None, ""


def _locate(request: str, project: Path) -> Path | None:
    path = project / Path(request).expanduser()
    if path.is_dir() and os.sep in request:
        return next((python for name in ("python3", "python") if (python := path / "bin" / name).exists()), None)
    if os.sep in request:
        return path if path.exists() else None
    done = _uv("python", "find", "--system", "--no-project", "--no-python-downloads", request, project=project)
    return Path(done.stdout.strip()) if done.returncode == 0 and done.stdout.strip() else None


def _not_found(heading: str, project: Path, requires_python: str | None = None) -> str:
    done = _uv("python", "list", "--only-installed", "--output-format", "json", project=project)
    installed: dict[str, str] = {}
    try:
        for entry in json.loads(done.stdout):
            installed[os.path.realpath(entry["path"])] = f"{entry['implementation']} {entry['version']}"
    except (ValueError, KeyError, TypeError):
        pass  # the list is a help; the failure that it goes with is what matters
    lines = [f"{name}: {path}" for path, name in installed.items()]
    places = [_uv("python", "dir", project=project).stdout.strip(), *_search_path(os.environ).split(os.pathsep)]
    allowed = _specifiers(requires_python)
    newest = next(minor for minor in reversed(SUPPORTED) if _allows(allowed, minor))
    wanted = f"one that satisfies {requires_python!r}" if requires_python else f"Python {_either(SUPPORTED)}"
    return (
        listing(f"{heading}\nthis machine has:", lines or ["none that uv finds"])
        + listing("\nlooked at:", dict.fromkeys(filter(None, places)))
        + f"\ninstall {wanted}, as by `uv python install {newest}`, or name one by its path with --python"
    )


def _uv(*arguments: str, project: Path) -> subprocess.CompletedProcess[str]:
    """Run uv in the project, so that its settings there apply. What uv says on stderr is about each shim it tried."""
    environ = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "PATH": _search_path(os.environ)}
    failed = "uv can't be asked for interpreters"
    return run([find_uv_bin(), *arguments], failed, timeout=_SEARCH_TIMEOUT, environ=environ, directory=project)


def _search_path(environment: Mapping[str, str]) -> str:
    """PATH with pyenv's installations, newest first, in the place of its shims.

    A shim of a version that is not selected fails, and uv gives up on the first one that does.
    """
    root = Path(environment.get("PYENV_ROOT") or Path.home() / ".pyenv")
    numbered = [path for path in root.glob("versions/*") if re.fullmatch(r"[\d.]+", path.name)]
    numbered.sort(key=lambda path: tuple(int(part) for part in path.name.split(".") if part), reverse=True)
    # uv stops at interpreters that are too old for it to ask.
    versions = [str(path / "bin") for path in numbered if not re.match(r"2\.|3\.[0-5](\.|$)", path.name)]
    search: list[str] = []
    for entry in environment.get("PATH", os.defpath).split(os.pathsep):
        search += versions if Path(entry) == root / "shims" else [entry]
    return os.pathsep.join(search)


def _libc(answer: str | None) -> tuple[str, str] | None:
    name, _, version = (answer or "").partition(" ")
    return (name, version) if name == "glibc" else None


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        return Version(text.rstrip("+"))


def _either(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}"


_PATHS = ("base_prefix", "stdlib", "lib_dynload", "libdir", "libpython")

# Runs in the interpreter that is asked, which may be older than what we support, and without its site-packages;
# `packaging` is ours, so both sides agree on tags and markers.
_QUESTIONS = r"""
import json, os, platform, re, sys, sysconfig

sys.path.append(sys.argv[1])
try:
    from packaging.markers import default_environment
    from packaging.tags import sys_tags
    environment = dict(default_environment())
    wheel_tags = [(tag.interpreter, tag.abi, tag.platform) for tag in sys_tags()]
except (ImportError, SyntaxError):
    environment, wheel_tags = {}, []
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION")
except (AttributeError, ValueError, OSError):
    libc = None
try:
    import _ssl
    openssl_dir = os.path.dirname(_ssl.get_default_verify_paths()[1])
except ImportError:
    openssl_dir = ""
try:
    with open("/proc/self/maps") as maps:
        mapped = [line.split(None, 5)[-1].rstrip("\n") for line in maps]
except OSError:
    mapped = []

config = sysconfig.get_config_vars()
name = "python%d.%d" % sys.version_info[:2]
base = getattr(sys, "_base_executable", None) or sys.executable
bases = [base, os.path.join(os.path.dirname(os.path.realpath(base)), name), os.path.join(sys.base_prefix, "bin", name)]

def of_another(path):
    "Whether it is named for another version: in the home of a copied python, python3 may be any."
    named = re.match(r"python\d+\.\d+", os.path.basename(os.path.realpath(path)))
    return named is not None and named.group() != name

print(json.dumps({
    "bases": [path for path in bases if os.path.exists(path) and not of_another(path)],
    "version": platform.python_version(),
    "implementation": sys.implementation.name,
    "abiflags": getattr(sys, "abiflags", ""),
    "free_threaded": bool(config.get("Py_GIL_DISABLED")),
    "platform": sysconfig.get_platform(),
    "multiarch": config.get("MULTIARCH") or "",
    "libc": libc,
    "base_prefix": sys.base_prefix,
    "platlibdir": getattr(sys, "platlibdir", "lib"),
    "stdlib": os.path.dirname(os.__file__),
    "lib_dynload": next((path for path in sys.path if os.path.basename(path) == "lib-dynload"), None),
    "libdir": config.get("LIBDIR") or "",
    "libpython": next((path for path in mapped if os.path.basename(path).startswith("libpython")), None),
    "ext_suffix": config.get("EXT_SUFFIX") or "",
    "config_args": config.get("CONFIG_ARGS") or "",
    "openssl_dir": openssl_dir,
    "environment": environment,
    "wheel_tags": wheel_tags,
}))
"""
