"""The private authority of a cluster, and the certificates of its nodes. Runs where a deployer is, and on its hosts.

==============  ======================================  ==============================================================
file            where                                   what
==============  ======================================  ==============================================================
``ca.key``      with the deployer, and nowhere else     signs; 0600
``ca.pem``      with the deployer and on every host     what everybody is checked against
``node.key``    on its host, where it was made; 0600    never leaves it
``node.pem``    on its host                             says its hosts and its role, for `VALID`; a node takes up a newer
                                                        one while it runs
==============  ======================================  ==============================================================

`cryptography` is in the extra ``underway-runtime[cluster]``, and is imported when something is to be made.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..release.errors import ConfigError
from ..release.filesystem import openat
from ..release.filesystem.atomic_files import replace
from . import revocation
from .peer_auth import CA, CERTIFICATE, KEY, ROLE, ROLES

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

CA_KEY = "ca.key"
VALID = timedelta(seconds=revocation.VALID)
"""Of a node's certificate; every deploy makes a new one."""
_AUTHORITY_VALID = timedelta(days=3650)
_SLACK = timedelta(seconds=revocation.SLACK)
"""What clocks may differ."""


def make_authority(directory: Path, name: str) -> None:
    """Make ``ca.key`` and ``ca.pem``; nothing where they are. Raises ConfigError where only one of them is."""
    _refuse_of_others(directory)
    files = [file for file in (CA, CA_KEY) if (directory / file).exists()]
    if len(files) == 2:
        return
    if files:
        raise ConfigError(f"{directory} has {files[0]} alone; restore the other one, or remove it and deploy all hosts")
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    _make_private(directory)
    key = _new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"cluster of {name}"[:64])])
    usage = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
    certificate = (
        _builder(subject, subject, key.public_key(), _AUTHORITY_VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, _sha256())
    )
    _write_key(directory / CA_KEY, key)
    _write(directory / CA, _pem(certificate), 0o644)


def _make_private(directory: Path) -> None:
    """Give it to who runs this, or to the owner of the directory that it is in."""
    with openat.made(directory.parent) as above, above.directory(directory.name, make=0o700):
        pass


def _refuse_of_others(directory: Path) -> None:
    """Refuse an authority of another than who deploys: he could put his own in its place. Raises ConfigError."""
    try:
        other = openat.of_others(directory, *directory.parents[:2])
    except OSError as error:
        raise ConfigError(f"{error.filename or directory} can't be used: {error.strerror}") from None
    if other is not None:
        path, uid = other
        raise ConfigError(
            f"{path} belongs to {openat.user(uid)}, and the authority of a cluster is in it, whose owner decides who is a"
            f" member: deploy as {openat.user(uid)}, or with a RELEASE_VAR of your own"
        )


def request(directory: Path, host: str) -> bytes:
    """On a host: make ``node.key`` where there is none. Returns the request for its certificate, in PEM."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    _make_private(directory)
    if not (directory / KEY).exists():
        _write_key(directory / KEY, _new_key())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    return _pem(x509.CertificateSigningRequestBuilder().subject_name(subject).sign(_key(directory / KEY), _sha256()))


def sign(directory: Path, request: bytes, *, hosts: Sequence[str], role: str, now: datetime | None = None) -> bytes:
    """Make, with the authority of the deployer in `directory`, the certificate for a request, in PEM.

    `hosts` are all addresses and names by which the node is reached, and those it calls from, as who deploys knows them; of the
    request only the key is taken. It is none of those that were refused when the host was removed. Raises ConfigError for another
    role, for no host, and for a request that is not one.
    """
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    if role not in ROLES or not hosts:
        raise ConfigError(f"a certificate is for a host and is a master's or a worker's, not {role!r} of {list(hosts)}")
    try:
        asked = x509.load_pem_x509_csr(request)
    except ValueError as error:
        raise ConfigError(f"this is not a request for a certificate: {error}") from None
    if not asked.is_signature_valid:
        raise ConfigError("the request for a certificate is not signed by its own key")
    if not _is_of_our_kind(asked.public_key()):
        raise ConfigError(
            "the request for a certificate is for a key of another kind than nodes make, P-256; ask for one again"
        )
    authority = x509.load_pem_x509_certificate((directory / CA).read_bytes())
    key = _key(directory / CA_KEY)
    names = [*map(_general_name, dict.fromkeys(hosts)), x509.UniformResourceIdentifier(f"{ROLE}{role}")]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    earliest = datetime.fromtimestamp(revocation.earliest(directory, hosts), UTC)
    return _pem(
        _builder(subject, authority.subject, asked.public_key(), VALID, max(now or datetime.now(UTC), earliest))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, _sha256())
    )


def install(
    directory: Path, leaf: bytes, authority: bytes, revoked: str | None = None, *, replaces: bool = False
) -> None:
    """Put ``ca.pem`` and ``node.pem`` into their places on a host, and the list of removed hosts. Raises ConfigError where they
    don't fit its key, or, but with `replaces`, where what is there is of another authority."""
    from cryptography import x509

    certificate, (issuer, *others) = x509.load_pem_x509_certificate(leaf), x509.load_pem_x509_certificates(authority)
    if others:
        raise ConfigError("more than one authority came with the certificate, and each would say who is a member")
    if certificate.public_key() != _key(directory / KEY).public_key():
        raise ConfigError(f"the certificate is not for the key {directory / KEY}; ask for one again")
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, _invalid_signature()):
        raise ConfigError("the certificate is not signed by the authority that came with it") from None
    with contextlib.suppress(FileNotFoundError):
        if not replaces and (directory / CA).read_bytes().split() != authority.split():
            raise ConfigError(f"{directory} has certificates of another authority, which another deploy has brought")
    if revoked is not None:
        replace(directory / revocation.REVOKED, revocation.dump(revocation.parse(revoked)), 0o644)
    _write(directory / CA, authority, 0o644)
    _write(directory / CERTIFICATE, leaf, 0o644)


def expires(directory: Path) -> datetime:
    """When ``node.pem`` ends, in UTC. Raises OSError and ValueError."""
    from cryptography import x509

    return x509.load_pem_x509_certificate((directory / CERTIFICATE).read_bytes()).not_valid_after_utc


def hosts_in(directory: Path) -> list[str]:
    """The names and addresses in ``node.pem``. Raises OSError and ValueError."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate((directory / CERTIFICATE).read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names if not isinstance(name, x509.UniformResourceIdentifier)]


def _builder(subject: Any, issuer: Any, key: Any, valid: timedelta, now: datetime | None = None) -> Any:
    from cryptography import x509

    begin = now or datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - _SLACK)
        .not_valid_after(begin + valid)
    )


def _general_name(host: str) -> Any:
    from cryptography import x509

    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    return x509.DNSName(host)


def _new_key() -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _is_of_our_kind(key: Any) -> bool:
    from cryptography.hazmat.primitives.asymmetric import ec

    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)


def _key(file: Path) -> Any:
    from cryptography.hazmat.primitives import serialization

    try:
        return serialization.load_pem_private_key(file.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"the key {file} can't be read: {getattr(error, 'strerror', None) or error}") from None


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> None:
    from cryptography.hazmat.primitives import serialization as s

    _write(file, key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()), 0o600)


def _write(file: Path, content: bytes, mode: int) -> None:
    replace(file, content.decode(), mode)


def _pem(document: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    pem: bytes = document.public_bytes(serialization.Encoding.PEM)
    return pem


def _sha256() -> Any:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _invalid_signature() -> type[Exception]:
    from cryptography.exceptions import InvalidSignature

    return InvalidSignature
