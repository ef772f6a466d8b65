"""Small real releases that run: on top of the helpers for the code server, boot scripts, configuration and the launcher."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from code_server_helpers import REPOSITORY, RUNTIME, Distribution, Interpreter, make_release
from code_server_helpers import TIMEOUT as TIMEOUT
from underway_runtime.release import command_table
from underway_runtime.release.boot_script import BootScript, CodePath, Instruction, Load, Mode, PrimLoad, Start, dump

TEMPLATES = REPOSITORY / "src/underway/templates"
INSTALLED = "installed-1.0"
"""The directory of what is linked from the environment of the tests."""

Process = subprocess.Popen[str]


class MakeNode(Protocol):
    def __call__(self, *apps: App, libraries: Sequence[str] = (), at: str = "hello") -> Node: ...


@dataclass(frozen=True)
class App:
    """One application of a release under test: its module, and how it starts."""

    name: str
    source: str = ""
    start: Mapping[str, Any] | None = None
    requires: tuple[str, ...] = ()
    mode: Mode = "permanent"
    preload: bool = True
    files: Mapping[str, str] = field(default_factory=dict)
    """All of its files, by path, where it is a package and not one module."""
    modules: tuple[str, ...] = ()
    """What is preloaded, where it is not the module of its name."""

    @property
    def distribution(self) -> Distribution:
        return self.distribution_of("1.0")

    def distribution_of(self, version: str) -> Distribution:
        """It as an installer finds it."""
        return Distribution(self.name, version, self.files or {f"{self.name}.py": textwrap.dedent(self.source)})


def recorder(name: str, *, start: str = "pass", stop: str = "pass", requires: tuple[str, ...] = (), **how: Any) -> App:
    """An application whose class says on standard output when it starts and stops."""
    source = f"""
    import asyncio, sys, time
    from underway_runtime import Application

    class App(Application):
        async def start(self):
            print("start", self.name, flush=True)
            {start}

        async def stop(self):
            print("stop", self.name, flush=True)
            {stop}
    """
    return App(name, source, {"class": f"{name}:App"}, requires, **how)


def once_ready(act: str) -> str:
    """What a recorder does at its start to do this, an expression, as soon as its keeper has been told that it is ready."""
    ready = "from underway_runtime.node.keeper_client import KeeperClient; ready = KeeperClient.ready"
    return f"{ready}; KeeperClient.ready = lambda *told: (ready(*told), {act})"


DIES_AT_ONCE = once_ready("__import__('os')._exit(9)")


@dataclass
class Node:
    """A release directory, and the processes that were started from it."""

    root: Path
    name: str = "hello"
    environ: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)

    @property
    def command(self) -> Path:
        return self.root / "bin" / self.name

    @property
    def version(self) -> Path:
        return self.root / "releases/1"

    @property
    def var(self) -> Path:
        return self.root / "var"

    @property
    def script(self) -> Path:
        return self.version / "start.script"

    def write_script(self, apps: Sequence[App], instructions: Sequence[Instruction] = ()) -> None:
        """Write start.script, and start_clean.script without what starts."""
        paths = CodePath((f"$RELEASE_LIB/{RUNTIME}", *(f"$RELEASE_LIB/{app.name}-1.0" for app in apps)))
        loads = [Load(app.name, "1.0", app.requires, app.start) for app in apps]
        modules = [PrimLoad(app.name, app.modules or (app.name,)) for app in apps if app.start and app.preload]
        starts = [Start(app.name, app.mode) for app in apps if app.mode in ("permanent", "transient", "temporary")]
        scripts: dict[str, tuple[Instruction, ...]] = {
            "start": (paths, *loads, *modules, *(instructions or starts)),
            "start_clean": (paths, *loads),
        }
        for name, all_of_it in scripts.items():
            script = BootScript(name, self.name, "1", all_of_it)
            (self.version / f"{name}.script").write_text(dump(script), encoding="utf-8")

    def configure(self, **config: Mapping[str, Any]) -> None:
        """Write sys.config."""
        (self.version / "sys.config").write_text(json.dumps({"format": 1, "config": config}))

    def spawn(self, *arguments: str, **how: Any) -> Process:
        """Run bin/NAME in an otherwise empty environment, with pipes for all three streams."""
        process = subprocess.Popen(
            [str(self.command), *arguments],
            env=self.environ,
            stdin=how.pop("stdin", subprocess.DEVNULL),
            stdout=how.pop("stdout", subprocess.PIPE),
            stderr=how.pop("stderr", subprocess.PIPE),
            text=True,
            **how,
        )
        self.processes.append(process)
        return process

    def run(self, *arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run bin/NAME to its end."""
        process = self.spawn(*arguments, **how)
        out, err = process.communicate(timeout=TIMEOUT)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def lock_contents(self) -> dict[str, Any]:
        """What the lock file says of keeper and node."""
        document: dict[str, Any] = json.loads((self.var / "run/lock").read_text())
        return document

    def running(self) -> list[int]:
        """All processes that were started from this release: no other has its path in the command line."""
        found = []
        for place in Path("/proc").iterdir():
            if place.name.isdigit():
                with contextlib.suppress(OSError):
                    if os.fsencode(f"{self.root}/") in (place / "cmdline").read_bytes():
                        found.append(int(place.name))
        return found

    def close(self) -> None:
        """End what the test left, in the background too."""
        for pid in self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            with contextlib.suppress(ValueError, subprocess.TimeoutExpired):
                process.communicate(timeout=TIMEOUT)


def read_until(stream: Any, pattern: str) -> re.Match[str]:
    """Read lines until one matches; bounded by the timeout of the test."""
    seen = []
    for line in stream:
        seen.append(line)
        if match := re.search(pattern, line):
            return match
    raise AssertionError(f"ended without {pattern!r}: {''.join(seen)}")


def finish(process: Process) -> tuple[int, str, str]:
    """Wait for the end of a process: its status and the rest of what it says."""
    out, err = process.communicate(timeout=TIMEOUT)
    return process.returncode, out, err


def terminate(process: Process) -> tuple[int, str, str]:
    """Send SIGTERM and wait for the end."""
    process.send_signal(signal.SIGTERM)
    return finish(process)


def eventually(happened: Any, what: str) -> Any:
    """Ask until the answer is true, and return it; fails when it never is.

    The time between two questions is twice what one takes: who waits leaves the machine to whom it waits for.
    """
    end = time.monotonic() + TIMEOUT
    while (asked := time.monotonic()) < end:
        if answer := happened():
            return answer
        time.sleep(max(0.01, 2 * (time.monotonic() - asked)))
    raise AssertionError(f"never: {what}")


@contextlib.contextmanager
def nodes(directory: Path, interpreter: Interpreter) -> Iterator[MakeNode]:
    """A function that makes a node, called ``hello``, of applications; what it left is ended in the end."""
    made: list[Node] = []

    def make(*apps: App, libraries: Sequence[str] = (), at: str = "hello") -> Node:
        made.append(make_node(directory / at, interpreter, apps, libraries))
        return made[-1]

    try:
        yield make
    finally:
        for node in made:
            node.close()


def make_node(root: Path, interpreter: Interpreter, apps: Sequence[App], libraries: Sequence[str] = ()) -> Node:
    """Make a release of these applications and of installed distributions with all that they require."""
    make_release(root, interpreter, [app.distribution for app in apps])
    node = Node(root)
    _link_installed(root, libraries)
    (root / "bin").mkdir(exist_ok=True)
    for template, target in (
        ("name.sh", node.command),
        ("launcher.sh", node.version / "launcher"),
        ("env.sh", node.version / "env.sh"),
        ("python.args", node.version / "python.args"),
        ("remote.python.args", node.version / "remote.python.args"),
        ("systemd.service", node.version / "systemd.service"),
        ("systemd.socket", node.version / "systemd.socket"),
    ):
        text = (TEMPLATES / template).read_text(encoding="utf-8")
        for placeholder, value in (("NAME", "hello"), ("VERSION", "1")):
            text = text.replace(f"@RELEASE_{placeholder}@", value)
        for placeholder, value in command_table.placeholders().items():
            text = text.replace(placeholder, value)
        target.write_text(text.replace("@RUNTIME_DIRECTORY@", RUNTIME), encoding="utf-8")
        target.chmod(0o755)
    (root / "releases/start.data").write_text(f"{interpreter.version} 1\n")
    (node.version / "cookie.source").write_text('{"from": "node"}\n')
    node.configure()
    node.write_script(apps)
    return node


def _link_installed(root: Path, names: Sequence[str]) -> None:
    if not names:
        return
    place = root / "lib" / INSTALLED
    place.mkdir()
    index_file = root / "releases/1/code.index"
    index = json.loads(index_file.read_text())
    for distribution in closure(names):
        tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            (place / top).symlink_to(str(distribution.locate_file(top)))
            name = top.split(".")[0]
            if name.isidentifier() and not top.endswith(".dist-info"):
                index["top"].setdefault(name, [INSTALLED])
    index_file.write_text(json.dumps(index))


def closure(names: Sequence[str]) -> Iterator[importlib.metadata.Distribution]:
    """These installed distributions, and all that they require."""
    done: set[str] = set()
    todo = list(names)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in done:
            continue
        done.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # required on another system or for an extra
        yield distribution
        required = [each for each in distribution.requires or () if "extra ==" not in each]
        todo += [re.split(r"[^\w.-]", each, maxsplit=1)[0] for each in required]


def this_interpreter() -> Path:
    """The interpreter that runs the tests, outside of its virtual environment."""
    return Path(os.path.realpath(sys.executable))
