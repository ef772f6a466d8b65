"""Who may be connected with whom: certificates with a role and hosts, and the same release on both sides. Nothing of the engine.

===================  =================================================================================================
what                 where it is checked
===================  =================================================================================================
certificate of our   the TLS handshake, on both sides
authority
host                 the side that connects: the TLS handshake, what it dialled is in the certificate.
                     The side that listens: `wrong_host`, the address it is called from is in the certificate, or is that
                     of a name in it. A node connects from the address that it listens on
role                 `wrong_role`, on both sides: who is dialled as the master has the master's certificate, and everybody
                     says of itself what its certificate says
not removed          `revocation.reason`, on both sides; and for connections that there are, when the list changes
cookie               where there are no certificates, `greeting`, on both sides
release, engine      `differences`, on both sides
===================  =================================================================================================

All of it before the engine has read a byte of the other side: its messages are pickled.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..release.errors import ConfigError, listing
from ..release.filesystem import ownership
from . import revocation

ROLES = ("master", "worker")
ROLE = "underway:role:"
"""What begins the URI in a certificate that says its role."""
CA, CERTIFICATE, KEY = "ca.pem", "node.pem", "node.key"


class Credentials:
    """The certificate of a node, for both kinds of connections; what is put in its place is taken up by `refresh`."""

    def __init__(self, directory: Path) -> None:
        """Raises ConfigError with what is wrong with the files."""
        self.directory = directory
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.role = ""
        self.ends = 0.0
        """When it ends, in seconds since 1970."""
        self.revoked: dict[str, float] = {}
        """Who was removed from the cluster, see `revocation`."""
        self._seen: object = None
        self._seen_revoked: object = None
        if problems := [*self._problems()]:
            raise ConfigError(listing("the certificate of this node can't be used:", problems))
        self.refresh_revoked()
        try:
            self.refresh()
        except OSError as error:
            why = getattr(error, "verify_message", None) or error
            raise ConfigError(f"the certificate in {directory} can't be used: {why}; deploy this host again") from None

    def refresh(self) -> bool:
        """Read the files where they have changed, for connections from now on; whether they have.

        Raises OSError where they don't fit each other, or others could have changed them; what was read before goes on.
        """
        looked = [os.stat(self.directory / name) for name in (CA, CERTIFICATE)]
        seen = [(status.st_mtime_ns, status.st_ino, status.st_mode, status.st_uid) for status in looked]
        if seen == self._seen:
            return False
        self._seen = seen
        if problems := [*self._problems()]:
            raise OSError("; ".join(problems))
        shown = self._shown()
        for context in (self.server, self.client):
            self._load(context)
        roles = [value for kind, value in shown.get("subjectAltName", ()) if kind == "URI" and value.startswith(ROLE)]
        self.role = " and ".join(value.removeprefix(ROLE) for value in roles)
        self.ends = ssl.cert_time_to_seconds(shown["notAfter"])
        return True

    def refresh_revoked(self) -> bool:
        """Read the list of removed hosts where it has changed; whether it has. Raises ConfigError; what was read before goes on."""
        try:
            status = os.stat(self.directory / revocation.REVOKED)
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
        except FileNotFoundError:
            seen = None
        if seen == self._seen_revoked:
            return False
        self._seen_revoked = seen
        if problems := self._problems_of(revocation.REVOKED):
            raise ConfigError("; ".join(problems))
        before, self.revoked = self.revoked, revocation.read(self.directory)
        return before != self.revoked

    def _problems(self) -> Iterator[str]:
        """Tell what speaks against the files: who could change one says who is a member, and who reads the key is one."""
        files = [self.directory / name for name in (CA, CERTIFICATE, KEY)]
        yield from (f"{file} is missing" for file in files if not file.is_file())
        yield from self._problems_of("", CA, CERTIFICATE, KEY, revocation.REVOKED)
        key = files[-1]
        if key.is_file() and key.stat().st_mode & 0o077:
            yield f"{key} can be read by others; chmod 600 it"

    def _problems_of(self, *names: str) -> list[str]:
        """Who else could change one of these, where it is there."""
        paths = filter(os.path.exists, (self.directory / name for name in names))
        return ownership.problems([(str(path), path.stat()) for path in paths])

    def _load(self, context: ssl.SSLContext) -> None:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.hostname_checks_common_name = False  # of hosts only what is among the subject's other names counts
        if context.protocol == ssl.PROTOCOL_TLS_SERVER:
            context.num_tickets = 0  # each connection shows its certificate
        context.load_verify_locations(self.directory / CA)
        context.load_cert_chain(self.directory / CERTIFICATE, self.directory / KEY)

    def _shown(self) -> dict[str, Any]:
        """What others would see of this certificate, if they took it: a handshake with itself."""
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        client.check_hostname = False
        for context in (client, server):
            self._load(context)
        sides = [
            client.wrap_bio(to_client, to_server),
            server.wrap_bio(to_server, to_client, server_side=True),
        ]
        for side in sides * 2:
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        return sides[0].getpeercert() or {}


def digest(directory: Path) -> str:
    """Of the certificate and the list of removed hosts that are in a directory now. Raises OSError."""
    total = hashlib.sha256()
    for name in (CA, CERTIFICATE, revocation.REVOKED):
        with contextlib.suppress(FileNotFoundError):
            data = (directory / name).read_bytes()
            total.update(f"{name} {len(data)}\n".encode() + data)
    return total.hexdigest()


def wrong_role(certificate: Mapping[str, Any], claim: object = None, *, wanted: str | None = None) -> str | None:
    """Why the role of a peer does not hold: `certificate` is what ssl says of it; `claim` what it says of itself and
    `wanted` what it has to be, where that is known. None where it does."""
    names = certificate.get("subjectAltName", ())
    roles = [value.removeprefix(ROLE) for kind, value in names if kind == "URI" and value.startswith(ROLE)]
    shown = f"its certificate is for {' and '.join(roles) or 'no role'}"
    if len(roles) != 1 or roles[0] not in ROLES:
        return shown
    if claim not in (None, roles[0]):
        return f"it says that it is a {claim}, and {shown}"
    return f"{shown} where a {wanted} has to be" if wanted not in (None, roles[0]) else None


async def wrong_host(certificate: Mapping[str, Any], called_from: str) -> str | None:
    """Why a peer may not call from this address; None where it may."""
    address = ipaddress.ip_address(called_from)
    hosts = []
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "IP Address" and ipaddress.ip_address(value) == address:
            return None
        if kind == "DNS":
            with contextlib.suppress(OSError):
                rows = await asyncio.get_running_loop().getaddrinfo(value, None, type=socket.SOCK_STREAM)
                if address in {ipaddress.ip_address(where[0]) for *_, where in rows}:
                    return None
        if kind != "URI":
            hosts.append(value)
    return f"it calls from {called_from}, and its certificate is for {', '.join(hosts) or 'no host'}"


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """What keeps two nodes apart, in one line; None where nothing does.

    >>> differences({"engine": "Dask 1", "release": "hello 1.0 (ab)"}, {"engine": "Dask 1", "release": "hello 1.1 (cd)"})
    'its release is hello 1.1 (cd) and ours is hello 1.0 (ab)'
    """
    problems = [
        f"its {what} is {theirs.get(what) or 'unknown'} and ours is {ours[what]}"
        for what in ("release", "engine", "interpreter")
        if what in ours and ours[what] != theirs.get(what)
    ]
    return "; ".join(problems) or None
