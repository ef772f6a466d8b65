"""Files in a directory that another user may change meanwhile: each is reached by descriptors, and is what it has to be.

``var`` belongs to the user who runs the service, and others type commands: root, or who owns the tree. For them

=========================  =========================================================================================
a directory                is opened once, and all below it by its descriptor: one put in its place later is not met
a link                     is not followed; on the way to ``var`` itself it is, unless it leads from a directory of
                           one user to what belongs to another
FIFO, device, socket       is not opened for good: what is read is a regular file, and of a bounded size
another name of a file     is not written, nor read where the file is not of the directory's owner
what root makes there      belongs to the owner of the directory, who is to go on with it
=========================  =========================================================================================

The owner of a directory may link in it as he likes, as may root in its own that nobody else may write: that is theirs.
Imports little: commands that ask a node read its cookie with this.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from ..names import RUN
from . import directories
from .walk import SEARCH, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import TypeAlias

    Path: TypeAlias = str | os.PathLike[str]

LARGEST = 16 << 20
"""Bytes of a file that are read when nobody says otherwise."""

_OPEN = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_TRIES = 100


class Directory:
    """An open directory; a context manager, which closes it."""

    def __init__(self, descriptor: int, path: str) -> None:
        self.descriptor, self.path = descriptor, path
        status = os.fstat(descriptor)
        self.uid, self.gid = status.st_uid, status.st_gid
        self.is_shared = bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        """Whether others than its owner may write in it."""
        self.is_ours = status.st_uid == os.geteuid() and not (self.is_shared and os.geteuid() == 0)
        """Whether only we put something there; others than root know best whom they have let write."""

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self.descriptor)

    def directory(self, name: str, *, make: int | None = None) -> Directory:
        """A directory in this one; made with the mode `make`, where that is given and it is missing.

        Raises OSError: ELOOP for a link that another user may have put there.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        made = False
        if make is not None:
            try:
                os.mkdir(name, make, dir_fd=self.descriptor)
                made = True
            except FileExistsError:
                pass
        try:
            opened = Directory(self._open(name, flags if made else SEARCH | os.O_DIRECTORY), f"{self.path}/{name}")
        except OSError as error:
            raise self._explained(error, name) from None
        if made:
            try:
                self._hand_over(opened)
            except BaseException:
                os.close(opened.descriptor)
                raise
        return opened

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        """Open a regular file in this directory. One that root makes is handed over to the directory's owner.

        Raises OSError, with a reason that says what is there instead.
        """
        try:
            if flags & os.O_CREAT and not flags & os.O_EXCL:
                descriptor = self._open_or_make(name, flags, mode)
            else:
                descriptor = self._open(name, flags | _OPEN, mode)
                if flags & os.O_CREAT:
                    self._give_to_owner(descriptor)
        except OSError as error:
            raise self._explained(error, name) from None
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise OSError(errno.EISDIR, "Is a directory, not a regular file", f"{self.path}/{name}")
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file", f"{self.path}/{name}")
            is_foreign = flags & (os.O_WRONLY | os.O_RDWR) or status.st_uid != self.uid
            if status.st_nlink > 1 and is_foreign and not self.is_ours:
                raise OSError(
                    errno.EPERM, "it has another name too, under which it may be another user's", f"{self.path}/{name}"
                )
            os.set_blocking(descriptor, True)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def socket(self, name: str) -> int:
        """A descriptor of a socket file, to connect to by `descriptors.path_of`. Raises OSError for what is none."""
        try:
            descriptor = self._open(name, SEARCH)
        except OSError as error:
            raise self._explained(error, name) from None
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.ENOTSOCK, "it is not a socket", f"{self.path}/{name}")
        return descriptor

    def read(self, name: str, limit: int = LARGEST, *, of_owner: bool = False) -> bytes:
        """Read a file of this directory. With `of_owner` it must belong to the directory's owner, as a secret has to: what root alone may
        read is not one of them by a link or a name that leads to it. Where several users may write, it may be one's own too.

        Raises OSError, EFBIG for more than `limit` bytes and EPERM for one of another user.
        """
        path, descriptor = f"{self.path}/{name}", self.open(name, os.O_RDONLY)
        try:
            status = os.fstat(descriptor)
            if of_owner and not self._may_be_secret_of(status.st_uid):
                who = f"it belongs to user {status.st_uid}, and {self.path} to user {self.uid}"
                raise OSError(errno.EPERM, who, path)
            data = b""
            while len(data) <= limit and (piece := os.read(descriptor, limit + 1 - len(data))):
                data += piece
        finally:
            os.close(descriptor)
        if len(data) > limit:
            raise OSError(errno.EFBIG, f"it has more than {limit} bytes", path)
        return data

    def _may_be_secret_of(self, uid: int) -> bool:
        """Root's own is taken from root's own directory alone, and anybody else's own from where root or he lets him write."""
        if self.is_ours:
            return True
        asks = os.geteuid()
        is_own = uid == asks != 0 and (self.uid == 0 or self.is_shared)
        owners = uid == self.uid and not (asks == 0 and uid == 0)  # in a directory of root's that is shared
        return is_own or owners or uid in self._makers()

    def _makers(self) -> set[int]:
        """Of a directory of root's in which others may write: who has made the directory of the node."""
        if self.uid != 0 or not self.is_shared:
            return set()
        status = self.status(RUN)
        return {status.st_uid} if status is not None and stat.S_ISDIR(status.st_mode) else set()

    def replace(self, name: str, data: bytes, mode: int) -> None:
        """Put a file in place of what has this name: temporary file, fsync, rename. Raises OSError; then that is still there."""
        temporary = f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            descriptor = self._open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, mode)
        except OSError as error:
            raise self._explained(error, name) from None
        try:
            try:
                write(descriptor, data)
                os.fchmod(descriptor, mode)  # whatever the umask
                self._give_to_owner(descriptor)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self.rename(temporary, name)
        except OSError as error:
            self.remove(temporary)
            raise OSError(error.errno, error.strerror, f"{self.path}/{name}") from None
        except BaseException:
            self.remove(temporary)
            raise
        self.sync()

    def clear(self, name: str) -> None:
        """Remove what a `replace` of this file left when it died. For the only one who writes it."""
        for entry in self.names():
            if entry.startswith(f".{name}."):
                self.remove(entry)

    def names(self) -> list[str]:
        """What is in it."""
        return self._readable(lambda descriptor: sorted(os.listdir(descriptor)))

    def status(self, name: str) -> os.stat_result | None:
        """What is known of one of its entries, of a link itself; None where there is none."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=self.is_ours)
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Remove a file that may be missing."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def rename(self, name: str, other: str) -> None:
        """Give a file another name, in the place of what had that."""
        os.rename(name, other, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def sync(self) -> None:
        """See that what was renamed, made or removed survives a power cut."""
        self._readable(os.fsync)

    def _readable(self, use: Callable[[int], list[str] | None]) -> list[str]:
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.descriptor)
        try:
            return use(descriptor) or []
        finally:
            os.close(descriptor)

    def _open(self, name: str, flags: int, mode: int = 0) -> int:
        if name in ("", ".", "..") or "/" in name:
            raise OSError(errno.EINVAL, "that is not the name of a file", name)
        return os.open(name, flags if self.is_ours else flags | os.O_NOFOLLOW, mode, dir_fd=self.descriptor)

    def _open_or_make(self, name: str, flags: int, mode: int) -> int:
        """Open it as O_CREAT does, knowing whether it was made."""
        for _ in range(_TRIES):
            try:
                return self._open(name, flags & ~os.O_CREAT | _OPEN)
            except FileNotFoundError:
                pass
            try:
                descriptor = self._open(name, flags | os.O_EXCL | _OPEN, mode)
            except FileExistsError:
                continue
            self._give_to_owner(descriptor)
            return descriptor
        raise OSError(errno.EAGAIN, "it is made and removed all the time", name)

    def _give_to_owner(self, descriptor: int) -> None:
        if os.geteuid() == 0 and not self.is_ours:
            os.fchown(descriptor, self.uid, self.gid)

    def _hand_over(self, made: Directory) -> None:
        """Give it to the owner, where it is ours and empty: it is the one that was made, or one that does no harm."""
        if made.is_ours and not os.listdir(made.descriptor):
            self._give_to_owner(made.descriptor)
            made.uid, made.gid, made.is_ours = self.uid, self.gid, self.is_ours

    def _explained(self, error: OSError, name: str) -> OSError:
        """The same error, with the path, and a reason where the system's own would puzzle."""
        path = f"{self.path}/{name}"
        reason = error.strerror
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and not self.is_ours:
            status = self.status(name)
            if status is not None and stat.S_ISLNK(status.st_mode):
                return OSError(
                    errno.ELOOP, "it is a link in a directory that others may write, and is not followed", path
                )
        if error.errno in (errno.ENXIO, errno.ENODEV):
            reason = "it is not a regular file"
        return OSError(error.errno, reason, path)


def directory(path: Path, *parts: str) -> Directory:
    """Open a directory, and those below it that `parts` names, one after the other.

    Raises OSError: ELOOP where a link on the way may lead from a user to what is not his.
    """
    whole = os.fspath(path)
    opened = Directory(walk(whole), whole.rstrip("/") or "/")
    for part in parts:
        with opened:
            inner = opened.directory(part)
        opened = inner
    return opened


def made(path: Path) -> Directory:
    """The same, with what is missing of it made, as ours or as the owner's of what it is in. Raises OSError."""
    whole = os.path.abspath(path)
    try:
        return directory(whole)
    except NotADirectoryError:
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), whole) from None  # as who makes one is told
    except FileNotFoundError:
        above, name = os.path.split(whole)
        if not name:
            raise
    with made(above) as above_it:
        return above_it.directory(name, make=directories.mode())


def read(base: Path, path: Path, limit: int = LARGEST, *, of_owner: bool = False) -> bytes:
    """Read a file below the directory `base`, which is ``var``, as `Directory.read` does."""
    *parts, name = _below(base, path)
    with directory(base, *parts) as opened:
        return opened.read(name, limit, of_owner=of_owner)


def replace(base: Path, path: Path, data: bytes, mode: int) -> None:
    """Write a file below the directory `base`, as `Directory.replace` does; directories must be there."""
    *parts, name = _below(base, path)
    with directory(base, *parts) as opened:
        opened.replace(name, data, mode)


def is_there(base: Path, path: Path) -> bool:
    """Whether there is something of this name below `base`, whatever it is. Raises OSError where that can't be said."""
    *parts, name = _below(base, path)
    try:
        with directory(base, *parts) as opened:
            return opened.status(name) is not None
    except FileNotFoundError:
        return False


def is_file(base: Path, path: Path) -> bool:
    """The same of a regular file. Raises OSError where something else has its name."""
    *parts, name = _below(base, path)
    try:
        with directory(base, *parts) as opened:
            os.close(opened.open(name, os.O_RDONLY))
            return True
    except FileNotFoundError:
        return False


def of_others(*paths: Path) -> tuple[str, int] | None:
    """The first of these directories that belongs to another user, with who that is; what is missing is nobody's. Raises OSError."""
    for path in paths:
        try:
            with directory(path) as opened:
                uid = opened.uid
        except FileNotFoundError:
            continue
        if uid != os.geteuid():
            return os.fspath(path), uid
    return None


def user(uid: int) -> str:
    """What a user is called, for people."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def write(descriptor: int, data: bytes) -> None:
    """Write all of it. Raises OSError."""
    while data:
        data = data[os.write(descriptor, data) :]


def _below(base: Path, path: Path) -> list[str]:
    start, whole = os.fspath(base).rstrip("/"), os.fspath(path)
    if not whole.startswith(f"{start}/"):
        raise ValueError(f"{whole} is not below {start}")
    return whole[len(start) + 1 :].split("/")
