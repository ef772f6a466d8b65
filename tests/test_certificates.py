"""The private authority of a cluster: keys stay where they are made, certificates say host and role."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from underway_runtime.cluster import certificates, revocation
from underway_runtime.cluster.peer_auth import Credentials, wrong_role
from underway_runtime.release.errors import ConfigError


def deployed(root: Path, *hosts: str, role: str = "worker") -> Path:
    """A host's directory with a certificate, and its authority next to it."""
    place, authority = root / "host", root / "authority"
    certificates.make_authority(authority, "hello")
    leaf = certificates.sign(authority, certificates.request(place, hosts[0]), hosts=hosts, role=role)
    certificates.install(place, leaf, (authority / "ca.pem").read_bytes())
    return place


def test_keys_are_for_their_owner_alone_and_stay(tmp_path: Path) -> None:
    """Both keys are 0600, in directories 0700; a second deploy changes neither, and makes a new certificate."""
    place = deployed(tmp_path, "127.0.0.1")
    keys = [place / "node.key", tmp_path / "authority/ca.key"]
    before = [key.read_bytes() for key in keys]
    leaf = (place / "node.pem").read_bytes()
    deployed(tmp_path, "127.0.0.1")

    assert [key.stat().st_mode & 0o777 for key in keys] == [0o600, 0o600]
    assert [key.parent.stat().st_mode & 0o777 for key in keys] == [0o700, 0o700]
    assert [key.read_bytes() for key in keys] == before
    assert (place / "node.pem").read_bytes() != leaf
    assert not (place / "ca.key").exists()


def test_a_certificate_says_all_hosts_and_one_role(tmp_path: Path) -> None:
    place = deployed(tmp_path, "127.0.0.1", "beta.example", "::1", role="master")
    certificate = x509.load_pem_x509_certificate((place / "node.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert [str(each.value) for each in names] == ["127.0.0.1", "beta.example", "::1", "underway:role:master"]
    assert Credentials(place).role == "master"
    assert timedelta(89) < certificates.expires(place) - datetime.now(UTC) <= certificates.VALID


def test_of_a_request_only_the_key_is_taken(tmp_path: Path) -> None:
    """A host can't ask for another role or for other hosts than who deploys gives it."""
    certificates.make_authority(tmp_path, "hello")
    certificates.request(tmp_path / "host", "127.0.0.1")
    key = certificates._key(tmp_path / "host/node.key")
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("underway:role:master")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=False)
    asked = certificates._pem(builder.sign(key, certificates._sha256()))
    leaf = certificates.sign(tmp_path, asked, hosts=["127.0.0.2"], role="worker")
    certificates.install(tmp_path / "host", leaf, (tmp_path / "ca.pem").read_bytes())

    assert Credentials(tmp_path / "host").role == "worker"


def test_what_does_not_fit_is_not_installed(tmp_path: Path) -> None:
    """A certificate for another key, and one of another authority."""
    place = deployed(tmp_path / "one", "127.0.0.1")
    other = deployed(tmp_path / "two", "127.0.0.1")
    before = (place / "node.pem").read_bytes()
    for leaf, authority, problem in (
        (other / "node.pem", other / "ca.pem", "not for the key"),
        (place / "node.pem", other / "ca.pem", "not signed by the authority"),
    ):
        with pytest.raises(ConfigError, match=problem):
            certificates.install(place, leaf.read_bytes(), authority.read_bytes())

    assert (place / "node.pem").read_bytes() == before


@pytest.mark.parametrize(
    ("hosts", "role", "request_", "problem"),
    [
        (["127.0.0.1"], "boss", None, "a master's or a worker's, not 'boss'"),
        ([], "worker", None, "is for a host"),
        (["127.0.0.1"], "worker", b"nonsense", "not a request"),
    ],
)
def test_a_request_that_does_not_hold_is_refused(
    tmp_path: Path, hosts: list[str], role: str, request_: bytes | None, problem: str
) -> None:
    certificates.make_authority(tmp_path, "hello")
    asked = request_ or certificates.request(tmp_path / "host", "127.0.0.1")

    with pytest.raises(ConfigError, match=problem):
        certificates.sign(tmp_path, asked, hosts=hosts, role=role)


def test_half_an_authority_is_not_made_whole(tmp_path: Path) -> None:
    """A new key next to the old certificate would cut off every host."""
    certificates.make_authority(tmp_path, "hello")
    (tmp_path / "ca.key").unlink()

    with pytest.raises(ConfigError, match=r"ca\.pem alone"):
        certificates.make_authority(tmp_path, "hello")


def test_a_node_uses_no_key_that_others_can_read(tmp_path: Path) -> None:
    place = deployed(tmp_path, "127.0.0.1")
    (place / "node.key").chmod(0o640)

    with pytest.raises(ConfigError, match=r"node\.key can be read by others"):
        Credentials(place)


@pytest.mark.parametrize("name", ["ca.pem", "node.pem", "revoked.json", "."])
@pytest.mark.parametrize("how", ["group", "anyone", "owner"])
def test_a_node_believes_no_files_that_others_could_change(tmp_path: Path, name: str, how: str) -> None:
    """Neither at its start nor while it runs: who writes the authority's certificate, or the list, says who is a member."""
    place = deployed(tmp_path, "127.0.0.1")
    revocation.remove(tmp_path / "authority", ["10.0.0.1"])
    (place / "revoked.json").write_text((tmp_path / "authority/revoked.json").read_text())
    runs = Credentials(place)
    mode = (place / name).stat().st_mode
    if how == "owner":
        if os.geteuid() != 0:
            pytest.skip("to give files away takes root")
        os.chown(place / name, 65534, -1)
    else:
        (place / name).chmod(mode | (0o020 if how == "group" else 0o002))
    for changed in ("node.pem", "revoked.json"):
        os.utime(place / changed, (1, 1))

    with pytest.raises(ConfigError, match=r"may write to|belongs to"):
        Credentials(place)
    with pytest.raises((OSError, ConfigError), match=r"may write to|belongs to"):
        runs.refresh_revoked()
        runs.refresh()


@pytest.mark.parametrize("kind", ["rsa 1024", "rsa 2048", "secp192r1", "secp384r1", "ed25519"])
def test_a_key_of_another_kind_gets_no_certificate(tmp_path: Path, kind: str) -> None:
    """Neither a weaker one than nodes make, nor any other."""
    certificates.make_authority(tmp_path, "hello")
    name, _, size = kind.partition(" ")
    keys: dict[str, Callable[[], Any]] = {
        "rsa": lambda: rsa.generate_private_key(65537, int(size)),
        "secp192r1": lambda: ec.generate_private_key(ec.SECP192R1()),
        "secp384r1": lambda: ec.generate_private_key(ec.SECP384R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    asked = builder.sign(keys[name](), None if name == "ed25519" else certificates._sha256())

    with pytest.raises(ConfigError, match="a key of another kind than nodes make"):
        certificates.sign(tmp_path, certificates._pem(asked), hosts=["127.0.0.1"], role="worker")


def test_one_authority_comes_with_a_certificate(tmp_path: Path) -> None:
    """A second one behind it would be believed as much."""
    place = deployed(tmp_path / "one", "127.0.0.1")
    other = deployed(tmp_path / "two", "127.0.0.1")
    both = (place / "ca.pem").read_bytes() + (other / "ca.pem").read_bytes()

    with pytest.raises(ConfigError, match="more than one authority"):
        certificates.install(place, (place / "node.pem").read_bytes(), both, replaces=True)


def test_a_certificate_of_a_node_makes_no_other(tmp_path: Path) -> None:
    """Who has one is not an authority: what it signs is refused in the handshake, with the whole chain too."""
    place, evil = deployed(tmp_path, "127.0.0.1"), tmp_path / "evil"
    certificates.request(evil, "127.0.0.1")
    signer = x509.load_pem_x509_certificate((place / "node.pem").read_bytes())
    key = certificates._key(evil / "node.key")
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("underway:role:master")])
    built = certificates._builder(x509.Name([]), signer.subject, key.public_key(), certificates.VALID)
    made = built.add_extension(names, critical=False).sign(
        certificates._key(place / "node.key"), certificates._sha256()
    )
    (evil / "node.pem").write_bytes(certificates._pem(made) + (place / "node.pem").read_bytes())
    (evil / "ca.pem").write_bytes((place / "ca.pem").read_bytes())

    with pytest.raises(ConfigError, match="can't be used: invalid CA certificate"):
        Credentials(evil)


def test_what_others_would_not_take_is_refused_at_home(tmp_path: Path) -> None:
    """A certificate that has ended, or whose key is not its own, is told when the node starts."""
    place = deployed(tmp_path, "127.0.0.1")
    asked, long_ago = certificates.request(place, "127.0.0.1"), datetime.now(UTC) - 2 * certificates.VALID
    (place / "node.pem").write_bytes(
        certificates.sign(tmp_path / "authority", asked, hosts=["127.0.0.1"], role="worker", now=long_ago)
    )
    with pytest.raises(ConfigError, match="can't be used: certificate has expired; deploy this host again"):
        Credentials(place)

    other = deployed(tmp_path / "other", "127.0.0.1")
    (place / "node.pem").write_bytes((other / "node.pem").read_bytes())
    with pytest.raises(ConfigError, match=r"can't be used: .*key values mismatch"):
        Credentials(place)


def test_credentials_take_up_what_is_put_in_their_place(tmp_path: Path) -> None:
    """Once for each change; and they insist on TLS 1.3 and on a certificate."""
    credentials = Credentials(deployed(tmp_path, "127.0.0.1"))

    assert not credentials.refresh()
    deployed(tmp_path, "127.0.0.1")
    assert credentials.refresh()
    assert not credentials.refresh()
    assert credentials.server.verify_mode == credentials.client.verify_mode == ssl.CERT_REQUIRED
    assert credentials.client.check_hostname
    assert credentials.server.minimum_version == credentials.client.minimum_version == ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(
    ("roles", "said", "wanted", "problem"),
    [
        (["worker"], "worker", None, None),
        (["master"], "master", "master", None),
        (["worker"], "worker", "master", "its certificate is for worker where a master has to be"),
        (["worker"], "master", "master", "its certificate is for worker"),
        (["worker", "master"], "master", "master", "its certificate is for worker and master"),
        ([], "worker", None, "its certificate is for no role"),
        (["boss"], "boss", None, "its certificate is for boss"),
    ],
)
def test_a_role_holds_when_certificate_word_and_place_agree(
    roles: list[str], said: str, wanted: str | None, problem: str | None
) -> None:
    certificate = {"subjectAltName": [("IP Address", "127.0.0.1"), *(("URI", f"underway:role:{r}") for r in roles)]}
    found = wrong_role(certificate, said, wanted=wanted)

    assert found is None if problem is None else problem in str(found)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, who deploys")
@pytest.mark.parametrize("whose", ["var", "cluster", "authority", "link"])
def test_an_authority_in_another_user_s_directory_is_refused(tmp_path: Path, whose: str) -> None:
    """Whoever owns a directory above it could put his own authority there, and decide who is a member."""
    authority = tmp_path / "var/cluster/authority"
    authority.mkdir(parents=True, mode=0o700)
    if whose == "link":
        authority.rename(tmp_path / "elsewhere")
        authority.symlink_to(tmp_path / "elsewhere")
    owner = {
        "var": authority.parents[1],
        "cluster": authority.parent,
        "authority": authority,
        "link": authority.parent,
    }[whose]
    os.chown(owner, 65534, 65534)
    with pytest.raises(ConfigError, match=r"belongs to nobody|can't be used"):
        certificates.make_authority(authority, "wc")
    assert not [*tmp_path.rglob("ca.key")]
