"""The engine's connections, and whom they lead to."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from distributed import Security
from distributed.comm import registry, tcp
from distributed.comm.core import FatalCommClosedError

from ...release.addresses import unbracketed
from .. import greeting
from ..members import Members
from ..peer_auth import Credentials, differences, wrong_host, wrong_role
from ..revocation import reason

SCHEME = "underway"
MOST_UNKNOWN = 128
CLOSED = "it has closed the connection; where it has refused this node, its log says why"


class Backend(tcp.TCPBackend):
    """The engine's connections over TCP, in TLS where there are credentials, to and from whom `admission` lets through."""

    def __init__(
        self,
        facts: Callable[[], Mapping[str, Any]],
        host: str,
        master: str,
        credentials: Credentials | None,
        members: Members,
        cookie: str,
    ) -> None:
        """`facts` gives what this node says of itself; `host` is the address it listens on and connects from; `master` where
        the master is, ``host:port``. Without credentials everybody has to prove that it has the `cookie`."""
        self.facts = facts
        self.host = host
        self.master = master
        self.credentials = credentials
        self.members = members
        self.connections: weakref.WeakSet[_Comm] = weakref.WeakSet()
        self.unknown = _Unknown()
        self._cookie = cookie

    def cookie(self) -> str | None:
        """What proves who the other side is, where no certificate does."""
        return self._cookie if self.credentials is None else None

    def wrong(self, certificate: Mapping[str, Any], claim: object = None, wanted: str | None = None) -> str | None:
        """Why a certificate does not do; None where it does, or where there are none."""
        if self.credentials is None:
            return None
        return reason(certificate, self.credentials.revoked) or wrong_role(certificate, claim, wanted=wanted)

    def differs(
        self, certificate: Mapping[str, Any], theirs: Mapping[str, Any], wanted: str | None = None
    ) -> str | None:
        """Why a node that says this of itself is none of this cluster; None where it is one."""
        mode = theirs.get("mode")
        if self.credentials is None and wanted not in (None, mode):
            return f"it is a {mode} where a {wanted} has to be"
        return self.wrong(certificate, mode, wanted) or differences(self.facts(), theirs)

    def cut(self) -> None:
        """End the connections with who was removed meanwhile."""
        for connection in list(self.connections):
            if (
                not connection.closed()
                and self.credentials is not None
                and (why := reason(connection.certificate, self.credentials.revoked))
            ):
                self.members.refuse(_host(connection.peer_address), why)
                connection.abort()

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
    """One connection, with whom `admission` lets through."""

    def __init__(self, backend: Backend, *arguments: Any) -> None:
        self.certificate: dict[str, Any] = {}
        self.name = ""
        """Of the other node, as it says."""
        super().__init__(*arguments)
        backend.connections.add(self)

    def _read_extra(self) -> None:
        if isinstance(self.stream.socket, ssl.SSLSocket):
            self.certificate = self.stream.socket.getpeercert() or {}


class _Words:
    """A stream, for `greeting`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def read(self, size: int) -> bytes:
        data: bytes = await self._stream.read_bytes(size)
        return data

    async def write(self, data: bytes) -> None:
        await self._stream.write(data)


class _Connector(tcp.TCPConnector):
    prefix = f"{SCHEME}://"

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.encrypted = backend.credentials is not None
        self.comm_class = partial(_Comm, backend)

    async def connect(self, address: str, deserialize: bool = True, **arguments: Any) -> _Comm:
        stream = await self._stream(address, **arguments)
        comm = _Comm(
            self.backend, stream, self.prefix + tcp.get_stream_address(stream), self.prefix + address, deserialize
        )
        try:
            await self._greet(comm, "master" if address == self.backend.master else None)
        except greeting.Refused as error:
            comm.abort()
            raise FatalCommClosedError(f"{comm.name or _host(comm.peer_address)} is refused: {error}") from None
        except tcp.StreamClosedError:
            comm.abort()
            raise FatalCommClosedError(CLOSED) from None
        except BaseException:
            comm.abort()
            raise
        return comm

    async def _stream(self, address: str, ssl_context: ssl.SSLContext | None = None, **arguments: Any) -> Any:
        """A connection, in TLS where there are certificates; it is closed where that does not come to its end in time."""
        self._check_encryption(address, arguments)
        host, port = tcp.parse_host_port(address)
        try:
            plain = await self.client.connect(
                host, port, source_ip=self.backend.host, max_buffer_size=tcp.MAX_BUFFER_SIZE, timeout=greeting.WITHIN
            )
        except tcp.StreamClosedError as error:
            tcp.convert_stream_closed_error(self, error)
            raise AssertionError from None
        if ssl_context is None:
            return plain
        twin = plain.socket.dup()
        try:
            async with asyncio.timeout(greeting.WITHIN):
                return await plain.start_tls(False, ssl_options=ssl_context, server_hostname=host)
        except ssl.SSLError as error:
            raise FatalCommClosedError("there is no TLS with it") from error
        except BaseException as error:
            with contextlib.suppress(OSError):
                twin.shutdown(socket.SHUT_RDWR)  # the stream in TLS is not ours to close yet, and sees this
            if isinstance(error, tcp.StreamClosedError):
                if isinstance(error.real_error, ssl.SSLError):
                    raise FatalCommClosedError("there is no TLS with it") from error.real_error
                tcp.convert_stream_closed_error(self, error)
            raise
        finally:
            twin.close()

    async def _greet(self, comm: _Comm, role: str | None) -> None:
        """Greet the other side. Raises Refused where that is not who it has to be."""
        backend = self.backend
        if (reason := backend.wrong(comm.certificate, wanted=role)) is not None:  # before it is told anything
            raise greeting.Refused(reason)
        where = f"{_end(comm.stream.socket.getsockname())}>{_end(comm.stream.socket.getpeername())}"
        async with asyncio.timeout(greeting.WITHIN):
            theirs = await greeting.call(_Words(comm.stream), backend.facts(), backend.cookie(), where)
        comm.name = theirs.get("name", "")
        if (reason := backend.differs(comm.certificate, theirs, wanted=role)) is not None:
            raise greeting.Refused(reason)


class _Listener(tcp.TCPListener):
    prefix = f"{SCHEME}://"

    def __init__(self, backend: Backend, loc: str, handle_comm: Any, deserialize: bool, **arguments: Any) -> None:
        self.backend = backend
        self.encrypted = backend.credentials is not None
        self.comm_class = partial(_Comm, backend)
        super().__init__(loc, handle_comm, deserialize, **arguments)

    def _get_server_args(self, ssl_context: ssl.SSLContext | None = None, **_: Any) -> dict[str, Any]:
        return {"ssl_options": ssl_context}

    async def _prepare_stream(self, stream: Any, address: str) -> Any:
        """Return the stream, when its other side may speak to the engine; nothing that it sends is for the engine before."""
        who, host = [""], _host(address)
        with self.backend.unknown.one(stream, host):
            try:
                async with asyncio.timeout(greeting.WITHIN):
                    reason = await self._wrong(stream, address, who)
            except greeting.Refused as error:
                reason = str(error)
            except TimeoutError:
                reason = f"it has not identified itself within {greeting.WITHIN:g} s"
            except OSError as error:
                why = getattr(error, "real_error", None) or error
                if not isinstance(why, ssl.SSLError) or isinstance(why, ssl.SSLEOFError):
                    return None  # it has left
                reason = f"there is no TLS with it: {why}"
        if reason is None:
            return stream
        self.backend.members.refuse(who[0] or host, reason)
        stream.close()
        return None

    async def _wrong(self, stream: Any, address: str, who: list[str]) -> str | None:
        """Why the other side may not, and into `who` its name. Raises Refused, and what the stream raises."""
        backend, certificate = self.backend, dict[str, Any]()
        if self.encrypted:
            await stream.wait_for_handshake()
            certificate = stream.socket.getpeercert() or {}
            if reason := backend.wrong(certificate) or await wrong_host(certificate, _host(address)):
                return reason
        where = f"{_end(stream.socket.getpeername())}>{_end(stream.socket.getsockname())}"
        theirs = await greeting.answer(_Words(stream), backend.facts(), backend.cookie(), where)
        who[0] = theirs.get("name", "")
        return backend.differs(certificate, theirs)


class _Unknown:
    """Connections whose other side has not said yet who it is: no more than so many, whoever makes them."""

    def __init__(self) -> None:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = MOST_UNKNOWN if files == resource.RLIM_INFINITY else max(1, min(MOST_UNKNOWN, files // 4))
        self._open: dict[Any, str] = {}

    @contextlib.contextmanager
    def one(self, stream: Any, host: str) -> Iterator[None]:
        """One more; when there are too many, the oldest of the address that has most is closed."""
        self._open[stream] = host
        if len(self._open) > self._most:
            counts = Counter(self._open.values())
            oldest = next(connection for connection, of in self._open.items() if counts[of] == max(counts.values()))
            del self._open[oldest]
            oldest.close()
        try:
            yield
        finally:
            self._open.pop(stream, None)


def _end(address: Any) -> str:
    """Return one end of a connection, as both sides see it.

    >>> _end(("::1", 8786, 0, 0)), _end(("127.0.0.1", 8786))
    ('::1 8786', '127.0.0.1 8786')
    """
    return f"{address[0].partition('%')[0]} {address[1]}"


def _host(address: str) -> str:
    """
    >>> _host("underway://[::1]:8786")
    '::1'
    """
    return unbracketed(address.rpartition("://")[2].rpartition(":")[0])
