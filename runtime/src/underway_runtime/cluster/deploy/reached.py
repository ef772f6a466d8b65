"""At which address a host is reached, as who deploys sees it: its own word counts where that is one of those that SSH connects to.

Else it could have a certificate for its neighbour's. Where SSH goes another way than the cluster will, its user says the address.
"""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from dataclasses import replace

from ..inventory import Host
from .preflight import Facts
from .ssh import Ssh


def believed(facts: Facts, host: Host, ssh: Ssh) -> Facts:
    """The same, with an address of the host that is not its own word alone. Raises ValueError where there is none."""
    if host.address is not None:
        return replace(facts, address=host.address)
    dialled = ssh.dials(host)
    known = addresses(dialled)
    stated = _plain(facts.address)
    if not stated or stated in known:
        return replace(facts, address=stated or next(iter(known), ""))
    raise ValueError(
        f"it says that it is reached at {stated}, and {dialled} is {', '.join(known) or 'no address that is known here'};"
        f' say which of its addresses is right: {{ host = "{host.host}", address = "{stated}" }} in the table of hosts'
    )


def addresses(name: str) -> list[str]:
    """What a name stands for here; an address stands for itself."""
    known: dict[str, None] = {}
    with suppress(OSError, UnicodeError):
        for *_, where in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM):
            known[_plain(str(where[0]))] = None
    return [*known]


def _plain(text: str) -> str:
    """An address in its one form; what is none is empty."""
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
