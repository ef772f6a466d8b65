"""The two commands of the README hold on a machine that has nothing but Debian's python3."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fresh_debian import CLONE, FreshDebian, fresh_debian

INSIDE = "UNDERWAY_IN_FRESH_DEBIAN"
"""Set for the command inside, so that a gate that runs there does not bootstrap another tree in it."""


def namespaces() -> bool:
    """Whether this process may make a mount and a process namespace."""
    try:
        return subprocess.run(["unshare", "-m", "-p", "-f", "true"], capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False


pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs_tool("debootstrap", "debootstrap"),
    pytest.mark.needs_tool("git", "git"),
    pytest.mark.needs_tool("unshare", "util-linux"),
    pytest.mark.skipif(INSIDE in os.environ, reason="this is the fresh Debian"),
    pytest.mark.skipif(os.geteuid() != 0 or not namespaces(), reason="needs root and namespaces"),
]


def run(debian: FreshDebian, *argv: str, user: str, timeout: float) -> str:
    """All that a command prints in the clone; it must succeed."""
    done = subprocess.run(
        debian.command(*argv, user=user, env={INSIDE: "1"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, f"{' '.join(argv)} ended with status {done.returncode}"
    return done.stdout


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> FreshDebian:
    """A tree in which nothing was set up."""
    return fresh_debian(tmp_path_factory.mktemp("debian"))


@pytest.mark.timeout(1_200)
def test_make_demo(debian: FreshDebian) -> None:
    """`make demo` works from a fresh clone, as an ordinary user, and leaves nothing but what git ignores."""
    printed = run(debian, "make", "demo", user="dev", timeout=900)

    assert "is anybody there?" in printed
    assert "setup:" not in run(debian, "make", "setup", user="dev", timeout=60), "a second set-up has nothing to do"
    assert run(debian, "git", "-C", str(CLONE), "status", "--porcelain", user="dev", timeout=60) == ""


@pytest.mark.timeout(300)
def test_a_tree_is_the_root_of_what_runs_in_it(debian: FreshDebian) -> None:
    """There are namespaces for those who ask, as on a machine of its own, and nothing of this machine's is mounted."""
    run(debian, "unshare", "--user", "--map-root-user", "--mount", "true", user="dev", timeout=60)
    mounted = run(debian, "cat", "/proc/self/mountinfo", user="dev", timeout=60)

    places = [line.split()[4] for line in mounted.splitlines()]
    assert {place for place in places if not place.startswith(("/proc", "/dev"))} == {"/"}


@pytest.mark.drill
@pytest.mark.timeout(5_400)
def test_make_test(tmp_path: Path) -> None:
    """`make test` works from a fresh clone and says by name what it skips for want of a tool."""
    debian = fresh_debian(tmp_path)

    printed = run(debian, "make", "test", user="dev", timeout=5_000)

    assert " passed" in printed
    assert "not tested, for want of ssh (apt install openssh-client)" in printed
