"""The listening sockets of a release. They outlive its nodes, so that connections wait while none lives.

A socket is asked for by a text (see ``release/channel``), and the same text gets the same socket again in the next node.
Where it is asked for twice by one node, as port 0 may be, the second is a socket of its own; one whose file is gone is bound again.
"""

from __future__ import annotations

import _socket
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_BACKLOG = 2048
_PATH_LIMIT = 107
_LOST = "another file has its place; remove that, and `restart --graceful` makes it again"


class Held:
    """One socket, and what is to be done with it."""

    def __init__(self, key: str, socket: _socket.socket, *, path: str = "", file: int = -1) -> None:
        """`file` is a descriptor of its file, which has this path: as long as it is open no other file is taken for that one."""
        self.key = key
        self.socket = socket
        self.given: set[int] = set()
        """The pids of the nodes that have it."""
        self.last = 0
        """That of the node that was given it last."""
        self.first = 0
        """That of the node for which it was bound."""
        self.permissions = (0, -1)
        """The mode and group of its file."""
        self.wanted: dict[int, tuple[int, int]] = {}
        """Those that a node has asked for, by its pid."""
        self.ended = False
        """Whether it listens no more, and can't again."""
        self._path = path
        self._file = file

    @property
    def is_lost(self) -> bool:
        """Whether its file is gone, or another: a cleaner of temporary files, say, has removed it."""
        return self._path != "" and not self._is_at(self._path)

    def permit(self, node: int) -> str:
        """Give its file the mode and group that the node, which serves from now on, has asked for; returns why that, or its
        file, can't be had."""
        wanted = self.wanted.get(node, self.permissions)
        if self.is_lost:
            return f"nobody can connect to {self._path}: {_LOST}"
        if not self._path or wanted == self.permissions:
            return ""
        self.permissions = wanted
        try:
            _permit(self._file, *wanted)
        except OSError as error:
            return f"who may connect to {self._path}: {error.strerror or error}"
        return ""

    def listen_again(self) -> str:
        """Some process that has it has called shutdown, which ends it for all; returns why it can't be undone."""
        self.ended = True
        if self.socket.family == _socket.AF_UNIX:
            return "a socket file can't listen again"
        try:
            self.socket.listen(_BACKLOG)
        except OSError as error:
            return error.strerror or str(error)
        self.ended = False
        return ""

    def move(self, path: str) -> None:
        """Its file has another path now, where this is the same one: the directory was moved, and where it was is a link."""
        if path and self._path not in ("", path) and self._is_at(path):
            self.key, self._path = f"unix {path}", path

    def close(self) -> None:
        """Close it, and remove its file unless another process has put its own in place."""
        self.socket.close()
        if not self._path:
            return
        try:
            if self._is_at(self._path):
                os.unlink(self._path)
        except OSError:
            pass
        os.close(self._file)

    def _is_at(self, path: str) -> bool:
        """Whether its very file is there, whoever has touched it, or given it to somebody, meanwhile."""
        try:
            return os.path.samestat(os.lstat(path), os.fstat(self._file))
        except OSError:
            return False


class Sockets:
    """All that this keeper holds."""

    def __init__(self, inherited: Iterable[int] = ()) -> None:
        """`inherited` are descriptors of sockets that systemd has bound; their files are its own."""
        self._held: list[Held] = []
        for descriptor in inherited:
            socket = _socket.socket(fileno=descriptor)
            socket.setblocking(False)
            self._held.append(Held(_key_of(socket), socket))

    def forget(self, node: int) -> None:
        """Forget a node that has ended."""
        for held in self._held:
            held.given.discard(node)
            held.wanted.pop(node, None)

    def drop(self, node: int) -> None:
        """Close what was bound for a node alone that has ended, and that nobody is to follow."""
        for held in [held for held in self._held if held.first == node and held.given <= {node}]:
            held.close()
            self._held.remove(held)
        self.forget(node)

    def give(self, asked: str, node: int) -> _socket.socket:
        """The socket for what a node asks for, which listens. Raises OSError, or ValueError with what is in the way."""
        kind, _, rest = asked.partition(" ")
        mode, gid, path = 0, -1, ""
        if kind == "unix":
            permissions, _, path = rest.partition(" ")
            octal, _, group = permissions.partition(":")
            mode, gid = int(octal, 8), int(group or -1)
        key = f"unix {path}" if path else asked
        for held in self._held:
            held.move(path)
        for ended in [held for held in self._held if held.key == key and held.ended]:
            ended.close()
            self._held.remove(ended)
        same = [held for held in self._held if held.key == key]
        free = next((held for held in same if node not in held.given or held.is_lost), None)
        if free is None or free.is_lost:
            file = -1
            try:
                if path:
                    socket, file = _bind_file(path, mode, gid)
                else:
                    socket = _bind_tcp(kind, rest.split())
            except (OSError, ValueError):
                if free is None or node in free.given:
                    raise  # else it goes on without that file, which `permit` tells of
            else:
                if free is not None:
                    free.close()  # who has it still answers those who are connected
                    self._held.remove(free)
                free = Held(key, socket, path=path, file=file)
                free.first, free.permissions = node, (mode, gid)
                self._held.append(free)
                socket.listen(_BACKLOG)
        free.given.add(node)
        free.last = node
        free.wanted[node] = (mode, gid)
        return free.socket

    def permit(self, node: int) -> list[str]:
        """Let connect to socket files who may, by this node; what could not be done."""
        return [why for held in self._held if (why := held.permit(node))]

    def listening(self) -> list[int]:
        """Their descriptors: a hangup there is the end of listening."""
        return [held.socket.fileno() for held in self._held if not held.ended]

    def listen_again(self, descriptors: Iterable[int]) -> list[str]:
        """Repair what has hung up; what to tell of it."""
        return [
            f"{held.key.replace(' ', ':')} was shut down by a process that has it, "
            + (
                f"and is lost: {why}; the next node binds it again"
                if (why := held.listen_again())
                else "and listens again"
            )
            for held in self._held
            if held.socket.fileno() in descriptors
        ]

    def close(self, asked: Iterable[str], node: int, *, keep: bool) -> None:
        """Close what the node does without and no other has, unless it is to be kept for one."""
        for text in asked:
            kind, _, rest = text.partition(" ")
            key = f"unix {rest.partition(' ')[2]}" if kind == "unix" else text
            held = next((held for held in self._held if held.key == key and node in held.given), None)
            if held is None:
                continue
            held.given.discard(node)
            if not held.given and not keep:
                held.close()
                self._held.remove(held)

    def close_alone(self, node: int) -> None:
        """Close what a node that has ended was the only one to have."""
        for held in [held for held in self._held if held.given <= {node} and node in (held.last, *held.given)]:
            held.close()
            self._held.remove(held)

    def close_unasked(self, *nodes: int) -> list[str]:
        """Close what none of these nodes has asked for; these are what they were."""
        left = [held for held in self._held if not held.given.intersection(nodes)]
        self._held = [held for held in self._held if held.given.intersection(nodes)]
        for held in left:
            held.close()
        return [held.key for held in left]

    def close_all(self) -> None:
        """Close all at the end."""
        self.close_unasked(0)


def _bind_tcp(kind: str, target: list[str]) -> _socket.socket:
    six = kind == "tcp6"
    socket = _socket.socket(_socket.AF_INET6 if six else _socket.AF_INET, _socket.SOCK_STREAM)
    try:
        socket.setblocking(False)
        socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if six:
            socket.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)  # so that 0.0.0.0 and [::] go together
        host, *numbers = target
        socket.bind((host, *map(int, numbers)))
    except BaseException:
        socket.close()
        raise
    return socket


def _bind_file(path: str, mode: int, gid: int) -> tuple[_socket.socket, int]:
    """Bind a socket; returns it, and a descriptor of its file."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    directory = file = -1
    umask = os.umask(0o777 if gid >= 0 else 0o777 & ~mode)  # nobody can connect before the group is that one
    try:
        short = path
        if len(os.fsencode(path)) > _PATH_LIMIT:
            above, name = os.path.split(path)
            directory = os.open(above, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            short = f"/proc/self/fd/{directory}/{name}"
        _remove_stale(short)
        socket.setblocking(False)
        socket.bind(short)
        try:
            file = _opened(short)
            if gid >= 0:
                _permit(file, mode, gid)
        except BaseException:
            os.unlink(short)
            raise
    except BaseException:
        socket.close()
        if file >= 0:
            os.close(file)
        raise
    finally:
        os.umask(umask)
        if directory >= 0:
            os.close(directory)
    return socket, file


def _opened(path: str) -> int:
    """Open a socket file, and nothing that a link in its place leads to."""
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("another file has taken its place")
    return descriptor


def _permit(file: int, mode: int, gid: int) -> None:
    """Set the group and mode of a socket file that is open."""
    itself = f"/proc/self/fd/{file}"
    os.chown(itself, -1, gid)
    os.chmod(itself, mode)


def _remove_stale(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ValueError("this file is there already and is not a socket; remove it, or choose another path")
    probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        probe.setblocking(False)
        probe.connect(path)
    except ConnectionRefusedError:
        os.unlink(path)  # its process is gone
        return
    except BlockingIOError:
        pass  # alive, with a full backlog
    finally:
        probe.close()
    raise ValueError("another process listens there")


def reason(error: Exception) -> str:
    """What to tell of a socket that can't be had."""
    import errno  # as in `child`

    if isinstance(error, OSError) and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return f"unavailable {error.strerror}"  # a name may have another address
    return f"failed {getattr(error, 'strerror', None) or error}"


def _key_of(socket: _socket.socket) -> str:
    name = socket.getsockname()
    if socket.family == _socket.AF_UNIX:
        return f"unix {os.fsdecode(name)}"
    return f"tcp{6 if socket.family == _socket.AF_INET6 else 4} {' '.join(map(str, name))}"
