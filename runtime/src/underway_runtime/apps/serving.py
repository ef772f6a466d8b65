"""What starts of all kinds have in common: what they get from the node, where they listen, and what a web server is told."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import termios
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..frozen import Frozen
from ..release.boot_script import Load
from ..release.errors import BootError, ConfigError, listing
from .main_function import MainThread
from .service import Log
from .sockets import Listeners, bind_private
from .suspension import Suspension

if TYPE_CHECKING:
    from .socket_adoption import Adoption

REQUESTS_SHARE = 0.8
"""The part of the time to stop that open requests get; the rest is for the application's own shutdown."""

TO_END = 2.0
"""Seconds after the time to drain in which clients may close what is closed by half, and applications end what they do."""


class ServerContext(Frozen):
    """What runners need from the node."""

    configured: Callable[[str, str, Any], Any]
    log: Log
    bind: Callable[[Sequence[str]], Listeners]
    main_thread: MainThread | None = None
    private: Path | None = None
    """A directory for sockets that only this user can connect to: each web application is served there too, as soon as it
    is prepared, so that gates can call it before it accepts."""
    adoption: Adoption | None = None
    """What sockets that an application binds by itself are handed over with."""
    not_handed_over: Callable[[], Sequence[str]] = tuple
    """Where the node that is to hand over, this one or the one before, listens with sockets that it can't hand over."""
    suspension: Suspension = field(default_factory=Suspension)
    """Holds requests and messages while other code is put in place."""
    not_known: list[str] = field(default_factory=list)
    """What is to be said where an application counts as ready, and nothing tells."""
    jobs: Path | None = None
    """A directory where a worker writes down what it holds of a queue, for the one that follows it."""


class Sockets:
    """Where a web application is served: over a private socket for gates, and where it listens once it accepts."""

    def __init__(self, load: Load, context: ServerContext) -> None:
        self._load = load
        self._world = context
        self._private = self._public = Listeners(())

    def bind(self) -> None:
        """Bind all addresses. Raises BootError and ConfigError; some may be bound then."""
        load, context = self._load, self._world
        if context.private is not None:
            self._private = bind_private(context.private / f"{load.application}.sock")
        if not (addresses := strings(load, "listen", context)):
            raise ConfigError(f"{load.application} has nowhere to listen: its `listen` is empty")
        self._public = context.bind(addresses)

    @property
    def private(self) -> list[socket.socket]:
        """None where none is wanted."""
        return list(self._private.sockets)

    @property
    def public(self) -> list[socket.socket]:
        return list(self._public.sockets)

    def announce(self) -> None:
        """Tell where it listens."""
        load = self._load
        self._world.log(f"{load.application} {load.version}: listening on {', '.join(self._public.addresses)}")

    def share(self) -> None:
        """Another node has the public ones as well."""
        self._public = self._public.shared

    def close(self) -> None:
        self._public.close()
        self._private.close()


def unread(connection: Any) -> bool:
    """Whether a client has sent what has not been read; to close the connection would reset it."""
    with contextlib.suppress(OSError):
        return any(fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(4)))
    return False


def strings(load: Load, key: str, context: ServerContext) -> list[str]:
    """A list in the application's configuration, or else in the boot script."""
    values = context.configured(load.application, key, (load.start or {}).get(key, []))
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ConfigError(f"`{key}` of {load.application} is a list of strings, not {values!r}")
    return values


def server_options(load: Load, context: ServerContext) -> dict[str, Any]:
    """What ``server`` in the application's configuration says to its web server."""
    options = context.configured(load.application, "server", {})
    if options == {}:
        return {}
    from ..configuration import web_servers  # whose imports cost a start more than the rest of this does

    if problems := web_servers.check(load.application, load.start, options):
        raise ConfigError(listing("its web server does not take its options:", problems))
    return dict(options)


def bad_option(load: Load, server: str, error: Exception) -> ConfigError:
    return ConfigError(f"`server` of {load.application} is not what {server} takes: {error}")


def no_server(load: Load, what: str, server: str, error: ModuleNotFoundError) -> Exception:
    if error.name is not None and error.name.partition(".")[0] != server:
        return error
    return BootError(
        f"{load.application} is {what} and {server}, which serves it, is not in this release; add {server} to the"
        " project's dependencies"
    )
