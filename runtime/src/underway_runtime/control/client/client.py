"""The commands' end of the control socket. Imports little: a command that asks a node is to start as fast as Python does."""

from __future__ import annotations

import _socket
import contextlib
import errno
import os
import select
import sys
import time

from ...process import peer
from ...release import display, names
from ...release.errors import UnderwayError, UsageError
from ...release.filesystem import openat
from ...release.filesystem.descriptors import have_paths, path_of
from .. import answers, cookie, frames, handshake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, TypeVar

    from ..frames import Message

    T = TypeVar("T")

TO_SAY = 60.0
"""Seconds that a node gets to say what it knows, as how it is."""
_TRIES = 3
"""A node that ends lets go of who is in the handshake with it; the next one has the same socket."""
_MOMENT = 0.02
PATIENCE = 5.0
"""Seconds in which a node that lives has answered a handshake: its control socket has a thread for itself."""


class NotRunning(UnderwayError):
    """There is no node to ask."""


class Denied(UnderwayError):
    """The node answers, and does not do what it is asked for; or it is not to be asked. Nothing has changed."""


class NotAnswering(UnderwayError):
    """There may be a node, or there is to be one: who asked was kept waiting."""


class Gone(UnderwayError):
    """The node has ended, or has let the connection go."""


class Place:
    """Where the release of this command is, as the launcher says."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Raises UsageError when the process was not started by ``bin/NAME``."""
        if missing := [name for name in ("RELEASE_ROOT", "RELEASE_NAME", "RELEASE_VSN") if not environ.get(name)]:
            raise UsageError(f"{', '.join(missing)} not set; a release is started with bin/NAME, which sets them")
        self.root, self.name, self.version = (environ[f"RELEASE_{what}"] for what in ("ROOT", "NAME", "VSN"))
        for variable in ("NAME", "VSN"):
            if not names.is_name(environ[f"RELEASE_{variable}"]):
                raise UsageError(
                    f"RELEASE_{variable} is {names.shown(environ[f'RELEASE_{variable}'])}, which is not a name"
                )
        self.prog = environ.get("RELEASE_PROG") or self.name
        self.var = environ.get("RELEASE_VAR") or os.path.join(self.root, "var")
        self.environ = environ
        self.control = os.path.join(environ.get("RELEASE_TMP") or self.var, names.RUN, names.CONTROL)

    def of_process(self, number: int) -> Place:
        """The same, to ask one of the processes of the release, from 1."""
        place = Place(self.environ)
        place.control += f".{number}" if number > 1 else ""
        return place


class Connection:
    """A connection to a node that has proved to have the cookie, and to which we have."""

    def __init__(self, connected: _socket.socket, name: str) -> None:
        self._socket = connected
        self._name = name
        self._received = b""
        self.is_ours = _is_ours(connected)
        """Whether what listens is of our own user."""
        self._end: float | None = None
        """When what is read has to be here; None where there is no hurry."""
        self.boot: object = None
        self.root = ""
        """The release directory that the node is of; empty where it does not say."""

    def send(self, message: Message) -> None:
        """Send one message. Raises UnderwayError when it is too large, and Gone."""
        try:
            self._socket.sendall(frames.encode(message), getattr(_socket, "MSG_NOSIGNAL", 0))
        except frames.BadFrame as error:
            raise UnderwayError(f"the request is too long: {error}") from None
        except OSError as error:
            raise self._gone(error) from None

    def receive(self, limit: int = frames.LARGEST) -> Message:
        """Receive the next message. Raises UnderwayError when there is none, Gone for one, or when it says that something is wrong."""
        try:
            message = frames.decode(self._read(frames.length(self._read(frames.HEADER), limit)))
        except frames.BadFrame as error:
            raise UnderwayError(
                f"the process on {self._name}'s control socket is not one of its nodes: {error}"
            ) from None
        except TimeoutError:
            raise NotAnswering(f"{self._name} does not answer; is it being restarted?") from None
        except OSError as error:
            raise self._gone(error) from None
        message = answers.taken(message)
        if "error" in message:
            raise Denied(display.many_lines(message["error"]))
        return message

    def status(self) -> dict[str, Any]:
        """What the node says of itself. Raises UnderwayError, also when that is not what a status has to be."""
        return answers.status(self.ask({"do": "status"}, TO_SAY), self._name)

    def ask(self, request: Message, within: float | None = None) -> Message:
        """Send a message and return the next, which has to be here within so many seconds.

        Without a limit it is as long as what is asked for takes: code, gates, a start. Raises what `send` and `receive` do.
        """
        with self._limited(within):
            self.send(request)
            return self.receive()

    def rest(self, within: float) -> Message:
        """Return the message that has begun to come, however slowly the rest of it does, within so many seconds. Raises what `ask` does."""
        with self._limited(within):
            return self.receive()

    @contextlib.contextmanager
    def _limited(self, within: float | None) -> Iterator[None]:
        """What is sent and received meanwhile has so many seconds, all together."""
        if within is not None:
            self._end = time.monotonic() + within
            self._socket.settimeout(within)
        try:
            yield
        finally:
            self._end = None
            self._socket.settimeout(None)

    def has_answered(self, timeout: float) -> bool:
        """Wait, and return whether something is there to be received, or the end of the connection, within so many seconds."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(self._received or waiting.poll(timeout * 1000))

    def wait_for_end(self, timeout: float) -> bool:
        """Wait, and return whether the node has closed the connection, as it does at its end, within so many seconds."""
        end = time.monotonic() + timeout
        try:
            while (left := end - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not self._socket.recv(65536):
                    return True
            return False
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def close(self) -> None:
        """End it; what it asked for and still runs is cancelled."""
        self._socket.close()

    def agree(self, secret: str, patience: float) -> None:
        """Shake hands; `patience` is in seconds, for each of the two answers on average."""
        self._socket.settimeout(patience)
        self._end = time.monotonic() + 2 * patience
        greeting = self.receive(frames.FIRST)
        if greeting.get("underway") != handshake.VERSION:
            raise UnderwayError(
                f"{self._name} runs another version of underway, with which this command can't talk"
                f" ({greeting.get('underway')!r}, not {handshake.VERSION}); use the version of the release that runs:"
                " RELEASE_VSN chooses it"
            )
        answer = handshake.answer(secret, greeting)
        self.send(answer)
        expected = handshake.proof(secret, "node", greeting, answer["nonce"])
        proof = self.receive(frames.FIRST)
        self.root = root if isinstance(root := proof.get("root"), str) else ""
        if not handshake.proves(proof, expected):
            raise UnderwayError(f"the process on {self._name}'s control socket does not have its cookie")
        self.boot = greeting.get("boot")
        self._end = None
        self._socket.settimeout(None)

    def _read(self, count: int) -> bytes:
        while len(self._received) < count:
            if self._end is not None:  # for all of it, however slowly it comes
                self._socket.settimeout(max(0.001, self._end - time.monotonic()))
            chunk = self._socket.recv(65536)
            if not chunk:
                raise ConnectionResetError(errno.ECONNRESET, "it has closed the connection")
            self._received += chunk
        wanted, self._received = self._received[:count], self._received[count:]
        return wanted

    def _gone(self, error: OSError) -> Gone:
        return Gone(f"{self._name} is gone: {error.strerror or error}")


def elsewhere(name: str, root: str, node: object) -> str:
    """Of which release directory the node is, as a sentence, where that is not `root`, the command's; else nothing."""
    if not isinstance(node, str) or node in ("", names.path_text(root)):
        return ""
    try:
        path = node.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        path = b""
    if _is_same(path, root):
        return ""
    gone = "" if os.path.isdir(os.path.join(path, b"releases")) else ", which is not there any more"
    return f"{name} runs from {display.one_line(node)}{gone}, and this command is of {display.one_line(root)}"


def _is_same(one: bytes, other: str) -> bool:
    """Whether both paths lead to one directory: it is mounted twice, or where it was is a link to where it is."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


def check_directory(name: str, root: str, node: object, command: str) -> None:
    """Raise Denied where the node is of another release directory than the command, which would change what runs."""
    if where := elsewhere(name, root, node):
        raise Denied(
            f"{command} is refused: {where}; use the bin/{name} of that directory, or `stop` it and start it from this one"
        )


def tell_directory(place: Place, connection: Connection) -> None:
    """Say on standard error that the node is of another release directory, to whoever asks it."""
    if where := elsewhere(place.name, place.root, connection.root):
        print(f"note: {where}", file=sys.stderr)


def connect(place: Place, patience: float = PATIENCE) -> Connection:
    """Connect to the node and do the handshake, in `patience` seconds; with the one that follows, where it ends meanwhile.

    Raises NotRunning when there is none, and UnderwayError when it can't be asked, or makes no sense.
    """
    for _ in range(_TRIES - 1):
        try:
            return _agreed(place, patience)
        except Gone:
            time.sleep(_MOMENT)
    return _agreed(place, patience)


def asked(place: Place, question: Callable[[Connection], T]) -> T:
    """What `question`, which changes nothing, has from the node; once more from the one that follows, where it ends meanwhile.

    Raises what `connect` and `question` do.
    """
    try:
        with contextlib.closing(connect(place)) as connection:
            return question(connection)
    except Gone:
        with contextlib.closing(connect(place)) as connection:
            return question(connection)


def _agreed(place: Place, patience: float) -> Connection:
    connected = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connected.settimeout(PATIENCE)
        try:
            _connect(connected, place.control)
        except FileNotFoundError:
            raise NotRunning(_without_socket(place)) from None
        except (NotADirectoryError, ConnectionRefusedError):
            raise NotRunning(f"{place.name} is not running") from None
        except PermissionError:
            raise UnderwayError(
                f"{place.control} can't be used by this user; ask as the user who runs {place.name}, or as root"
            ) from None
        except (TimeoutError, BlockingIOError):
            raise NotAnswering(f"{place.name} does not answer: others wait before this command") from None
        except OSError as error:
            raise UnderwayError(f"{place.control} can't be used: {error.strerror or error}") from None
        secret = cookie.find(place.root, place.version, place.var, place.environ)
        if secret is None:
            raise UnderwayError(
                f"{place.name} runs, and its cookie is not in {place.var}; is RELEASE_VAR that of the node?"
            )
        connection = Connection(connected, place.name)
        connection.agree(secret, patience)
        return connection
    except BaseException:
        connected.close()
        raise


def _without_socket(place: Place) -> str:
    """What to say where there is no control socket: somebody may have removed that of a node that runs."""
    from pathlib import Path

    from ...process import lock
    from ...release.directory import VarDirectory

    node = None
    with contextlib.suppress(UnderwayError):
        node = lock.find(VarDirectory(Path(place.control).parent.parent), place.name)
    if node is None:
        return f"{place.name} is not running"
    return (
        f"{place.name} runs (pid {node.pid}) and can't be asked, as {place.control} is not there: it starts or stops, or somebody"
        " has removed that file; the node makes it again within a minute, and `stop` works without it"
    )


def _connect(connected: _socket.socket, path: str) -> None:
    """Connect by descriptors: the address of a socket file is at most 107 bytes, and its directory another user's."""
    if not have_paths():
        connected.connect(path)
        return
    above, name = os.path.split(path)
    var, run = os.path.split(above)
    with openat.directory(var, run) as directory:
        descriptor = directory.socket(name)
    end = time.monotonic() + PATIENCE
    try:
        while True:
            try:
                connected.connect(path_of(descriptor, path))
                return
            except BlockingIOError:  # the queue of those who connect is full
                if time.monotonic() >= end:
                    raise
                time.sleep(0.01)
    finally:
        os.close(descriptor)


def _is_ours(connected: _socket.socket) -> bool:
    process = peer.credentials(connected)
    return process is not None and process[1] == os.geteuid()
