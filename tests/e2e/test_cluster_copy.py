"""A release goes to hosts of their own over SSH: whole, at once, and only what they lack."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hosts import Network, Pretend, network
from projects import build, write_project
from underway_runtime.release import manifest

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs_tool("ssh", "openssh-client"),
    pytest.mark.needs_tool("sshd", "openssh-server"),
    pytest.mark.needs_tool("ip", "iproute2"),
    pytest.mark.needs_tool("unshare", "util-linux"),
    pytest.mark.timeout(300),
]

TIMEOUT = 100.0
PLACE = "/srv/wc"
TOOL = """\
[tool.underway]
main = "wc:main"
steps = ["underway.steps.cluster:step", "underway.steps:assemble", "underway.steps:tar"]

[tool.underway.cluster]
directory = "/srv/wc"
limits = { connect = 10 }
"""


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One release directory with 0.1.0 and 0.1.1, between which one line differs."""
    root = tmp_path_factory.mktemp("project") / "wc"
    write_project(root, TOOL, name="wc")
    built = build(root)
    (root / "src/wc/__init__.py").write_text("def main():\n    print('hello again', flush=True)\n")
    pyproject = root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('"0.1.0"', '"0.1.1"'))
    write_project(root, TOOL, name="wc", version="0.1.1")
    return build(root) if built.is_dir() else built


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path / "net", 3) as made:
        yield made


@pytest.mark.drill
def test_eight_hosts_get_it_at_once_and_what_was_cut_off_is_made_good(releases: Path, tmp_path: Path) -> None:
    """Two are cut off in the middle; the others are not held up by them, and then all have the same."""
    with network(tmp_path / "net", 8) as net:
        for slow in net.hosts[:2]:
            net.rate(slow, 4)
        with spawned(releases, net) as process:
            assert process.stderr is not None
            said = sorted(process.stderr.readline().partition(":")[0] for _ in range(6))
            for slow in net.hosts[:2]:
                net.cut(slow)
            rest = process.communicate(timeout=TIMEOUT)[1]
        assert said == net.names[2:]
        assert process.returncode == 5
        assert "could not be copied to 2 of 8 hosts" in rest
        for slow in net.hosts[:2]:
            net.heal(slow)
            net.rate(slow, 0)

        sent = copied(releases, net)
        assert sorted(host for host, size in sent.items() if size) == net.names[:2]
        changed = copied(releases, net, "0.1.1")
        assert len(changed) == 8
        assert 0 < max(changed.values()) < 100_000


def spawned(release: Path, net: Network) -> subprocess.Popen[str]:
    """``bin/cluster deploy --copy-only`` to all hosts."""
    return subprocess.Popen(
        [str(release / "bin/cluster"), "deploy", *net.names, "--ssh-config", str(net.ssh_config), "--copy-only"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(net.base), "RELEASE_VSN": "0.1.0"},
        stderr=subprocess.PIPE,
        text=True,
    )


def deploy(
    release: Path, net: Network, *arguments: str, version: str = "0.1.0", hosts: list[Pretend] | None = None
) -> subprocess.CompletedProcess[str]:
    """``bin/cluster deploy`` of a version to these hosts, or all."""
    names = [host.name for host in (net.hosts if hosts is None else hosts)]
    return subprocess.run(
        [release / "bin/cluster", "deploy", *names, "--ssh-config", net.ssh_config, *arguments],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(net.base), "RELEASE_VSN": version},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        stdin=subprocess.DEVNULL,
    )


def copied(release: Path, net: Network, version: str = "0.1.0") -> dict[str, int]:
    """Copy it, which must succeed; the bytes that were sent, by host."""
    done = deploy(release, net, "--copy-only", "--json", "--quiet", version=version)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return {each["host"]: each["sent"] for each in json.loads(done.stdout)["hosts"]}


def names_in_srv(net: Network, host: Pretend) -> list[str]:
    """What is where the release is to be."""
    return net.ssh(host, "ls", "-A", "/srv").split()


def altered(release: Path, target: Path, **changes: Any) -> Path:
    """A copy of the release with another manifest."""
    shutil.copytree(release, target, symlinks=True)
    place = target / "releases/0.1.0/manifest.json"
    place.write_text(manifest.dump(replace(manifest.read(place), **changes)))
    return target


def test_every_host_gets_what_it_lacks_and_no_more(releases: Path, net: Network) -> None:
    """First all of it, then nothing, then the one line that changed; each is whole, and what booted boots."""
    net.ssh(net.hosts[0], "rm", "-f", "/usr/bin/zstd")

    full = copied(releases, net)
    assert set(full) == {"host1", "host2", "host3"}
    assert set(copied(releases, net).values()) == {0}
    changed = copied(releases, net, "0.1.1")

    assert max(changed.values()) < min(full.values()) / 10
    for host in net.hosts:
        for version in ("0.1.0", "0.1.1"):
            said = net.ssh(host, "env", f"RELEASE_VSN={version}", f"{PLACE}/bin/wc", "verify")
            assert said.startswith(f"wc-{version}: ")
            assert said.endswith(", ok\n")
        assert net.ssh(host, f"{PLACE}/bin/wc", "version") == "wc 0.1.0\n"
        assert names_in_srv(net, host) == ["wc"]
        assert net.ssh(host, "ls", "-A", f"{PLACE}/var/incoming") == ""


def test_all_that_speaks_against_it_is_listed_before_a_byte_moves(releases: Path, net: Network, tmp_path: Path) -> None:
    """An unreachable host, one whose place is taken and one whose glibc is too old: all named, and nothing is anywhere."""
    cut, taken, old = net.hosts
    newer = altered(releases, tmp_path / "newer", glibc="2.99")
    net.ssh(taken, "sh", "-c", f"mkdir -p {PLACE} && touch {PLACE}/theirs")
    net.cut(cut)

    done = deploy(newer, net, "--copy-only")

    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "error: it can't be deployed, and nothing was changed:"
    assert re.match(r"  - host1: .*(timed out|No route to host)", lines[1], re.IGNORECASE), lines
    assert f"  - host2: {PLACE} holds theirs and no releases; say another directory" in lines
    assert sum("the release needs 2.99; build on a system as old as this host" in line for line in lines) == 2
    assert names_in_srv(net, old) == []
    assert names_in_srv(net, taken) == ["wc"]


def test_a_host_whose_key_is_another_is_not_talked_to(releases: Path, net: Network) -> None:
    """Whatever the configuration of SSH says of it; the others get nothing either."""
    known = net.base / "known_hosts"
    lines = known.read_text().splitlines()
    stranger = lines[0].split()[2]
    known.write_text("\n".join([lines[0], lines[1].replace(lines[1].split()[2], stranger), lines[2], ""]))
    lax = net.ssh_config.read_text().replace("StrictHostKeyChecking yes", "StrictHostKeyChecking no")
    net.ssh_config.write_text(lax)

    done = deploy(releases, net, "--copy-only")

    assert done.returncode == 1
    assert "  - host2: " in done.stderr
    assert "Host key verification failed" in done.stderr
    assert names_in_srv(net, net.hosts[0]) == []


@pytest.mark.drill
def test_a_host_that_is_cut_off_while_it_is_copied_to_is_named(releases: Path, net: Network) -> None:
    """The others have it, and the same command goes on where this ended."""
    slow = net.hosts[1]
    net.rate(slow, 4)
    with spawned(releases, net) as process:
        assert process.stderr is not None
        said = [process.stderr.readline(), process.stderr.readline()]
        net.cut(slow)
        rest = process.communicate(timeout=TIMEOUT)[1]

    assert process.returncode == 5, rest
    assert sorted(line.partition(":")[0] for line in said) == ["host1", "host3"]
    assert "wc-0.1.0 could not be copied to 1 of 3 hosts:\n  - host2: " in rest
    net.heal(slow)
    net.rate(slow, 0)
    assert "wc" not in names_in_srv(net, slow)
    sent = copied(releases, net)
    assert [host for host, size in sent.items() if size] == ["host2"]


def test_a_host_without_room_for_a_release_is_named(releases: Path, net: Network) -> None:
    """Before anything is copied where that can be seen; what had begun to arrive is gone again where it can't."""
    full, few, _ = net.hosts
    net.ssh(full, "sh", "-c", "dd if=/dev/zero of=/filled bs=1M count=480 2>/dev/null")
    done = deploy(releases, net, "--copy-only")
    assert done.returncode == 1
    assert re.search(r"host1: [\d.]+ MB are needed below /srv/wc, and [\d.]+ MB are free", done.stderr)
    assert names_in_srv(net, few) == []

    net.ssh(full, "rm", "/filled")
    subprocess.run(["mount", "-o", "remount,nr_inodes=500", few.place / "disk"], check=True, timeout=30)
    done = deploy(releases, net, "--copy-only")
    assert done.returncode == 5
    assert re.search(r"host2: .*No space left on device", done.stderr)
    assert names_in_srv(net, few) == []


def test_a_version_that_is_another_there_is_refused(releases: Path, net: Network, tmp_path: Path) -> None:
    """One version, one release: what has changed needs a version of its own."""
    copied(releases, net)
    other = altered(releases, tmp_path / "other", interpreter="3.99.0")

    done = deploy(other, net, "--copy-only")

    assert done.returncode == 1
    assert done.stderr.count("it has another wc-0.1.0") == 3


def test_no_hosts_is_no_deploy(releases: Path, tmp_path: Path) -> None:
    """A list that turns out empty is a mistake, not a success."""
    empty = tmp_path / "hosts"
    empty.write_text("# nobody\n")
    for words in ([], ["-f", str(empty)]):
        done = subprocess.run([releases / "bin/cluster", "deploy", *words], capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stdout) == (2, "")
        assert "no worker to deploy to" in done.stderr
