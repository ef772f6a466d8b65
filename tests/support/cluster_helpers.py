"""Clusters of real nodes on this machine: one small release, a process and an address of 127.0.0.0/8 for each node."""

from __future__ import annotations

import compileall
import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from code_server_helpers import Distribution
from node_helpers import TIMEOUT, App, MakeNode, Node, closure
from ports import free_port
from sources import source
from underway.project import new
from underway.steps.cluster import FIRST
from underway_runtime.cluster import certificates
from underway_runtime.release import boot_script
from underway_runtime.release.boot_script import Load, PrimLoad, Start

LIBRARIES = ("distributed", "cryptography")
PATIENCE = 90.0
"""Seconds for anything that a node does: on a machine that is busy with other things."""
CLASS = "underway_runtime.cluster.application:Cluster"

CREW = App("crew", source("crew/v1/crew.py"), {"class": "crew:Crew"})
"""What the nodes can be asked to do."""


@cache
def compile_libraries() -> None:
    """Give the engine its byte code, as a release has it: else each node that is started compiles 300 modules again."""
    for distribution in closure(LIBRARIES):
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0].isidentifier()}:
            compileall.compile_dir(str(distribution.locate_file(top)), quiet=2)


class Stream(App):
    """The application of a new project, as `underway new --template stream` makes it."""

    @property
    def distribution(self) -> Distribution:
        with tempfile.TemporaryDirectory() as scratch:
            new.make(Path(scratch, self.name), "stream", lock=False)
            place = Path(scratch, self.name, "src")
            modules = {str(file.relative_to(place)): file.read_text() for file in place.rglob("*.py")}
        return Distribution(self.name, "1.0", modules)


WORDCOUNT = Stream("wordcount", mode="load", preload=False)


class Nodes:
    """The nodes of one cluster, all from one release."""

    def __init__(self, make: MakeNode, *apps: App, at: str = "hello", libraries: Sequence[str] = LIBRARIES) -> None:
        self.release = make(*(apps or (CREW,)), libraries=libraries, at=at)
        compile_libraries()
        self.port = free_port()
        self.secrets = self.release.root.parent / f"secrets-{at}"
        certificates.make_authority(self.secrets / "authority", "hello")
        start_cluster(self.release)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def certificate(self, name: str, host: str, role: str) -> Path:
        """What a node shows to others."""
        place = self.secrets / name
        leaf = certificates.sign(self.secrets / "authority", certificates.request(place, host), hosts=[host], role=role)
        certificates.install(place, leaf, (self.secrets / "authority" / "ca.pem").read_bytes())
        return place

    def section(self, name: str, host: str, mode: str, **more: Any) -> dict[str, Any]:
        """The configuration of a node, with a certificate of its own."""
        section: dict[str, Any] = {"mode": mode, "name": name}
        if mode != "local":
            section["certificates"] = str(self.certificate(name, host, mode))
            section["listen"] = self.address if mode == "master" else f"{host}:0"
        if mode == "worker":
            section["master"] = self.address
        return section | more

    def start(self, section: dict[str, Any], environ: dict[str, str] | None = None) -> Member:
        """Start a node."""
        return Member(self.release, section, environ or {})

    def master(self, workers: Sequence[str] = (), **more: Any) -> Member:
        return self.start(self.section("master", "127.0.0.1", "master", workers=list(workers), **more))

    def worker(self, number: int, *tags: str, **more: Any) -> Member:
        """A worker called ``w1`` and so on, with an address of its own."""
        return self.start(self.section(f"w{number}", f"127.0.0.{number + 1}", "worker", tags=list(tags), **more))


class Member:
    """A node of a cluster that was started."""

    def __init__(self, release: Node, section: dict[str, Any], environ: dict[str, str]) -> None:
        self.name = str(section["name"])
        self.var = release.root.parent / "var" / self.name
        self.log = self.var / f"output-{len(release.processes)}"
        self.var.mkdir(parents=True, exist_ok=True)
        variables = {
            "RELEASE_VAR": str(self.var),
            "UW__CLUSTER": json.dumps(section),
            "HOME": str(release.root.parent),
            **environ,
        }
        self.release = replace(release, environ=variables)
        with self.log.open("ab") as output:
            self.process = self.release.spawn("start", stdout=output, stderr=output)
        release.processes.append(self.process)

    def says(self, text: str) -> str:
        """Wait until it has said that; all that it has said."""
        return self._until(lambda: text in self.log.read_text(), f"{self.name} says {text!r}")

    def ready(self) -> Member:
        """Wait until all of it has started."""
        self.says("crew is ready")
        return self

    def _until(self, happened: Callable[[], bool], what: str) -> str:
        end = time.monotonic() + PATIENCE
        while not happened():
            output = self.log.read_text()
            if self.process.poll() is not None and not happened():
                raise AssertionError(f"{self.name} ended with {self.process.returncode}, and never: {what}\n{output}")
            assert time.monotonic() < end, f"never: {what}\n{output}"
            time.sleep(0.05)  # a file has no event to wait for
        return self.log.read_text()

    def rpc(self, code: str) -> str:
        """What a piece of code prints in the node; it may await, and knows `cluster` and `crew`."""
        prelude = "from underway_runtime import cluster; import crew\n"
        asking = self.release.spawn("rpc", prelude + code)
        out, err = asking.communicate(timeout=PATIENCE)
        assert asking.returncode == 0, err + self.log.read_text()
        return out.strip()

    @property
    def node(self) -> int:
        """The pid of the node."""
        pid: int = json.loads((self.var / "run/lock").read_text())["node"]
        return pid

    def serving(self) -> Member:
        """Wait until it says of itself that it runs: also where no application of it says so."""
        self._until(lambda: self.asked("status", "--json").returncode == 0 and self.state == "running", "it runs")
        return self

    @property
    def state(self) -> str:
        """What it says of itself."""
        done = self.asked("status", "--json")
        assert done.returncode == 0, done.stderr + self.log.read_text()
        state: str = json.loads(done.stdout)["state"]
        return state

    def asked(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of bin/NAME for this node, whatever comes of it."""
        asking = self.release.spawn(*words)
        out, err = asking.communicate(timeout=2 * PATIENCE)
        return subprocess.CompletedProcess(asking.args, asking.returncode, out, err)

    def gracefully(self) -> None:
        """Hand over to another node of its version."""
        done = self.asked("restart", "--graceful")
        assert done.returncode == 0, done.stderr + self.log.read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the node, not to its keeper."""
        os.kill(self.node, number)

    def ends(self) -> int:
        """Wait for its end; the status."""
        return self.process.wait(timeout=PATIENCE)


def start_cluster(release: Node) -> None:
    """Have the release start what makes its nodes a cluster, from the variable UW__CLUSTER."""
    script = boot_script.read(release.script)
    first = next(i for i, each in enumerate(script.instructions) if isinstance(each, Load))
    instructions = list(script.instructions)
    instructions[first:first] = [Load("underway_runtime", "1.0", (), {"class": CLASS})]
    loads = max(i for i, each in enumerate(instructions) if isinstance(each, Load)) + 1
    instructions[loads:loads] = [PrimLoad("underway_runtime", (FIRST,))]
    starts = [i for i, each in enumerate(instructions) if isinstance(each, Start)]
    at = starts[0] if starts else len(instructions)
    instructions[at:at] = [Start("underway_runtime", "permanent")]
    release.script.write_text(boot_script.dump(replace(script, instructions=tuple(instructions))))
    provider = ["underway_runtime.providers:Environment", {"prefix": "UW", "application": "underway_runtime"}]
    (release.version / "sys.config").write_text(json.dumps({"format": 1, "config": {}, "providers": [provider]}))


def ended(source: socket.socket) -> bool:
    """Wait until the other side has let go."""
    source.settimeout(TIMEOUT)
    with contextlib.suppress(OSError):
        while source.recv(65536):
            pass
    return True


@contextlib.contextmanager
def answering(listener: socket.socket, answer: Callable[[socket.socket], object]) -> Iterator[None]:
    """Answer whoever connects, until it lets go: a worker that had no processor in its time to connect calls again."""

    def serve() -> None:
        while not over.is_set():
            try:
                caller, _ = listener.accept()
            except OSError:
                continue  # it had let go before it was met, or `over` is set
            with caller, contextlib.suppress(OSError, EOFError):
                caller.settimeout(TIMEOUT)
                answer(caller)
                ended(caller)

    over = threading.Event()
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(TIMEOUT)
