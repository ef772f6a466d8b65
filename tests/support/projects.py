"""Small real projects for tests, and the commands that are run on them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from uv import find_uv_bin

TIMEOUT = 300.0
UNDERWAY = Path(sys.executable).with_name("underway")
ENVIRONMENT = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}

ZSTD = ("backports_zstd",) if sys.version_info < (3, 14) else ()
"""The application that a release has besides its own and the runtime; later Pythons have zstd themselves."""

PYPROJECT = """\
[project]
name = "{name}"
version = "{version}"
requires-python = ">=3.11"
dependencies = {dependencies}

[build-system]
requires = ["uv_build"]
build-backend = "uv_build"
"""

HELLO = """\
def main():
    print("hello", flush=True)
"""


def write_project(
    root: Path,
    tool: str = '[tool.underway]\nmain = "hello:main"\n',
    files: Mapping[str, str] | None = None,
    *,
    name: str = "hello",
    version: str = "0.1.0",
    dependencies: Sequence[str] = (),
    lock: bool = True,
) -> Path:
    """Write a project with one module, `tool` at the end of its pyproject.toml, and lock it. Returns `root`."""
    root.mkdir(parents=True, exist_ok=True)
    header = PYPROJECT.format(name=name, version=version, dependencies=list(dependencies))
    package = name.replace("-", "_")
    for path, text in {
        "pyproject.toml": f"{header}\n{tool}",
        f"src/{package}/__init__.py": HELLO,
        **(files or {}),
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    if lock:
        uv("lock", "--quiet", cwd=root)
    return root


def uv(*arguments: str, cwd: Path) -> None:
    """Run uv; a failure is the test's."""
    subprocess.run([find_uv_bin(), *arguments], cwd=cwd, env=ENVIRONMENT, timeout=TIMEOUT, check=True)


def underway(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the underway command, as a user does."""
    return subprocess.run(
        [UNDERWAY, *arguments],
        cwd=cwd,
        env={**ENVIRONMENT, **(env or {})},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def build(root: Path, *arguments: str | Path) -> Path:
    """Build the release of a project and return its root; a failure is the test's."""
    done = underway("release", "--quiet", "--json", *arguments, cwd=root)
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["path"])


def run(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of a release in an environment of its own, empty by default."""
    return subprocess.run(
        command, env=dict(env or {}), capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd="/"
    )


@contextmanager
def started(
    command: Sequence[str | Path], env: Mapping[str, str] | None = None, cwd: Path = Path("/")
) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended, by SIGKILL if need be, when the block is left."""
    process = subprocess.Popen(
        command, env=dict(env or {}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def node_of(keeper: subprocess.Popen[str]) -> int:
    """The pid of the node whose keeper this process is; one that has ended may still be waited for, next to it."""
    deadline = time.monotonic() + TIMEOUT
    while len(pids := living_children(keeper.pid)) != 1:
        assert keeper.poll() is None, "the keeper has ended"
        assert time.monotonic() < deadline, f"children of {keeper.pid}: {pids}"
        time.sleep(0.01)  # until the keeper has started it, or has waited for the other; nothing tells from outside
    return pids[0]


def living_children(pid: int) -> list[int]:
    """The processes that a process has started and that have not ended, sorted."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split() if _lives(child)]
    return sorted(found)


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def get(url: str, process: subprocess.Popen[str] | None = None, within: float = 60.0) -> str:
    """What a server answers, as soon as it listens; it has `within` seconds to, and its process must live."""
    opener = build_opener(ProxyHandler({}))
    deadline = time.monotonic() + within
    while True:
        try:
            with opener.open(url, timeout=within) as answer:
                text: str = answer.read().decode()
                return text
        except (URLError, ConnectionError) as error:
            if process is not None and process.poll() is not None:
                output = process.stdout.read() if process.stdout else ""
                raise AssertionError(f"the server ended with status {process.returncode}:\n{output}") from error
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)  # until the server listens; there is no event to wait for from outside
