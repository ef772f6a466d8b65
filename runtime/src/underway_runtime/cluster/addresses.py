"""Where a node of a cluster listens, and what it says of itself."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import sys
from collections.abc import Iterable
from typing import Any

from ..process.settings import Settings
from ..release.addresses import join, split
from ..release.errors import BootError, ConfigError


def listen(stated: str, *, any_port: bool = False) -> tuple[str, int]:
    """Return the address and the port of ``address:port``. Raises ConfigError for what is not one address of one host.

    >>> listen("[::1]:8786")
    ('::1', 8786)
    """
    try:
        host, port = split(stated)
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ConfigError(f"`listen` is address:port, the address one of this host; not {stated!r}") from None
    if address.is_unspecified:
        raise ConfigError(f"`listen` is one address of this host; {host} is all, and others have to know where to call")
    if not (any_port or port):
        raise ConfigError("`listen` ends with a port, not 0")
    return host, port


def refuse_taken(host: str, port: int) -> None:
    """Raise BootError where nobody can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BootError(f"this node can't listen on {join(host, port)}: {error.strerror}") from None


def refuse_plain(host: str, master: str) -> None:
    """Raise ConfigError where something would leave this machine in the clear, and from whomever."""
    hosts = dict.fromkeys((host, split(master)[0]))
    if reachable := [address for address in hosts if not _is_loopback(address)]:
        raise ConfigError(
            f"there are no certificates, and {' and '.join(reachable)} can be reached from elsewhere; `bin/cluster deploy`"
            " makes them, and `certificates` says where they are"
        )


def refuse_shared(group: object, runs_code: bool) -> None:
    """Raise ConfigError where who may operate a node, and run no code in it, has what makes a member of its cluster: the cookie."""
    if group is not None and not runs_code:
        raise ConfigError(
            f"the members of `control_group`, {group}, may read the cookie, and without certificates that makes them members of the"
            " cluster, whose code every node runs, though rpc and remote are turned off; `bin/cluster deploy` makes certificates"
        )


def refuse_out_of_reach(host: str, master: str) -> None:
    """Raise ConfigError where a worker listens on the loopback, and its master is on another host: that could never call it.

    A name that is not known here yet, and a network that is not there yet, are waited for.
    """
    if not _is_loopback(host):
        return
    name, port = split(master)
    with contextlib.suppress(OSError):
        for family, _, _, _, where in socket.getaddrinfo(name, port, type=socket.SOCK_DGRAM):
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(where)  # sends nothing: the system says from which of its addresses it would
                address = probe.getsockname()[0]
            if address == where[0] or _is_loopback(str(where[0])):
                return
            raise ConfigError(
                f"this worker listens on {host}, where its master at {master}, which is another host, can't reach it; say an"
                f" address of this host: --listen {join(address, 0)}"
            )


def hint_for_missing(host: str, node: str, missing: Iterable[str]) -> str:
    """What a master that listens on this host says about workers that have not joined: on the loopback those of other hosts never do.

    >>> hint_for_missing("127.0.0.1", "hello_master@alpha", ["hello_worker@beta"])
    '; it listens on 127.0.0.1, where no other host reaches it: say an address of this host with --listen'
    >>> hint_for_missing("127.0.0.1", "hello_master@alpha", ["hello_worker@alpha", "solo"])
    ''
    """
    own_host = node.partition("@")[2]
    elsewhere = [name for name in missing if name.partition("@")[2] not in ("", own_host)]
    if not elsewhere or not _is_loopback(host):
        return ""
    return f"; it listens on {host}, where no other host reaches it: say an address of this host with --listen"


def facts(settings: Settings, name: str, mode: str, engine: str) -> dict[str, Any]:
    """What this node says of itself to others; what `admission.differences` compares is in it."""
    return {
        "name": name,
        "mode": mode,
        "release": release(settings, settings.version),
        "engine": engine,
        "interpreter": f"Python {sys.version.split()[0]}",
    }


def release(settings: Settings, version: str) -> str:
    """What a node of this version says of its release: ``hello 1.0 (abc)``."""
    release_id = ""
    with contextlib.suppress(OSError, ValueError, KeyError):  # under `underway run` there is no manifest
        manifest = settings.directory.version(version).manifest
        release_id = f" ({json.loads(manifest.read_bytes())['release_id']})"
    return f"{settings.name} {version}{release_id}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
