"""Clusters of real nodes on this machine: one small release, a process and an address of 127.0.0.0/8 for each node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from node_helpers import App, MakeNode, Node, Process, eventually
from projects import free_port
from underway_runtime.cluster import certificates
from underway_runtime.release import bootscript
from underway_runtime.release.bootscript import Load, Start

LIBRARIES = ("distributed", "cryptography")
CLASS = "underway_runtime.cluster.application:Cluster"

CREW = App(
    "crew",
    """
    import os
    import time
    from underway_runtime import cluster

    class Counter:
        def __init__(self, start=0):
            self.count = start

        def add(self, number):
            self.count += number
            return self.count

        async def slowly(self, seconds):
            import asyncio
            await asyncio.sleep(seconds)

    def pid():
        return os.getpid()

    def environment(name):
        return os.environ.get(name)

    def fail():
        raise ValueError("on purpose")

    async def deploy():
        print("deployed on", await cluster.run(pid), flush=True)
    """,
    preload=False,
    mode="load",
)
"""What the nodes can be asked to do."""


class Nodes:
    """The nodes of one cluster, all from one release."""

    def __init__(self, make: MakeNode, *apps: App, at: str = "hello", libraries: Sequence[str] = LIBRARIES) -> None:
        self.release = make(*(apps or (CREW,)), libraries=libraries, at=at)
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
        self._release = release
        self.name = str(section["name"])
        self.var = release.root.parent / "var" / self.name
        self.log = self.var / "output"
        self.var.mkdir(parents=True, exist_ok=True)
        self.environ = {
            "RELEASE_VAR": str(self.var),
            "UW__CLUSTER": json.dumps(section),
            "HOME": str(release.root.parent),
            **environ,
        }
        self.process = self._spawn("start")

    def _spawn(self, *arguments: str) -> Process:
        release = replace(self._release, environ=self.environ)
        with self.log.open("ab") as output:
            return release.spawn(*arguments, stdout=output, stderr=output)

    def says(self, text: str) -> str:
        """Wait until it has said that; all that it has said."""

        def said() -> str | None:
            output = self.log.read_text()
            if text not in output and self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.process.returncode} without {text!r}:\n{output}")
            return output if text in output else None

        output: str = eventually(said, f"{self.name} says {text!r}")
        return output

    def ready(self) -> Member:
        """Wait until it runs."""

        def runs() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log.read_text()}")
            done = self._command("status", "--json")
            return done.returncode == 0 and json.loads(done.stdout)["state"] == "running"

        eventually(runs, f"{self.name} runs")
        return self

    def _command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return replace(self._release, environ=self.environ).run(*arguments)

    def rpc(self, code: str) -> str:
        """What a piece of code prints in the node; it may await, and knows `cluster` and `crew`."""
        prelude = "import crew; from underway_runtime import cluster\n"
        done = self._command("rpc", prelude + code)
        assert done.returncode == 0, done.stderr + self.log.read_text()
        return done.stdout.strip()

    @property
    def node(self) -> int:
        """The pid of the node."""
        pid: int = json.loads((self.var / "run/lock").read_text())["node"]
        return pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the node, not to its keeper."""
        os.kill(self.node, number)

    def ends(self) -> int:
        """Wait for its end; the status."""
        return self.process.wait(timeout=30)


def start_cluster(release: Node) -> None:
    """Have the release start what makes its nodes a cluster, from the variable UW__CLUSTER."""
    script = bootscript.read(release.script)
    first = next(i for i, each in enumerate(script.instructions) if isinstance(each, Load))
    instructions = list(script.instructions)
    instructions[first:first] = [Load("underway_runtime", "1.0", (), {"class": CLASS})]
    starts = [i for i, each in enumerate(instructions) if isinstance(each, Start)]
    at = starts[0] if starts else len(instructions)
    instructions[at:at] = [Start("underway_runtime", "permanent")]
    release.script.write_text(bootscript.dump(replace(script, instructions=tuple(instructions))))
    provider = ["underway_runtime.providers:Environment", {"prefix": "UW", "application": "underway_runtime"}]
    (release.version / "sys.config").write_text(json.dumps({"format": 1, "config": {}, "providers": [provider]}))
