"""A cluster on hosts of its own, over SSH: a release with the engine, and what tests ask of it."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

from hosts import Network, Pretend
from once import made_once
from projects import build, write_project
from sources import source

TIMEOUT = 110.0
PLACE = "/srv/crew"
TOOL = """\
[tool.underway]
main = "crew:main"
steps = [
    "underway.steps:pre_assemble",
    "underway.steps.cluster:step",
    "underway.steps:assemble",
    "underway.steps:post_assemble",
    "underway.steps:tar",
]

[tool.underway.cluster]
directory = "/srv/crew"
hosts = ["host1:a", "host2:a,b", "second@host3:c"]
limits = { connect = 10 }
"""
CREW = source("hosts/v1/crew.py")
EVERYBODY = ["crew_worker@host1", "crew_worker@host2", "second@host3"]


def two_versions() -> Path:
    """The release, as 0.1.0 and 0.1.1 in one directory; all who ask have the same, and leave it as it is."""
    return made_once("crew", _build) / "build/release/crew"


def _build(root: Path) -> None:
    for version in ("0.1.0", "0.1.1"):
        needs = ["distributed>=2026.3", "cryptography>=45"]
        write_project(root, TOOL, {"src/crew/__init__.py": CREW}, name="crew", version=version, dependencies=needs)
        build(root)


class Cluster:
    """The release at its three hosts, with the master here."""

    def __init__(self, release: Path, net: Network, var: Path) -> None:
        self.release = release
        self.net = net
        self.var = var
        self.started: list[subprocess.Popen[str]] = []

    def spawn(self, *words: str, version: str = "0.1.0") -> subprocess.Popen[str]:
        environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.net.base), "RELEASE_VSN": version}
        process = subprocess.Popen(
            [str(self.release / "bin/cluster"), *words],
            env={**environ, "RELEASE_VAR": str(self.var)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.var.parent,
        )
        self.started.append(process)
        return process

    def run(self, *words: str, version: str = "0.1.0") -> subprocess.CompletedProcess[str]:
        process = self.spawn(*words, version=version)
        out, err = process.communicate(timeout=TIMEOUT)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def deploy(self, *words: str, version: str = "0.1.0") -> subprocess.CompletedProcess[str]:
        """``bin/cluster deploy`` to the hosts that the release was built with."""
        return self.run("deploy", *words, "--ssh-config", str(self.net.ssh_config), version=version)

    def nodes(self, host: Pretend) -> list[str]:
        """The command lines of the keepers that run there."""
        lines = self.net.ssh(
            host, "sh", "-c", "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f; echo; done", check=False
        )
        return [line for line in lines.splitlines() if "keeper" in line]

    def members(self) -> list[str]:
        """Who the master says is there."""
        code = "from underway_runtime import cluster; [each.name for each in cluster.members()]"
        done = self.run("master", "run", "rpc", code)
        if done.returncode == 7 and "NoCluster" in done.stderr:
            return []  # it is on its way
        assert done.returncode == 0, done.stderr
        found: list[str] = ast.literal_eval(done.stdout)
        return sorted(found)

    def close(self) -> None:
        self.run("master", "stop")
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()
        for host in self.net.hosts:
            self.net.heal(host)
            self.net.crash(host)
            for var in (f"{PLACE}/var", "/var/lib/crew"):  # the next one has an authority of its own
                shutil.rmtree(f"{host.place}/disk/upper{var}/cluster", ignore_errors=True)
            self.net.boot(host)
