"""Where TLS finds certificate authorities. Runs in a release: its copy of ``ssl`` imports this module at its end.

OpenSSL looks where it was told to when it was built, which is where the building machine's distribution keeps them, and a
release runs on others. The variables SSL_CERT_FILE and SSL_CERT_DIR decide as ever; then OpenSSL's own places, where there is
something; then those of the other distributions; then certifi's, where the release has certifi. The process's
environment is left alone, so children see none of this.
"""

import _ssl
import os
import ssl

FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL, Amazon
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL 7 and later
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",
)
"""The places that Go's crypto/x509 tries as well, in its order."""

DIRECTORIES = ("/etc/ssl/certs", "/etc/pki/tls/certs")

_of_openssl = ssl.get_default_verify_paths


def elsewhere() -> tuple[str | None, str | None]:
    """The file or the directory to take authorities from, next to OpenSSL's own places; usually neither."""
    file_variable, file, directory_variable, directory = _ssl.get_default_verify_paths()
    if file_variable in os.environ or directory_variable in os.environ or os.path.isfile(file) or _holds(directory):
        return None, None
    for known in FILES:
        if os.path.isfile(known):
            return known, None
    for known in DIRECTORIES:
        if _holds(known):
            return None, known
    try:
        import certifi
    except ImportError:
        return None, None
    return certifi.where(), None


def get_default_verify_paths() -> ssl.DefaultVerifyPaths:
    """Return what ssl's own returns, with the places that count here."""
    paths = _of_openssl()
    file, directory = elsewhere()
    return paths._replace(cafile=file or paths.cafile, capath=directory or paths.capath)


def set_default_verify_paths(self: ssl.SSLContext) -> None:
    """Load from OpenSSL's own places, and from those that count here."""
    _ssl._SSLContext.set_default_verify_paths(self)
    file, directory = elsewhere()
    if file or directory:
        self.load_verify_locations(file, directory)


def _holds(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(True for _ in entries)
    except OSError:
        return False


ssl.get_default_verify_paths = get_default_verify_paths
ssl.SSLContext.set_default_verify_paths = set_default_verify_paths  # type: ignore[method-assign]
