"""uv, which resolves, downloads, builds and installs. The one place that runs it; each verb that we need is a function."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from uv import find_uv_bin

from underway_runtime.process.termination import wait
from underway_runtime.release.archives.tar_layout import EARLIEST

from ..errors import BuildError, ProjectError

TIMEOUT = 1800.0
"""Seconds that one command may take; downloads and compilers are in it."""

LAST_LINES = 20
"""How much of what uv said goes into an error."""

_OURS = (
    *("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_PROJECT", "UV_PROJECT_ENVIRONMENT"),
    *("UV_WORKING_DIR", "UV_WORKING_DIRECTORY", "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_MANAGED_PYTHON"),
    *("UV_FROZEN", "UV_LOCKED", "UV_DEV", "UV_NO_DEV", "UV_NO_GROUP", "UV_NO_DEFAULT_GROUPS", "UV_NO_EDITABLE"),
    *("UV_NO_BINARY", "UV_NO_BINARY_PACKAGE", "UV_NO_BUILD", "UV_NO_BUILD_PACKAGE", "UV_VENV_SEED", "UV_VENV_CLEAR"),
    *("UV_REQUIRE_HASHES", "UV_NO_VERIFY_HASHES", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_COMPILE_BYTECODE"),
)
"""Variables that would decide what the lock and the options of the release decide. All others reach uv: indexes,
credentials, proxies, certificates, its cache, UV_OFFLINE."""

VERSION = importlib.metadata.version("uv")
"""It decides what is installed of a wheel next to its files: scripts that start entry points."""

_CHATTER = ("warning: The `--pylock` option is experimental", "Using Python ", "Using CPython ", "Resolved ")


def export(
    root: Path, python: Path, *, groups: Iterable[str] = (), extras: Iterable[str] = (), packages: Iterable[str] = ()
) -> str:
    """The text of a pylock.toml that holds what the uv.lock of the project in `root` holds, hashes included.

    Groups and extras ship only when named. `packages` names members of a workspace to ship in the place of the
    project in `root`. Paths in the text are relative to `root`. Raises ProjectError when there is no lock, it is stale, or does not
    hold what was named, with uv's own words.
    """
    command = ["export", "--format", "pylock.toml", "--locked", "--no-default-groups", "--no-header"]
    for option, values in (("--group", groups), ("--extra", extras), ("--package", packages)):
        for value in values:
            command += [option, value]
    output, messages, status = _run([*command, "--python", str(python)], root)
    if "needs to be updated" in messages:
        raise ProjectError(f"the uv.lock of {root} no longer fits its pyproject.toml; renew it with `uv lock`")
    if status != 0:
        raise ProjectError(f"uv can't read the lock of {root}:\n{_last_lines(messages)}")
    return output


def lock(project: Path) -> None:
    """Write the uv.lock of a project. Raises BuildError with what uv said."""
    _do(f"the dependencies of {project.name} can't be locked", ["lock"], project)


def sync(project: Path, groups: Sequence[str], extras: Sequence[str]) -> None:
    """Bring the project's own virtual environment up to date with its lock, with these groups and extras next to uv's defaults.

    Raises BuildError with what uv said, also where the lock is out of date.
    """
    wanted = [word for group in groups for word in ("--group", group)]
    wanted += [word for extra in extras for word in ("--extra", extra)]
    _do(
        f"the virtual environment of {project} can't be brought up to date",
        ["sync", "--locked", "--inexact", *wanted],
        project,
    )


def make_environment(directory: Path, python: Path) -> None:
    """Make an empty virtual environment of an interpreter; scripts that are installed there can be moved."""
    _do(
        f"uv can't make an environment for {python}",
        ["venv", "--relocatable", "--no-project", "--clear", "--python", str(python), str(directory)],
        directory.parent,
    )


def install_locked(environment: Path, pylock: Path, cwd: Path, *, build: bool) -> None:
    """Install all that a pylock.toml names, from the artefacts and with the hashes that it names, and nothing else.

    What is there already in the version that is named stays. `build` says whether sdists may be built. uv's settings are those
    of the project in `cwd`. Raises BuildError: a hash that does not fit, no network, an sdist that does not build.
    """
    command = ["pip", "install", "--no-deps", "--require-hashes", "--link-mode", "copy", "--no-compile-bytecode"]
    command += [] if build else ["--no-build"]
    _do(
        "uv can't install what the lock names",
        [*command, "--python", str(environment / "bin/python"), "--requirements", str(pylock)],
        cwd,
    )


def install_pinned(environment: Path, requirements: Path, cwd: Path) -> None:
    """Install what a requirements file pins by hash, without what it depends on; markers decide what applies."""
    command = ["pip", "install", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--link-mode", "copy"]
    _do(
        "uv can't install what the runtime needs",
        [
            *command,
            "--no-compile-bytecode",
            "--python",
            str(environment / "bin/python"),
            "--requirements",
            str(requirements),
        ],
        cwd,
    )


def install_wheels(environment: Path, wheels: Sequence[Path], cwd: Path) -> None:
    """Install wheels that were built here, without what they depend on, in place of what is there of that name."""
    command = ["pip", "install", "--no-deps", "--no-index", "--link-mode", "copy", "--no-compile-bytecode"]
    _do(
        "uv can't install what was built here",
        [*command, "--reinstall", "--python", str(environment / "bin/python"), *map(str, wheels)],
        cwd,
    )


def install_builder(environment: Path, requirements: Sequence[str], cwd: Path) -> None:
    """Install what builds a project, with all that it requires, compiled, into an environment that builds it again and again."""
    command = ["pip", "install", "--link-mode", "copy", "--compile-bytecode"]
    _do(
        "uv can't install what builds",
        [*command, "--python", str(environment / "bin/python"), "--", *requirements],
        cwd,
    )


@contextmanager
def building(project: Path, out: Path, python: Path, *, isolated: bool = True) -> Iterator[Callable[[], Path]]:
    """Have a project's own build backend build its wheel into the new directory `out`, while other things are done; gives what waits
    for the wheel and returns it. Ended with the block at the latest.

    What builds it is installed again for it, or, with `isolated` false, is in the environment of `python`. What is given raises
    BuildError with the last lines of what the backend said.
    """
    command = ["build", "--wheel", "--out-dir", str(out), "--python", str(python), str(project)]
    with _started([*command, *([] if isolated else ["--no-build-isolation"])], project) as end:

        def wheel() -> Path:
            _, messages, status = end()
            if status != 0:
                raise BuildError(f"{project} does not build; uv said:\n{_last_lines(messages)}")
            [built] = out.glob("*.whl")
            return built

        yield wheel


def _do(failure: str, arguments: Sequence[str], cwd: Path) -> None:
    _, messages, status = _run(arguments, cwd)
    if status != 0:
        raise BuildError(f"{failure}; uv said:\n{_last_lines(messages)}")


def _run(arguments: Sequence[str], cwd: Path) -> tuple[str, str, int]:
    """Run uv to its end: what it wrote to stdout, what it said on stderr, its exit status."""
    with _started(arguments, cwd) as end:
        return end()


@contextmanager
def _started(arguments: Sequence[str], cwd: Path) -> Iterator[Callable[[], tuple[str, str, int]]]:
    """Start uv, and give what waits for its end and returns as `_run` does.

    It runs in a process group of its own, and whatever is left of that is ended with the block, also when we are interrupted.
    """
    command = [find_uv_bin(), "--no-python-downloads", "--no-progress", "--color", "never", *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in _OURS}
    # What a build backend dates has the same date each time, though nobody asks for it.
    environment.setdefault("SOURCE_DATE_EPOCH", str(EARLIEST))
    # Files, not pipes: a child of a build backend that lives on would hold a pipe open.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                process_group=0,
            )
        except OSError as error:
            raise BuildError(f"uv can't be run: {error}") from None

        def end() -> tuple[str, str, int]:
            try:
                status = wait(process, TIMEOUT)
            except subprocess.TimeoutExpired:
                raise BuildError(f"`uv {' '.join(arguments)}` was ended after {TIMEOUT:.0f} seconds") from None
            _end(process)
            return _text(output), _text(errors), status

        try:
            yield end
        finally:
            if process.returncode is None:
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _last_lines(messages: str) -> str:
    lines = [line.rstrip() for line in messages.splitlines() if line.strip() and not line.startswith(_CHATTER)]
    return "\n".join(f"  {line}" for line in lines[-LAST_LINES:])
