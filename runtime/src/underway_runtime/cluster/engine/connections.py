"""The engine's connections, and whom they lead to."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn

from distributed import Security
from distributed.comm import registry, tcp
from distributed.comm.core import FatalCommClosedError

from ..admission import Credentials, differences, wrong_host, wrong_role
from ..members import Members

SCHEME = "underway"


class Backend(tcp.TCPBackend):
    """The engine's connections over TCP, in TLS where there are credentials, to and from whom `admission` lets through."""

    def __init__(
        self,
        facts: Callable[[], Mapping[str, Any]],
        host: str,
        master: str,
        credentials: Credentials | None,
        members: Members,
    ) -> None:
        """`facts` gives what this node says of itself; `host` is the address it listens on and connects from; `master` where
        the master is, ``host:port``."""
        self.facts = facts
        self.host = host
        self.master = master
        self.credentials = credentials
        self.members = members

    def get_connector(self) -> _Connector:
        return _Connector(self)

    def get_listener(self, loc: str, handle_comm: Any, deserialize: bool, **arguments: Any) -> _Listener:
        return _Listener(self, loc, handle_comm, deserialize, **arguments)

    def open(self) -> Security:
        """Make this the backend of `SCHEME`; returns what the engine's objects are to be given."""
        registry.backends[SCHEME] = self
        return _Security(self.credentials)


class _Security(Security):
    def __init__(self, credentials: Credentials | None) -> None:
        super().__init__(require_encryption=credentials is not None)
        self._contexts = credentials and (credentials.client, credentials.server)

    def get_connection_args(self, role: str) -> dict[str, Any]:
        return {"ssl_context": self._contexts and self._contexts[0], "require_encryption": self.require_encryption}

    def get_listen_args(self, role: str) -> dict[str, Any]:
        return {"ssl_context": self._contexts and self._contexts[1], "require_encryption": self.require_encryption}


class _Comm(tcp.TCP):
    """One connection. What both sides say of themselves goes with the engine's own first message."""

    def __init__(self, backend: Backend, incoming: bool, *arguments: Any) -> None:
        self.backend = backend
        self.incoming = incoming
        self.role: str | None = None
        """What the other side has to be, where that is known."""
        self.theirs: dict[str, Any] = {}
        """What it has said of itself."""
        super().__init__(*arguments)

    def _read_extra(self) -> None:
        there = self.backend.credentials is not None and self.stream is not None
        self.certificate: dict[str, Any] = (there and self.stream.socket.getpeercert()) or {}

    def handshake_info(self) -> dict[str, Any]:
        return {**super().handshake_info(), "underway": self.backend.facts()}

    def handshake_configuration(self, local: dict[str, Any], remote: dict[str, Any]) -> dict[str, Any]:
        """Called with what both have said. Raises FatalCommClosedError where the other side is not who it has to be."""
        said = remote.get("underway")
        self.theirs = said if isinstance(said, dict) else {}
        mode = self.theirs.get("mode")
        reason = differences(self.backend.facts(), self.theirs)
        if self.backend.credentials is not None:
            reason = wrong_role(self.certificate, mode, wanted=self.role) or reason
        elif self.role not in (None, mode):
            reason = f"it is a {mode} where a {self.role} has to be"
        if reason is not None:
            self.refuse(reason)
        configuration: dict[str, Any] = super().handshake_configuration(local, remote)
        return configuration

    def refuse(self, reason: str) -> NoReturn:
        who = str(self.theirs.get("name") or _host(self.peer_address))
        if self.incoming:  # else who has connected tells
            self.backend.members.refuse(who, reason)
        self.abort()
        raise FatalCommClosedError(f"{who} is refused: {reason}")


class _Connector(tcp.TCPConnector):
    prefix = f"{SCHEME}://"

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.encrypted = backend.credentials is not None
        self.comm_class = partial(_Comm, backend, False)

    def _get_connect_args(self, ssl_context: ssl.SSLContext | None = None, **_: Any) -> dict[str, Any]:
        return {"ssl_options": ssl_context, "source_ip": self.backend.host}

    async def connect(self, address: str, deserialize: bool = True, **arguments: Any) -> _Comm:
        comm: _Comm = await super().connect(address, deserialize=deserialize, **arguments)
        comm.role = "master" if address == self.backend.master else None
        if self.encrypted and comm.role is not None and (reason := wrong_role(comm.certificate, wanted=comm.role)):
            comm.refuse(reason)  # before it is told anything
        return comm


class _Listener(tcp.TCPListener):
    prefix = f"{SCHEME}://"

    def __init__(self, backend: Backend, loc: str, handle_comm: Any, deserialize: bool, **arguments: Any) -> None:
        self.backend = backend
        self.encrypted = backend.credentials is not None
        self.comm_class = partial(_Comm, backend, True)
        super().__init__(loc, handle_comm, deserialize, **arguments)

    def _get_server_args(self, ssl_context: ssl.SSLContext | None = None, **_: Any) -> dict[str, Any]:
        return {"ssl_options": ssl_context}

    async def _prepare_stream(self, stream: Any, address: str) -> Any:
        """The stream, when its other side may speak: what it sends is not even read before."""
        if not self.encrypted:
            return stream
        reason = None
        try:
            await stream.wait_for_handshake()
            certificate = stream.socket.getpeercert()
            reason = wrong_role(certificate) or await wrong_host(certificate, _host(address))
        except OSError as error:
            why = getattr(error, "real_error", None) or error
            if not isinstance(why, ssl.SSLError) or isinstance(why, ssl.SSLEOFError):
                return None  # it has left
            reason = f"there is no TLS with it: {why}"
        if reason is None:
            return stream
        self.backend.members.refuse(_host(address), reason)
        stream.close()
        return None


def _host(address: str) -> str:
    """
    >>> _host("underway://[::1]:8786")
    '::1'
    """
    return address.rpartition("://")[2].rpartition(":")[0].strip("[]")
