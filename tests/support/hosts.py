"""Hosts for tests: network namespaces with an sshd, a disk and a host key each, on a network that leads nowhere.

A host sees this machine's files, read-only below a disk of its own; what it writes is gone with it. What root's shell
does here when it starts, it does not do there: that may take longer than the commands of a test. Names and network
carry our pid, so sessions do not meet; what a killed one left, the next clears.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from code_server_helpers import TIMEOUT

_ENVIRON = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}
"""With the tools of the administrator, which may be off an ordinary PATH."""

_letters = itertools.cycle("abcdefghijklmnopqrstuvwyz")
"""For the networks of this process; x stands in names already."""

_INIT = """\
set -e
mkdir -p {disk}/upper {disk}/work {root}
mount -t overlay overlay -o lowerdir=/,upperdir={disk}/upper,workdir={disk}/work {root}
cd {root}
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs -o size=16m tmpfs tmp
mount -t tmpfs -o size=16m tmpfs run
mkdir -p run/sshd root/.ssh
chmod 700 root root/.ssh
hostname {name}
cp {base}/etc_hosts etc/hosts
cp {base}/id.pub root/.ssh/authorized_keys
rm -f root/.ssh/config root/.bash_profile root/.bash_login root/.profile
: >root/.bashrc
cp {place}/hostkey etc/ssh/hostkey
chmod 600 root/.ssh/authorized_keys etc/ssh/hostkey
exec chroot . /bin/sh -c '/usr/sbin/sshd -f /dev/null -D -e -h /etc/ssh/hostkey -o ListenAddress={address} \\
  -o PasswordAuthentication=no -o UsePAM=no -o MaxStartups=100 -o MaxSessions=100 -o UseDNS=no \\
  -o Subsystem="sftp internal-sftp"'
"""

_SSH_CONFIG = """\
Host *
  User root
  IdentityFile {base}/id
  IdentitiesOnly yes
  UserKnownHostsFile {base}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
"""


@dataclass
class Pretend:
    """One host."""

    name: str
    address: str
    place: Path
    netns: str
    link: str
    process: subprocess.Popen[bytes] | None = None


@dataclass
class Network:
    """The hosts, and how to reach them."""

    base: Path
    control: str
    """Our own address."""
    hosts: list[Pretend] = field(default_factory=list)

    @property
    def ssh_config(self) -> Path:
        return self.base / "ssh_config"

    @property
    def names(self) -> list[str]:
        return [host.name for host in self.hosts]

    def ssh(self, host: Pretend, *command: str, check: bool = True) -> str:
        """What a command prints there; its failure is the test's."""
        words = [
            "ssh",
            "-F",
            str(self.ssh_config),
            "-o",
            f"ConnectTimeout={TIMEOUT:.0f}",
            host.name,
            shlex.join(command),
        ]
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def cut(self, host: Pretend) -> None:
        """Pull the cable: nothing is refused, nothing arrives."""
        _run("ip", "link", "set", host.link, "down")

    def heal(self, host: Pretend) -> None:
        """And put it back."""
        _run("ip", "link", "set", host.link, "up")

    def rate(self, host: Pretend, megabit: int) -> None:
        """Let no more than this arrive there, in a second; 0 for all that there is."""
        with suppress(subprocess.CalledProcessError):
            _run("tc", "qdisc", "del", "dev", host.link, "root")
        if megabit:
            limit = ("tbf", "rate", f"{megabit}mbit", "burst", "64k", "latency", "200ms")
            _run("tc", "qdisc", "replace", "dev", host.link, "root", *limit)

    def crash(self, host: Pretend) -> None:
        """End everything there at once; its disk stays."""
        _end(host)

    def boot(self, host: Pretend) -> None:
        """Start it, again after `crash`; returns when it can be reached."""
        init = _INIT.format(
            base=self.base, place=host.place, root=host.place / "root", disk=host.place / "disk", **_shown(host)
        )
        words = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", host.netns]
        words += ["unshare", "-m", "-u", "-i", "-p", "-f", "--kill-child", "/bin/sh", "-c", init]
        with (host.place / "console").open("ab") as console:
            host.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=_ENVIRON
            )
        deadline = time.monotonic() + TIMEOUT
        while True:
            with suppress(OSError), socket.create_connection((host.address, 22), timeout=5):
                return
            assert host.process.poll() is None, (host.place / "console").read_text()
            assert time.monotonic() < deadline, (host.place / "console").read_text()
            time.sleep(0.02)  # until sshd listens; there is no event to wait for from outside


@contextmanager
def network(base: Path, count: int, disk: str = "512m") -> Iterator[Network]:
    """So many hosts, called host1 and so on, each with a disk of this size; skips where there is no right to make them."""
    if os.geteuid() != 0:
        pytest.skip("hosts of their own need root")
    sweep()
    own = f"{os.getpid()}{next(_letters)}"
    bridge = f"uwb{own}"
    base.mkdir(parents=True, exist_ok=True)
    made = Network(base, "")
    try:
        with _one_at_a_time():
            net = _free_network()
            made.control = f"{net}.1"
            _begin(bridge, made.control)
        _key(base / "id")
        for number in range(1, count + 1):
            place = base / f"host{number}"
            (place / "disk").mkdir(parents=True)
            link = f"uw{own}v{number}"
            host = Pretend(f"host{number}", f"{net}.{10 + number}", place, f"uw{own}x{number}", link)
            made.hosts.append(host)
            _run("mount", "-t", "tmpfs", "-o", f"size={disk},mode=755", "tmpfs", str(place / "disk"))
            _key(place / "hostkey")
            _connect(host, bridge)
        _write(made)
        for host in made.hosts:
            made.boot(host)
        yield made
    except subprocess.CalledProcessError as error:
        if "not permitted" not in str(error.stderr):
            raise
        pytest.skip(f"hosts of their own can't be made here: {error.stderr.strip()}")
    finally:
        for host in made.hosts:
            _end(host)
            _quietly("ip", "link", "del", host.link)
            _quietly("umount", "-l", str(host.place / "disk"))
        _clear(own)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Between the look for a free network and its being taken: two sessions, or two networks of one, would find the same."""
    descriptor = os.open("/run", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sweep() -> None:
    """Clear what sessions left that are no more."""
    names = _namespaces() + re.findall(r"^\d+: (uw\w+)", _run("ip", "-o", "link"), re.MULTILINE)
    for own, pid in {(found[1], found[2]) for name in names if (found := re.match(r"uwb?((\d+)[a-z])", name))}:
        if not Path(f"/proc/{pid}").exists():
            _clear(own)


def _begin(bridge: str, control: str) -> None:
    _run("ip", "link", "add", bridge, "type", "bridge")
    _run("ip", "addr", "add", f"{control}/24", "dev", bridge)
    _run("ip", "link", "set", bridge, "up")


def _connect(host: Pretend, bridge: str) -> None:
    _run("ip", "netns", "add", host.netns)
    _run("ip", "link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", host.netns)
    _run("ip", "link", "set", host.link, "master", bridge, "up")
    for words in (("addr", "add", f"{host.address}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
        _run("ip", "-n", host.netns, *words)
    _run("ip", "-n", host.netns, "link", "set", "lo", "up")


def _write(made: Network) -> None:
    names = [f"{host.address} {host.name}" for host in made.hosts]
    (made.base / "etc_hosts").write_text("\n".join(["127.0.0.1 localhost", *names, f"{made.control} control", ""]))
    keys = []
    for host in made.hosts:
        kind, key, *_ = (host.place / "hostkey.pub").read_text().split()
        keys.append(f"{host.name},{host.address} {kind} {key}\n")
    (made.base / "known_hosts").write_text("".join(keys))
    aliases = "".join(
        f"Host {host.name}\n  HostName {host.address}\n  HostKeyAlias {host.name}\n" for host in made.hosts
    )
    made.ssh_config.write_text(aliases + _SSH_CONFIG.format(base=made.base))


def _shown(host: Pretend) -> dict[str, str]:
    return {"name": host.name, "address": host.address}


def _key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True, timeout=TIMEOUT)


def _end(host: Pretend) -> None:
    if host.process is not None:
        host.process.send_signal(signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            host.process.wait(TIMEOUT)
        host.process = None
        # Its children end after it, and a socket that listens even after its process; nothing tells us when.
        deadline = time.monotonic() + TIMEOUT
        sockets = ("ip", "netns", "exec", host.netns, "cat", "/proc/net/tcp")
        while (
            _run("ip", "netns", "pids", host.netns).strip() or " 0A " in _run(*sockets)
        ) and time.monotonic() < deadline:
            time.sleep(0.01)


def _clear(own: str) -> None:
    for name in _namespaces():
        if name.startswith(f"uw{own}x"):
            for process in _run("ip", "netns", "pids", name).split():
                with suppress(ProcessLookupError):
                    os.kill(int(process), signal.SIGKILL)
            _quietly("ip", "link", "del", name.replace("x", "v"))
            _quietly("ip", "netns", "del", name)
    _quietly("ip", "link", "del", f"uwb{own}")


def _namespaces() -> list[str]:
    place = Path("/run/netns")
    return [entry.name for entry in place.iterdir() if entry.name.startswith("uw")] if place.is_dir() else []


def _free_network() -> str:
    taken = _run("ip", "-o", "-4", "addr")
    for number in itertools.count(os.getpid()):
        net = f"10.{64 + (number >> 8) % 128}.{number % 256}"
        if f" {net}." not in taken:
            return net
    raise AssertionError


def _run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=TIMEOUT, env=_ENVIRON).stdout


def _quietly(*words: str) -> None:
    subprocess.run(words, check=False, capture_output=True, timeout=TIMEOUT, env=_ENVIRON)
