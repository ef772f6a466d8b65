"""The way to a directory, where another user may change links meanwhile.

A link is believed whose directory belongs to root or to us, or that leads to what belongs to the very user who may have put it there.
"""

from __future__ import annotations

import errno
import os
import stat

SEARCH = getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC
"""Opens a directory, to reach what is in it."""
_LINKS = 40
"""As many as Linux follows."""


def walk(path: str) -> int:
    """Open a directory by its path, link by link, and return its descriptor.

    Raises OSError: ELOOP for a link that is not believed, and where there are more than Linux follows.
    """
    here = os.open("/" if path.startswith("/") else ".", SEARCH | os.O_DIRECTORY)
    left = path.split("/")[::-1]
    links, answerable = 0, set[int]()
    try:
        while left:
            if (name := left.pop()) in ("", "."):
                continue
            descriptor = os.open(name, SEARCH | os.O_NOFOLLOW, dir_fd=here)
            if stat.S_ISLNK((status := os.fstat(descriptor)).st_mode):
                answerable |= _answerable(os.fstat(here), status)
                try:
                    target = os.readlink("", dir_fd=descriptor)
                finally:
                    os.close(descriptor)
                if (links := links + 1) > _LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if not target.startswith("/"):
                    left += target.split("/")[::-1]
                    continue
                left += target.split("/")[::-1]
                descriptor = os.open("/", SEARCH | os.O_DIRECTORY)
            os.close(here)
            here = descriptor
        if not stat.S_ISDIR((status := os.fstat(here)).st_mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        if others := answerable - {0, os.geteuid(), status.st_uid}:
            who = f"a link on the way is of user {min(others)}, and leads to what belongs to user {status.st_uid}"
            raise OSError(errno.ELOOP, who, path)
        return here
    except OSError as error:
        os.close(here)
        raise OSError(error.errno, error.strerror, path) from None
    except BaseException:
        os.close(here)
        raise


def _answerable(container: os.stat_result, link: os.stat_result) -> set[int]:
    """Who may have put a link there."""
    shared = container.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return {container.st_uid, link.st_uid} if shared else {container.st_uid}
