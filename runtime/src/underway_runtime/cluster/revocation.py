"""Hosts that were removed from a cluster: ``revoked.json``, with who deploys and next to the certificate of every node.

::

    {"format": 1, "revoked": {"gamma": 1790000000.0, "10.0.0.7": 1790000000.0}}

What is said of a host or an address is when it was removed: certificates for it that were made until then are refused, also by
those that run, which end what connections they have; one that is made later is a new one, for a host that was taken back. An entry
goes when all certificates that it is about have ended. Who deploys has ``issued.json`` too: what is in the certificates of each host.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..release.addresses import unbracketed
from ..release.errors import ConfigError
from ..release.filesystem import openat
from ..release.filesystem.atomic_files import alone, replace

REVOKED = "revoked.json"
SLACK = 3600.0
"""Seconds before it was made from which on a certificate holds: clocks differ."""
VALID = 90 * 86400.0
"""Seconds for which it does."""
_ISSUED = "issued.json"
_LONGEST = 4 << 20
_FORMAT = 1

Revoked = Mapping[str, float]


def read(directory: Path) -> dict[str, float]:
    """Read who was removed, and when; nobody where there is no list. Raises ConfigError for one that can't be read."""
    return {name: float(at) for name, at in _table(directory / REVOKED, "revoked", (int, float)).items()}


def dump(revoked: Revoked) -> str:
    """Return the text of the list."""
    return json.dumps({"format": _FORMAT, "revoked": dict(sorted(revoked.items()))}, indent=1) + "\n"


def parse(text: str) -> dict[str, float]:
    """Read the list in a text. Raises ConfigError."""
    return {name: float(at) for name, at in _parsed(text, "revoked", (int, float), "the list of removed hosts").items()}


def reason(certificate: Mapping[str, Any], revoked: Revoked) -> str | None:
    """Why the certificate of a peer, as ssl gives it, does not hold any more; None where it does."""
    if not revoked or "notBefore" not in certificate:
        return None
    made = ssl.cert_time_to_seconds(certificate["notBefore"]) + SLACK
    for kind, value in certificate.get("subjectAltName", ()):
        if kind != "URI" and made <= revoked.get(name(value), float("-inf")):
            return f"{value} was removed from the cluster"
    return None


def name(host: str) -> str:
    """A host as it stands in the list: an address in its one form, a name in small letters."""
    try:
        return str(ipaddress.ip_address(unbracketed(host)))
    except ValueError:
        return host.lower()


def issued(authority: Path) -> dict[str, list[str]]:
    """All names and addresses in the certificates that each host was given. Raises ConfigError."""
    return {host: list(map(str, given["names"])) for host, given in _given(authority).items()}


def remember(authority: Path, given: Mapping[str, Iterable[str]]) -> None:
    """Note what is in certificates before they are given. Raises ConfigError and OSError."""
    with alone(authority):
        known = _given(authority)
        for host, names in given.items():
            all_names = sorted({*known.get(name(host), {}).get("names", ()), *map(name, names)})
            known[name(host)] = {"names": all_names, "at": max(time.time(), earliest(authority, names))}
        text = json.dumps({"format": _FORMAT, "issued": dict(sorted(known.items()))}, indent=1)
        replace(authority / _ISSUED, f"{text}\n", 0o600)


def is_out(authority: Path, host: str) -> bool:
    """Whether a host was removed, and not taken back since. Raises ConfigError."""
    removed, given = read(authority).get(name(host)), _given(authority).get(name(host), {})
    return removed is not None and removed >= float(given.get("at", removed))


def remove(authority: Path, hosts: Iterable[str], now: float | None = None) -> list[str]:
    """Take hosts out, by any of their names: what was written for them into the list, which is complete then.

    Raises ConfigError for one that no certificate was given to, unless it is an address.
    """
    at = time.time() if now is None else now
    with alone(authority):
        gone = all_names(issued(authority), hosts)
        removed_before = {name: when for name, when in read(authority).items() if when + VALID + SLACK > at}
        replace(authority / REVOKED, dump({**removed_before, **dict.fromkeys(gone, at)}), 0o644)
    return gone


def all_names(known: Mapping[str, Iterable[str]], hosts: Iterable[str]) -> list[str]:
    """Return what else these hosts are called, of all that certificates were given to. Raises ConfigError for one that is not known, unless
    it is an address."""
    gone: set[str] = set()
    for host in map(name, hosts):
        theirs = {
            alias
            for own_name, names in known.items()
            if host == own_name or host in names
            for alias in (own_name, *names)
        }
        if not theirs and not _is_address(host):
            raise ConfigError(
                f"no certificate was given to {host}; there are {', '.join(sorted(known)) or 'none that are known'}"
            )
        gone |= theirs | {host}
    return sorted(gone)


def earliest(authority: Path, hosts: Iterable[str]) -> float:
    """When a certificate for these hosts has to be made at the earliest, so that it is not one that was refused."""
    revoked = read(authority)
    return max((revoked[name(host)] + 1 for host in hosts if name(host) in revoked), default=0.0)


def _given(authority: Path) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = _table(authority / _ISSUED, "issued", (dict,))
    return rows


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _table(file: Path, key: str, kinds: tuple[type, ...]) -> dict[str, Any]:
    try:
        text = openat.read(file.parent, file, _LONGEST).decode()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} can't be read: {getattr(error, 'strerror', None) or error}") from None
    return _parsed(text, key, kinds, str(file))


def _parsed(text: str, key: str, kinds: tuple[type, ...], what: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
        table = document[key]
        if document["format"] != _FORMAT or not all(isinstance(value, kinds) for value in table.values()):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ConfigError(f"{what} can't be understood; deploy this host again") from None
    rows: dict[str, Any] = table
    return rows
