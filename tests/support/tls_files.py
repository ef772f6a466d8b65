"""Files of TLS, as servers have them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def write_tls(directory: Path, *, serial: int = 1) -> Path:
    """Write a certificate (crt) with its key, the key encrypted (locked), both in one file, and the key of another; `directory`."""
    directory.mkdir(exist_ok=True)
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial, now, now + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def pem(key: ec.EllipticCurvePrivateKey, password: bytes = b"") -> bytes:
        encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)

    files = {"crt": certificate, "key": pem(key), "other": pem(other), "locked": pem(key, b"s3cret")}
    for file, content in {**files, "both": certificate + pem(key)}.items():
        (directory / file).write_bytes(content)
    return directory
