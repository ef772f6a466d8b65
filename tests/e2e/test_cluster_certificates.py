"""Certificates of a cluster that runs: made again, and taken from a host, without a restart; and for no address that is not a host's."""

from __future__ import annotations

import json
import re
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from cluster_hosts import EVERYBODY, Cluster
from conftest import Count
from test_cluster_start import cluster, hosts, pytestmark, release
from underway_runtime.cluster.certificates import make_authority

__all__ = ["cluster", "hosts", "pytestmark", "release"]


def certificate(cluster: Cluster, number: int) -> x509.Certificate:
    """What the node of a host has on its disk."""
    host = cluster.net.hosts[number - 1]
    text = cluster.net.ssh(host, "sh", "-c", "cat /srv/crew/var/cluster/*/certificates/node.pem")
    return x509.load_pem_x509_certificate(text.encode())


def named(found: x509.Certificate) -> list[str]:
    return [str(each.value) for each in found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value]


def shown(cluster: Cluster) -> bytes:
    """The certificate that the master shows to who connects now."""
    (own,) = (cluster.var / "cluster").glob("*_master@*")
    listening = (own / "run/lock").exists()
    assert listening
    context = ssl._create_unverified_context()
    with (
        socket.create_connection((cluster.net.control, 8786), timeout=60) as plain,
        context.wrap_socket(plain) as tls,
    ):
        found: bytes = tls.getpeercert(binary_form=True) or b""
        return found


def pids(cluster: Cluster) -> list[str]:
    return [cluster.net.ssh(h, "sh", "-c", "cat /srv/crew/var/cluster/*/run/pid") for h in cluster.net.hosts]


@pytest.mark.drill
def test_certificates_are_renewed_without_a_restart(cluster: Cluster, count: Count) -> None:
    """All nodes have new ones and show them, in the processes that ran; a second time too. Their names are what the deployer saw."""
    assert cluster.deploy("-m", "daemon").returncode == 0
    addresses = [host.address for host in cluster.net.hosts]
    assert named(certificate(cluster, 1)) == ["host1", addresses[0], "underway:role:worker"]
    running = pids(cluster)
    for _ in range(count(1, 2)):
        before = [certificate(cluster, number).serial_number for number in (1, 2, 3)], shown(cluster)

        done = cluster.deploy("--renew")
        assert done.returncode == 0, done.stderr
        after = [certificate(cluster, number).serial_number for number in (1, 2, 3)], shown(cluster)
        assert not {*before[0]} & {*after[0]}
        assert before[1] != after[1]
    assert pids(cluster) == running
    assert cluster.members() == EVERYBODY
    another_takes_nothing(cluster)


def another_takes_nothing(cluster: Cluster) -> None:
    """Who deploys from elsewhere to the same hosts is refused, also where the nodes are stopped, and can't renew them."""
    before = [certificate(cluster, number).serial_number for number in (1, 2, 3)]
    assert cluster.deploy("--stop").returncode == 0
    (cluster.var.parent / "another").mkdir()
    another = Cluster(cluster.release, cluster.net, cluster.var.parent / "another")
    deployed = another.deploy("-m", "daemon")
    assert deployed.returncode == 1
    assert deployed.stderr.count("has certificates of another authority there: it was deployed from elsewhere") == 3
    make_authority(another.var / "cluster/authority", "crew")
    renewed = another.deploy("--renew")
    assert renewed.returncode == 5
    assert renewed.stderr.count("has certificates of another authority there") == 3
    assert [certificate(cluster, number).serial_number for number in (1, 2, 3)] == before


@pytest.mark.drill
def test_a_host_is_taken_out_of_a_cluster_that_runs(cluster: Cluster) -> None:
    """When the command has ended every other node refuses it; one that can't be reached is named, and made good by the next."""
    assert cluster.deploy("-m", "daemon", "--no-shutdown-with-master").returncode == 0
    unknown = cluster.deploy("--revoke", "host4")
    assert unknown.returncode == 1
    assert "no certificate was given to host4; there are" in unknown.stderr
    assert cluster.members() == EVERYBODY

    (
        cluster.var / "cluster/authority/issued.json"
    ).unlink()  # as it is where certificates were given before there was one
    done = cluster.deploy("--revoke", "host3", "--json")
    assert done.returncode == 0, done.stderr
    assert sorted(json.loads(done.stdout)["removed"]) == sorted(["host3", cluster.net.hosts[2].address])
    assert cluster.members() == EVERYBODY[:2]
    (own,) = (cluster.var / "cluster").glob("*_master@*")
    log = "".join(file.read_text() for file in (own / "log").iterdir() if file.suffix != ".index")
    assert f"{cluster.net.hosts[2].address} is refused: host3 was removed from the cluster" in log

    assert cluster.deploy("--renew").returncode == 0
    assert cluster.members() == EVERYBODY[:2]  # who is out is not renewed with the others

    cluster.net.cut(cluster.net.hosts[1])
    done = cluster.deploy("--revoke", "host1")
    assert done.returncode == 5
    assert re.search(r"not every node has .*:\n  - host2: ", done.stderr)
    cluster.net.heal(cluster.net.hosts[1])
    assert cluster.deploy("--revoke", "host1").returncode == 0


def test_a_host_gets_no_certificate_for_its_neighbour_s_address(cluster: Cluster, tmp_path: Path) -> None:
    """What it says of its own address is not believed, where SSH connects to another; its user may say that it is right."""
    liar, neighbour = cluster.net.hosts[:2]
    said = f'export SSH_CONNECTION="{cluster.net.control} 1 {neighbour.address} 22"'
    cluster.net.ssh(
        liar,
        "sh",
        "-c",
        f"echo '{said}' >/root/lie; echo '. /root/lie' | cat - /root/.bashrc >/root/x; mv /root/x /root/.bashrc",
    )

    done = cluster.deploy("-m", "daemon")
    assert done.returncode == 1
    assert (
        f"host1: it says that it is reached at {neighbour.address}, and {liar.address} is {liar.address}" in done.stderr
    )
    table = tmp_path / "hosts.toml"
    table.write_text(f'directory = "/srv/crew"\nhosts = [{{ host = "host1", address = "{liar.address}" }}]\n')
    done = cluster.deploy("-f", str(table), "-m", "daemon", "--listen", f"{cluster.net.control}:8786")
    assert done.returncode == 0, done.stderr
    assert named(certificate(cluster, 1)) == ["host1", liar.address, "underway:role:worker"]
    cluster.deploy("-f", str(table), "--stop")


@pytest.mark.parametrize("option", ["--renew", "--revoke"])
def test_without_an_authority_nothing_is_given(cluster: Cluster, option: str) -> None:
    """On a machine that has not deployed the cluster."""
    done = cluster.deploy(option, *(["host1"] if option == "--revoke" else []))

    assert done.returncode == 1
    assert "there is no authority in" in done.stderr
