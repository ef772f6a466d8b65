"""A release to 8 hosts, whole and after one changed line, next to ssh + tar, rsync, pyinfra and ansible; needs root.

The hosts are namespaces with an sshd and a disk in memory each. All ways get the same tree, and the archive where they
send one; only ours looks at the hosts first, and verifies what has arrived. Bytes are counted at the hosts' cables.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from _charts import Bar, Panel, draw
from _measure import PLOTS, REPOSITORY, TOOLS, rounds, run, scratch_project

sys.path[:0] = [str(REPOSITORY / "tests/support")]
from hosts import Network, network  # noqa: E402  # it is the tests' own

HOSTS = 8
PYTHON = "/usr/bin/python3"
PEERS = ["ansible-core==2.19.*", "pyinfra==3.*"]
FULL_AIM, ANSIBLE_AIM, LINE_AIM, BYTES_AIM = 1.3, 3.0, 0.5, 0.1
STEPS = """
[tool.underway]
steps = ["underway.steps.cluster:step", "underway.steps:assemble", "underway.steps:tar"]
"""


@dataclass
class Way:
    """One way to bring a version to all hosts, and what it took: seconds and bytes, first in full, then after a line."""

    name: str
    send: Callable[[str], None]
    full: list[tuple[float, float]] = field(default_factory=list)
    line: list[tuple[float, float]] = field(default_factory=list)


def main() -> None:
    """Each way in each round, on empty disks."""
    if os.geteuid() != 0 or shutil.which("sshd", path="/usr/sbin:/usr/bin") is None:
        print("not measured, for want of root or of sshd (apt install openssh-server): a release to hosts")
        return
    with scratch_project() as project, tempfile.TemporaryDirectory(prefix="uwb-") as scratch:
        release = two_versions(project)
        peers = Path(scratch, "peers")
        run(TOOLS / "uv", "venv", "--quiet", peers, cwd=project)
        run(TOOLS / "uv", "pip", "install", "--quiet", "--python", peers / "bin/python", *PEERS, cwd=project)
        ways: list[Way] = []
        for _ in range(rounds(3)):
            with network(Path(scratch, "net"), HOSTS, "1g") as net:
                found = [*all_ways(release, peers, net, Path(scratch))]
                ways = ways or [Way(name, send) for name, send in found]
                for way, (_, send) in zip(ways, found, strict=True):
                    way.full.append(measured(net, send, "0.1.0"))
                    way.line.append(measured(net, send, "0.1.1"))
            shutil.rmtree(Path(scratch, "net"))
        tell(ways)


def two_versions(project: Path) -> Path:
    """A release directory with 0.1.0 and 0.1.1, between which one line differs, and the archives of both next to it."""
    pyproject, source = project / "pyproject.toml", project / "src/chat/rooms.py"
    pyproject.write_text(pyproject.read_text().replace("\n[tool.underway]\n", STEPS))
    build: list[str | Path] = [TOOLS / "underway", "release", "--quiet", "--overwrite", "--python", sys.executable]
    run(*build, cwd=project)
    source.write_text(source.read_text() + "\nCHANGED = True\n")
    pyproject.write_text(pyproject.read_text().replace('version = "0.1.0"', 'version = "0.1.1"'))
    run(TOOLS / "uv", "lock", "--quiet", cwd=project)
    run(*build, cwd=project)
    return project / "build/release/chat"


def all_ways(release: Path, peers: Path, net: Network, scratch: Path) -> Iterator[tuple[str, Callable[[str], None]]]:
    """Each way by its name."""
    names = [host.name for host in net.hosts]
    ssh = ["ssh", "-F", str(net.ssh_config), "-o", "ControlMaster=auto", "-o", "ControlPersist=30"]
    ssh += ["-o", f"ControlPath={scratch}/m-%C"]

    def ours(version: str) -> None:
        command: list[str | Path] = [
            release / "bin/cluster",
            "deploy",
            *names,
            "--copy-only",
            "--quiet",
            "--directory",
            "/srv/ours/chat",
        ]
        do([[*command, "--ssh-config", net.ssh_config]], env={"RELEASE_VSN": version})

    def tar(version: str) -> None:
        archive = release.with_name(f"chat-{version}.tar.zst")
        unpack = "mkdir -p /srv/tar && zstd -dc | tar -xf - -C /srv/tar"
        do([[*ssh, name, unpack] for name in names], feed=archive)

    def rsync(version: str) -> None:
        shell = " ".join(ssh)
        hide = [] if version == "0.1.1" else ["--exclude", "*0.1.1*"]
        words = ["rsync", "-a", "--mkpath", "--exclude", "var", *hide, "-e", shell, f"{release}/"]
        do([[*words, f"{name}:/srv/rsync/chat/"] for name in names])

    def pyinfra(version: str) -> None:
        archive = release.with_name(f"chat-{version}.tar.zst")
        deploy = scratch / "deploy.py"
        deploy.write_text(
            "from pyinfra.operations import files, server\n"
            f"files.put(src={str(archive)!r}, dest='/srv/pyinfra-{version}.tar.zst')\n"
            f"server.shell(['mkdir -p /srv/pyinfra && tar --zstd -xf /srv/pyinfra-{version}.tar.zst -C /srv/pyinfra'])\n"
        )
        inventory = scratch / "inventory.py"
        options = {
            "ssh_user": "root",
            "ssh_key": str(net.base / "id"),
            "ssh_known_hosts_file": str(net.base / "known_hosts"),
        }
        inventory.write_text(f"hosts = {[(host.address, options) for host in net.hosts]!r}\n")
        do([[peers / "bin/pyinfra", "-y", inventory, deploy]], env={"HOME": str(net.base)})

    def ansible(version: str) -> None:
        archive = release.with_name(f"chat-{version}.tar.zst")
        arguments = f"-F {net.ssh_config} -o ControlMaster=auto -o ControlPersist=30"
        where = ["-i", ",".join(names) + ",", "-f", str(HOSTS), "-e", f"ansible_python_interpreter={PYTHON}"]
        module = ["-m", "unarchive", "-a", f"src={archive} dest=/srv/ansible"]
        made = ["-m", "file", "-a", "path=/srv/ansible state=directory"]
        base: list[str | Path] = [peers / "bin/ansible", "all", *where, f"--ssh-common-args={arguments}"]
        home = {"HOME": str(net.base), "ANSIBLE_HOME": str(scratch / "ansible")}
        do([[*base, *made]], env=home)
        do([[*base, *module]], env=home)

    yield "underway", ours
    yield "ssh + tar", tar
    if shutil.which("rsync") is None:
        print("not measured, for want of rsync (apt install rsync)")
    else:
        yield "rsync", rsync
    yield "pyinfra", pyinfra
    yield "ansible", ansible


def do(commands: Sequence[Sequence[str | Path]], feed: Path | None = None, env: Mapping[str, str] = {}) -> None:
    """Run commands at once, which must succeed."""
    with tempfile.TemporaryFile("w+") as log, opened(feed) as sources:
        running = [
            subprocess.Popen(
                command, stdin=next(sources), stdout=log, stderr=log, env={**os.environ, "LC_ALL": "C.UTF-8", **env}
            )
            for command in commands
        ]
        statuses = [process.wait(300) for process in running]
        if any(statuses):
            log.seek(0)
            sys.exit(f"{' '.join(map(str, commands[0]))} ended with {statuses}\n{log.read()}")


@contextmanager
def opened(feed: Path | None) -> Iterator[Iterator[int]]:
    """Descriptors of a file, or of nothing, each at its beginning."""
    made: list[int] = []

    def descriptors() -> Iterator[int]:
        while True:
            made.append(os.open(feed or os.devnull, os.O_RDONLY))
            yield made[-1]

    try:
        yield descriptors()
    finally:
        for descriptor in made:
            os.close(descriptor)


def measured(net: Network, send: Callable[[str], None], version: str) -> tuple[float, float]:
    """Seconds, and bytes that went to the hosts."""
    sent, began = cables(net), time.perf_counter()
    send(version)
    return time.perf_counter() - began, cables(net) - sent


def cables(net: Network) -> int:
    """What has gone to the hosts since they are there."""
    return sum(int(Path(f"/sys/class/net/{host.link}/statistics/tx_bytes").read_text()) for host in net.hosts)


def tell(ways: list[Way]) -> None:
    """Print medians and ratios next to the aims, and draw them."""
    load = f"{os.getloadavg()[0]:.1f}"
    title = f"A release to {HOSTS} hosts ({len(ways[0].full)} rounds, {os.cpu_count()} processors, load {load})"
    print(f"\n{title}")
    seconds = {way.name: (median(s for s, _ in way.full), median(s for s, _ in way.line)) for way in ways}
    sizes = {way.name: (median(b for _, b in way.full), median(b for _, b in way.line)) for way in ways}
    for name, (full, line) in seconds.items():
        sent = " ".join(f"{size / 1e6:8.2f} MB" for size in sizes[name])
        print(f"  {name:10} full {full:6.2f} s   one line {line:6.2f} s   {sent}")
    full, line = seconds["underway"]
    for what, value, aim in (
        ("full copy, to ssh + tar", full / seconds["ssh + tar"][0], f"at most {FULL_AIM}"),
        ("ansible's full copy, to ours", seconds["ansible"][0] / full, f"at least {ANSIBLE_AIM}"),
        ("one line, time to that of a full copy", line / full, f"under {LINE_AIM}"),
        (
            "one line, bytes to those of a full copy",
            sizes["underway"][1] / sizes["underway"][0],
            f"at most {BYTES_AIM}",
        ),
    ):
        print(f"  {what}: {value:.2f}; aim: {aim}")
    panels = [
        Panel(what, [bar(way, values, number) for way, values in rows], aim)
        for number, (what, rows, aim) in enumerate(
            (
                ("all of it, seconds", [(w, [s for s, _ in w.full]) for w in ways], FULL_AIM * seconds["ssh + tar"][0]),
                ("one changed line, seconds", [(w, [s for s, _ in w.line]) for w in ways], LINE_AIM * full),
                (
                    "one changed line, MB sent",
                    [(w, [b / 1e6 for _, b in w.line]) for w in ways],
                    BYTES_AIM * sizes["underway"][0] / 1e6,
                ),
            )
        )
    ]
    PLOTS.mkdir(parents=True, exist_ok=True)
    (PLOTS / "deploy.svg").write_text(draw(title, __doc__ or "", panels), encoding="utf-8")
    (PLOTS / "deploy.json").write_text(json.dumps({way.name: vars(way) for way in ways}, default=str, indent=1))
    print("  build/bench/deploy.svg")


def bar(way: Way, values: list[float], number: int) -> Bar:
    """One way in one panel."""
    unit = "MB" if number == 2 else "s"
    return Bar(way.name, values, f"{median(values):.2f} {unit}", ours=way.name == "underway")


if __name__ == "__main__":
    main()
