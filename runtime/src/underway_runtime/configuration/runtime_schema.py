"""The configuration of ``underway_runtime``: what underway itself reads, with its defaults, as the schema that it has to fit."""

from __future__ import annotations

from dataclasses import field

from ..frozen import Frozen
from ..process.settings import DRAIN_TIMEOUT, HANDOVER_TIMEOUT, START_TIMEOUT, STOP_TIMEOUT
from ..release.addresses import split


class Cluster(Frozen):
    """One node of a cluster; ``releases/V/cluster.py`` states it from the environment that bin/cluster makes."""

    mode: str = "local"
    name: str = ""
    """Of the node: ``wordcount_worker@beta``."""
    master: str | None = None
    """Of a worker: the address of its master, ``host:port``."""
    workers: list[str] = field(default_factory=list)
    """Of a master: the nodes that it waits for."""
    tags: list[str] = field(default_factory=list)
    listen: str | None = None
    """``address:port``."""
    certificates: str | None = None
    """The directory with ca.pem, node.pem and node.key; without it nothing leaves the machine."""
    deploy: str | None = None
    """An expression that the master evaluates when all workers have joined."""
    shutdown_with_master: bool = True
    shutdown_with_workers: bool = False
    log: bool = True
    join_timeout: float = 60.0

    def __post_init__(self) -> None:
        problems = []
        if self.mode not in ("local", "master", "worker"):
            problems.append(f"the mode is local, master or worker, not {self.mode!r}")
        if self.master is None and self.mode == "worker":
            problems.append("a worker needs its master: bin/cluster worker daemon HOST:PORT, or CLUSTER_MASTER")
        if self.master is not None and self.mode != "worker":
            problems.append(f"a worker has a master, and nothing else has one; this {self.mode} has {self.master!r}")
        try:
            split(self.master or "localhost:0")
        except ValueError as error:
            problems.append(f"the master is at host:port: {error}")
        if self.workers and self.mode != "master":
            problems.append(f"only a master waits for workers; this is a {self.mode}")
        if self.join_timeout <= 0:
            problems.append(f"join_timeout is more than 0 seconds, not {self.join_timeout:g}")
        if problems:
            raise ValueError("; ".join(problems))


class Runtime(Frozen):
    """Each field is a key; times are in seconds. docs/reference/commands.md says what they mean."""

    start_timeout: float = START_TIMEOUT
    stop_timeout: float = STOP_TIMEOUT
    drain_timeout: float = DRAIN_TIMEOUT
    handover_timeout: float = HANDOVER_TIMEOUT
    rpc: bool = True
    remote: bool = True
    eval: bool = True
    control_group: str | None = None
    metrics: str | None = None
    cluster: Cluster | None = None

    def __post_init__(self) -> None:
        timeouts = ("start_timeout", "stop_timeout", "drain_timeout", "handover_timeout")
        if wrong := [f"{name} is {value:g}" for name in timeouts if (value := getattr(self, name)) <= 0]:
            raise ValueError(f"a timeout is more than 0 seconds, and {', '.join(wrong)}")
