"""What a deploy runs, on hosts and here, as lists of words: says it, and does nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...release.manifest import Manifest
from ..answers import LIMITED, UNLIMITED
from ..inventory import Host

_HERE = Path(__file__).parent
_MARK = "CLUSTER_BEGUN_BY"
"""A variable of the processes that one deploy has started."""
_WITH_COOKIE = (
    f'limit=$1; shift; {LIMITED} IFS= read -r RELEASE_COOKIE || exit 1; {UNLIMITED} export RELEASE_COOKIE; exec "$@"'
)


@dataclass(frozen=True)
class Installed:
    """A release at its place on a host, or here."""

    directory: str
    name: str
    version: str
    """Empty for the one that boots there."""

    def cluster(self, *words: str) -> list[str]:
        """``bin/cluster`` of this very version, whichever boots there."""
        of_version = ["env", f"RELEASE_VSN={self.version}"] if self.version else []
        return [*of_version, f"{self.directory}/bin/cluster", *words]


@dataclass(frozen=True)
class Settings:
    """How nodes are started."""

    deploy: str | None = None
    log: bool = True
    working_dir: str | None = None
    shutdown_with_master: bool = True
    shutdown_with_workers: bool = False
    timeout: float | None = None
    """Seconds that the workers get to join."""


def preflight(directory: str, loader: str) -> list[str]:
    """What the host is like."""
    return ["sh", "-c", _script("preflight"), "preflight", directory, loader]


def receive(directory: str, manifest: Manifest, tool: str, limit: float, signature: str) -> list[str]:
    """Receive a whole release from standard input, in `limit` seconds, for a host that has none."""
    release = (directory, manifest.name, manifest.release_id, tool, manifest.version, manifest.target)
    return ["sh", "-c", _script("limited") + _script("receive"), "receive", *release, f"{limit:g}", signature]


def update(directory: str, name: str, file: str, sha256: str, limit: float, signature: str) -> list[str]:
    """An archive or delta from standard input, in `limit` seconds, for a host that has another version."""
    told = (directory, name, file, sha256, f"{limit:g}", signature)
    return ["sh", "-c", _script("limited") + _script("update"), "update", *told]


def worker(installed: Installed, host: Host, master: str, listen: str, settings: Settings) -> list[str]:
    """Start a worker; it returns when the worker is ready to join."""
    return installed.cluster(
        *("worker", "daemon", master, "--name", host.node(installed.name), "--listen", listen),
        *(word for tag in host.tags for word in ("--tag", tag)),
        *_common(settings),
        *([] if settings.shutdown_with_master else ["--no-shutdown-with-master"]),
    )


def master(here: Installed, node: str, mode: str, listen: str, workers: list[str], settings: Settings) -> list[str]:
    """Start the master; as a daemon it returns when all workers have joined."""
    return here.cluster(
        *("master", *mode.split(), *workers, "--name", node, "--listen", listen),
        *([] if settings.deploy is None else [f"--deploy={settings.deploy}"]),
        *([] if settings.timeout is None else ["--within", f"{settings.timeout:g}"]),
        *_common(settings),
        *(["--shutdown-with-workers"] if settings.shutdown_with_workers else []),
    )


def begun(command: list[str], node: str, mark: str) -> list[str]:
    """The same command, which starts a node whose processes can be found again by a mark."""
    return ["env", _marked(node, mark), *command]


def end(installed: Installed, var: str, role: str, node: str, mark: str, timeout: float) -> list[str]:
    """End what was begun with a mark, however far it has come; it returns when nothing of that runs."""
    words = [var, node, _marked(node, mark), f"{timeout:.0f}", *stop(installed, role, node)]
    return ["sh", "-c", _script("end"), "end", *words]


def stop(installed: Installed, role: str, node: str) -> list[str]:
    """Stop a node; it returns when that has stopped."""
    return installed.cluster(role, "stop", "--name", node)


def commit(installed: Installed, role: str, node: str) -> list[str]:
    """Make the version that a node runs the one that boots there."""
    return installed.cluster(role, "run", "--name", node, "commit")


def request(installed: Installed, node: str, host: str) -> list[str]:
    """Make a node's key there, and print what an authority has to sign."""
    return installed.cluster("certificate", "request", node, host)


def certify(installed: Installed, node: str, limit: float) -> list[str]:
    """Take a node's certificate, with that of the authority and the list of removed hosts, from standard input, within `limit` seconds."""
    return installed.cluster("certificate", "install", node, f"{limit:g}")


def with_cookie(command: list[str], limit: float) -> list[str]:
    """The same command with a cookie, which is the first line of standard input, within `limit` seconds: a secret is in no list of
    words."""
    return ["sh", "-c", _WITH_COOKIE, "with-cookie", f"{limit:g}", *command]


def _marked(node: str, mark: str) -> str:
    return f"{_MARK}={mark}/{node}/"  # what follows ends the name: one host may see the processes of another


def _common(settings: Settings) -> list[str]:
    where = [] if settings.working_dir is None else [f"--working-dir={settings.working_dir}"]
    return [*where, *([] if settings.log else ["--no-log"])]


def _script(name: str) -> str:
    return _HERE.joinpath(f"{name}.sh").read_text(encoding="utf-8")
