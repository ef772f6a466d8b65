"""Hosts that say whose releases they take: what is copied to them is signed, the first time and after, and verified there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts import Network, network
from projects import build, write_project
from test_cluster_copy import TOOL, copied, deploy, names_in_srv, pytestmark
from test_signature import make_key, public
from underway_runtime.release import manifest
from underway_runtime.release.archives import archive, signature
from underway_runtime.release.manifest import Manifest

__all__ = ["pytestmark"]
SIGNERS = "/etc/underway/allowed_signers"


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One release directory with 0.1.0 and 0.1.1, and the archive of each next to it."""
    root = tmp_path_factory.mktemp("project") / "wc"
    write_project(root, TOOL, name="wc")
    build(root)
    return build(write_project(root, TOOL, name="wc", version="0.1.1"))


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path / "net", 2) as made:
        yield made


def archive_of(release: Path, version: str) -> tuple[Path, Manifest]:
    found = manifest.read(release / f"releases/{version}/manifest.json")
    return archive.path(release.parent, "wc", version), found


def allow(net: Network, key: Path) -> None:
    """The first host takes what this key has signed; the second takes anything."""
    script = 'mkdir -p /etc/underway && printf "%s\\n" "$1" >"$2"'
    net.ssh(net.hosts[0], "sh", "-c", script, "allow", f"alice {public(key)}", SIGNERS)


def test_every_copy_to_a_host_with_signers_is_signed_and_verified(releases: Path, net: Network, tmp_path: Path) -> None:
    """Unsigned: named before a byte moves. By somebody else: nothing of it is there. Signed: there, and so is the next version."""
    strict = net.hosts[0]
    alice, mallory = make_key(tmp_path / "keys", "alice"), make_key(tmp_path / "keys", "mallory")
    allow(net, alice)
    for version in ("0.1.0", "0.1.1"):
        signature.signature_path(archive_of(releases, version)[0]).unlink(missing_ok=True)

    done = deploy(releases, net, "--copy-only")
    assert done.returncode == 1
    assert f"host1: it takes what an allowed signer has signed ({SIGNERS}), and none of" in done.stderr
    assert "host2: " not in done.stderr
    assert [names_in_srv(net, host) for host in net.hosts] == [[], []]

    signature.sign(*archive_of(releases, "0.1.0"), mallory)
    done = deploy(releases, net, "--copy-only")
    assert done.returncode == 5
    assert f"host1: wc-0.1.0 is not signed by anyone whom {SIGNERS} allows" in done.stderr
    assert [names_in_srv(net, host) for host in net.hosts] == [[], ["wc"]]

    for version in ("0.1.0", "0.1.1"):
        signature.sign(*archive_of(releases, version), alice)
        sent = copied(releases, net, version)
        assert sent["host1"] == archive_of(releases, version)[0].stat().st_size
        said = net.ssh(strict, "env", f"RELEASE_VSN={version}", "/srv/wc/bin/wc", "verify")
        assert said.startswith(f"wc-{version}: ")
    assert net.ssh(strict, "ls", "-A", "/srv/wc/var/incoming") == ""

    older = make_key(tmp_path / "keys", "older")
    net.ssh(strict, "sh", "-c", f"echo 'alice {public(older)}' >{SIGNERS}")
    net.ssh(strict, "/srv/wc/bin/wc", "remove", "0.1.1")
    done = deploy(releases, net, "--copy-only", version="0.1.1")
    assert done.returncode == 5
    assert "it is signed, but not by anyone in" in done.stderr


def test_a_host_that_can_not_verify_says_what_to_install(releases: Path, net: Network, tmp_path: Path) -> None:
    """Before a byte moves to any."""
    key = make_key(tmp_path / "keys", "alice")
    allow(net, key)
    signature.sign(*archive_of(releases, "0.1.0"), key)
    net.ssh(net.hosts[0], "rm", "-f", "/usr/bin/ssh-keygen")

    done = deploy(releases, net, "--copy-only")
    assert done.returncode == 1
    assert "has no ssh-keygen and sha256sum to verify that; install openssh-client" in done.stderr
    assert names_in_srv(net, net.hosts[1]) == []
