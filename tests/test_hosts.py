"""The hosts of the tests themselves: they are apart, and nothing is left of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hosts import network, sweep

pytestmark = [
    pytest.mark.needs_tool("ssh", "openssh-client"),
    pytest.mark.needs_tool("sshd", "openssh-server"),
    pytest.mark.needs_tool("ip", "iproute2"),
    pytest.mark.needs_tool("unshare", "util-linux"),
]


def left(own: str) -> str:
    """What there is of networks whose names have this in them."""
    said = [
        subprocess.run(words, capture_output=True, text=True, timeout=30).stdout
        for words in (["ip", "-o", "link"], ["ip", "netns"])
    ]
    return "\n".join(line for text in said for line in text.splitlines() if own in line)


def test_two_networks_at_once_are_apart_and_leave_nothing(tmp_path: Path) -> None:
    """Each host has files, a network and processes of its own, and a disk of the size that was asked for."""
    with network(tmp_path / "one", 2, "64m") as one, network(tmp_path / "two", 1) as two:
        first, second = one.hosts
        one.ssh(first, "touch", "/root/here")
        assert one.ssh(second, "ls", "/root/here", check=False) == ""
        assert two.ssh(two.hosts[0], "hostname") == "host1\n"
        assert one.ssh(first, "df", "-Pk", "/root").splitlines()[1].split()[1] == "65536"
        assert one.ssh(first, "ip", "route").count("\n") == 1
        one.crash(first)
        one.boot(first)
        assert one.ssh(first, "ls", "/root/here") == "/root/here\n"
        names = [host.netns for net in (one, two) for host in net.hosts]
        assert all(left(name) for name in names)

    assert [left(name) for name in names] == ["", "", ""]
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


def test_what_a_killed_session_left_is_cleared_by_the_next() -> None:
    """By the pid in its names, which is of no process any more."""
    with subprocess.Popen(["true"]) as gone:
        gone.wait(30)
    made = subprocess.run(["ip", "netns", "add", f"uw{gone.pid}ax1"], capture_output=True, timeout=30)
    if made.returncode != 0:
        pytest.skip("hosts of their own need root")
    sweep()

    assert left(f"uw{gone.pid}a") == ""
