"""Hosts that are no longer of a cluster: what they hold opens nothing, at once and on every node; and what a certificate says."""

from __future__ import annotations

import ipaddress
import json
import shutil
import socket
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from cluster_helpers import Member, Nodes
from node_helpers import MakeNode
from underway_runtime.cluster import certificates, revocation
from underway_runtime.cluster.peer_auth import Credentials, digest
from underway_runtime.release.errors import ConfigError


def shown(place: Path) -> Mapping[str, Any]:
    """What ssl says of a certificate to who is shown it."""
    found: Mapping[str, Any] = ssl._ssl._test_decode_cert(str(place / "node.pem"))  # type: ignore[attr-defined]
    return found


def given(authority: Path, place: Path, *hosts: str, role: str = "worker", now: datetime | None = None) -> Path:
    certificates.make_authority(authority, "hello")
    revocation.remember(authority, {hosts[0]: hosts})
    leaf = certificates.sign(authority, certificates.request(place, hosts[0]), hosts=hosts, role=role, now=now)
    certificates.install(place, leaf, (authority / "ca.pem").read_bytes())
    return place


# ---------------------------------------------------------------------------------------------- what a certificate says


@pytest.mark.parametrize("name", ["localhost", "master", "10.9.9.1", "a" * 64])
def test_of_a_request_no_name_is_taken(tmp_path: Path, name: str) -> None:
    """A request with another's name gets a certificate with the names that the issuer saw, in each place where one may stand."""
    certificates.make_authority(tmp_path, "hello")
    certificates.request(tmp_path / "host", "x")
    key = certificates._key(tmp_path / "host/node.key")
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.EMAIL_ADDRESS, "x@y")]
    )
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    asked = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(names, critical=False)
    request = certificates._pem(asked.sign(key, certificates._sha256()))
    leaf = x509.load_pem_x509_certificate(certificates.sign(tmp_path, request, hosts=["10.9.9.9"], role="worker"))

    assert [str(each.value) for each in leaf.subject] == ["10.9.9.9"]
    assert name not in str(leaf.extensions)


def handshake(place: Path, host: str) -> str:
    """What a client of the cluster says of this host, where somebody shows this certificate."""
    theirs, ours = Credentials(place), Credentials(place)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        ours.client.wrap_bio(to_client, to_server, server_hostname=host),
        theirs.server.wrap_bio(to_server, to_client, server_side=True),
    ]
    try:
        for side in sides * 2:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    return "taken"


def test_the_common_name_of_a_certificate_is_no_host(tmp_path: Path) -> None:
    """Also of one that was signed when requests could say it: what counts is among its other names."""
    authority, place = tmp_path / "authority", tmp_path / "host"
    given(authority, place, "10.9.9.9")
    key, ca = certificates._key(place / "node.key"), certificates._key(authority / "ca.key")
    issuer = x509.load_pem_x509_certificate((authority / "ca.pem").read_bytes())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    leaf = (
        certificates._builder(subject, issuer.subject, key.public_key(), certificates.VALID)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("10.9.9.9"))]), critical=False)
        .sign(ca, certificates._sha256())
    )
    (place / "node.pem").write_bytes(certificates._pem(leaf))

    assert handshake(place, "10.9.9.9") == "taken"
    assert handshake(place, "localhost") == "Hostname mismatch, certificate is not valid for 'localhost'."


# --------------------------------------------------------------------------------------------------------- the list


def test_who_is_removed_is_refused_by_every_name_that_he_was_given(tmp_path: Path) -> None:
    """By each name and address of each certificate that is still valid; others are not, nor is one that is made later."""
    authority = tmp_path / "authority"
    now = datetime.now(UTC)
    old = given(authority, tmp_path / "old", "gamma", "10.0.0.7", now=now - timedelta(days=80))
    new = given(authority, tmp_path / "new", "gamma", "10.0.0.8", "FE80::1", now=now - timedelta(seconds=5))
    other = given(authority, tmp_path / "other", "delta", "10.0.0.9", now=now)
    gone = revocation.remove(authority, ["10.0.0.8"], now.timestamp())
    revoked = revocation.read(authority)

    assert gone == ["10.0.0.7", "10.0.0.8", "fe80::1", "gamma"]
    assert revocation.reason(shown(old), revoked) == "gamma was removed from the cluster"
    assert revocation.reason(shown(new), revoked) == "gamma was removed from the cluster"
    assert revocation.reason(shown(other), revoked) is None
    back = given(authority, tmp_path / "new", "gamma", "10.0.0.8")
    assert revocation.reason(shown(back), revocation.read(authority)) is None
    assert revocation.reason(shown(old), revocation.read(authority)) is not None


def test_who_is_taken_back_at_once_gets_a_certificate_that_holds(tmp_path: Path) -> None:
    """Within the second of his removal, and with a clock that has gone back since."""
    authority = tmp_path / "authority"
    certificates.make_authority(authority, "hello")
    given(authority, tmp_path / "host", "gamma")
    revocation.remove(authority, ["gamma"], time.time() + 100)
    assert revocation.reason(shown(tmp_path / "host"), revocation.read(authority)) is not None

    assert revocation.reason(shown(given(authority, tmp_path / "host", "gamma")), revocation.read(authority)) is None


def test_who_is_out_stays_out_until_he_is_given_a_certificate_again(tmp_path: Path) -> None:
    """So that who renews all others does not take him back."""
    authority = tmp_path / "authority"
    given(authority, tmp_path / "host", "gamma", "10.0.0.7")
    assert not revocation.is_out(authority, "gamma")
    revocation.remove(authority, ["10.0.0.7"])
    assert revocation.is_out(authority, "Gamma")
    assert not revocation.is_out(authority, "delta")

    given(authority, tmp_path / "host", "gamma", "10.0.0.7")
    assert not revocation.is_out(authority, "gamma")


def test_an_entry_goes_when_all_that_it_is_about_has_ended(tmp_path: Path) -> None:
    """The list does not grow for ever."""
    authority = tmp_path / "authority"
    certificates.make_authority(authority, "hello")
    revocation.remove(authority, ["10.0.0.1"], 1000.0)
    revocation.remove(authority, ["10.0.0.2"], 1000.0 + 91 * 86400)

    assert list(revocation.read(authority)) == ["10.0.0.2"]


def test_nobody_is_removed_who_was_never_there(tmp_path: Path) -> None:
    """A name that no certificate was given to is a mistake, and nothing is written; those that there are are said."""
    authority = tmp_path / "authority"
    given(authority, tmp_path / "host", "gamma", "10.0.0.7")

    with pytest.raises(ConfigError, match="no certificate was given to gama; there are gamma"):
        revocation.remove(authority, ["gamma", "gama"])
    assert revocation.read(authority) == {}


@pytest.mark.parametrize(
    "text", ["", "{}", '{"format": 2, "revoked": {}}', '{"format": 1, "revoked": {"x": "y"}}', "[" * 9999]
)
def test_a_list_that_is_none_stops_the_start_and_not_the_node(tmp_path: Path, text: str) -> None:
    """Who can't know whom to refuse does not begin; who has known goes on with what was."""
    place = given(tmp_path / "authority", tmp_path / "host", "gamma")
    credentials = Credentials(place)
    (place / "revoked.json").write_text(text)

    with pytest.raises(ConfigError, match=r"revoked\.json can't be understood; deploy this host again"):
        Credentials(place)
    with pytest.raises(ConfigError):
        credentials.refresh_revoked()
    assert credentials.revoked == {}


# ------------------------------------------------------------------------------------------------------- a cluster


def removed(nodes: Nodes, host: str, *from_: str) -> None:
    """What a deploy does: the list, in the directory of each node."""
    authority = nodes.secrets / "authority"
    revocation.remove(authority, [host])
    for name in from_:
        shutil.copy(authority / "revoked.json", nodes.secrets / name / "revoked.tmp")
        (nodes.secrets / name / "revoked.tmp").rename(nodes.secrets / name / "revoked.json")


def test_a_removed_host_is_cut_off_and_does_not_come_back(make: MakeNode) -> None:
    """While it runs, without a restart of anybody: its connections end, its calls are refused; the others go on. Taken back, it joins."""
    nodes = Nodes(make)
    stays = {"shutdown_with_master": False}
    master = nodes.master()
    nodes.worker(1, **stays)
    gone = nodes.worker(2, **stays)
    master.says("w1 has joined")
    master.says("w2 has joined")
    certificate = (nodes.secrets / "w2/node.pem").read_bytes()
    removed(nodes, "127.0.0.3", "master", "w1")

    master.says("w2 is gone")
    master.says("127.0.0.3 is refused: 127.0.0.3 was removed from the cluster")
    gone.says("it has closed the connection; where it has refused this node, its log says why")
    assert master.rpc("print(sorted(await cluster.run(crew.pid)))") == "['w1']"
    assert (nodes.secrets / "w2/node.pem").read_bytes() == certificate

    joined = master.log.read_text().count("w2 has joined")
    nodes.certificate("w2", "127.0.0.3", "worker")
    master._until(lambda: master.log.read_text().count("w2 has joined") > joined, "w2 has joined again")


def test_workers_refuse_a_removed_host_themselves(make: MakeNode) -> None:
    """A worker opens nothing to, and takes nothing from, who was removed: also where its master does not know yet."""
    nodes = Nodes(make)
    master = nodes.master()
    first = nodes.worker(1)
    nodes.worker(2)
    master.says("w1 has joined")
    master.says("w2 has joined")
    code = "from underway_runtime import cluster\nmade = await cluster.actor(crew.Counter, member='w2', start=1)\n"
    assert first.rpc(code + "print(await made.call(crew.Counter.add, 1))") == "2"
    removed(nodes, "127.0.0.3", "w1")
    first.says("removed hosts are 127.0.0.3")

    address = first.rpc("print({each.name: each.address for each in cluster.members()}['w1'])").rpartition("://")[2]
    host, _, port = address.rpartition(":")
    place = nodes.secrets / "w2"
    context = ssl.create_default_context(cafile=str(place / "ca.pem"))
    context.load_cert_chain(place / "node.pem", place / "node.key")
    with (
        socket.create_connection((host, int(port)), timeout=90, source_address=("127.0.0.3", 0)) as plain,
        context.wrap_socket(plain, server_hostname=host) as tls,
    ):
        assert tls.recv(1) == b""
    first.says("127.0.0.3 is refused: 127.0.0.3 was removed from the cluster")


def test_a_removed_master_is_a_master_that_is_lost(make: MakeNode) -> None:
    """Its workers leave it, and stop as they do without one."""
    nodes = Nodes(make)
    master = nodes.master()
    worker = nodes.worker(1)
    master.says("w1 has joined")
    removed(nodes, "127.0.0.1", "w1")

    assert worker.ends() == 4


def test_a_node_says_which_certificate_and_list_it_obeys(make: MakeNode) -> None:
    """In run/certificate: who has put new ones there waits for it, and knows."""
    nodes = Nodes(make)
    master = nodes.master().ready()

    def obeyed(node: Member) -> bool:
        file = node.var / "run/certificate"
        return file.exists() and file.read_text().strip() == digest(nodes.secrets / node.name)

    master._until(lambda: obeyed(master), "it obeys its certificate")
    nodes.certificate("master", "127.0.0.1", "master")
    master._until(lambda: obeyed(master), "it obeys the next")
    certificates.make_authority(nodes.secrets / "authority", "hello")
    removed(nodes, "127.0.0.9", "master")
    master._until(lambda: obeyed(master), "it obeys the list")
    assert json.loads((nodes.secrets / "master/revoked.json").read_text())["format"] == 1
