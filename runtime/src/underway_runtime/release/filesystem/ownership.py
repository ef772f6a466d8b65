"""Could anybody else change what is at a path? As sshd asks of its own files, before they are believed.

It, each directory above it and each link on the way belong to root or to who asks, and neither their group nor others may
write there. A directory that anyone may write to does if it is sticky, as ``/tmp`` is: nobody renames or replaces in there what is
not his.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from pathlib import Path

_MOST_LINKS = 40
_OTHERS = stat.S_IWGRP | stat.S_IWOTH

Way = list[tuple[str, os.stat_result]]
"""Every directory and link that leads to a file, from the top, and in the end itself, which is not a link."""


def problems(way: Way) -> list[str]:
    """A line for each place at which somebody else could change what the end of this way is."""
    return [problem for where, status in way if (problem := _problem(where, status))]


def way(file: Path) -> Way:
    """How a file is reached, through all links. Raises OSError."""
    # What follows .. after a link is next to where that leads: so nothing is taken out of the path beforehand.
    todo = list(reversed(os.path.join(os.getcwd(), file).split("/")[1:]))
    steps = [("/", os.lstat("/"))]
    directory, links = "/", 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            directory = os.path.dirname(directory)
            continue
        here = os.path.join(directory, part)
        status = os.lstat(here)
        steps.append((here, status))
        if not stat.S_ISLNK(status.st_mode):
            directory = here
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, "too many links", here)
        target = os.readlink(here)
        directory = "/" if target.startswith("/") else directory
        todo += reversed(target.split("/"))
    if steps[-1][0] != directory:  # the last that was met was a directory that a link led up from
        steps.append((directory, os.lstat(directory)))
    return steps


def of_file(file: Path) -> list[str]:
    """`problems` of a file, which must be one, and have no other name that another user could have given it. Raises OSError."""
    steps = way(file)
    where, status = steps[-1]
    if not stat.S_ISREG(status.st_mode):
        return [f"{where} is not a file"]
    other = [f"{where} has {status.st_nlink} names, as a hard link: copy it"] if status.st_nlink > 1 else []
    return [*problems(steps), *other]


def _problem(where: str, status: os.stat_result) -> str | None:
    """Who else could change what is there."""
    if status.st_uid not in (0, os.geteuid()):
        return f"{where} belongs to {_user(status.st_uid)}, neither to root nor to you"
    if stat.S_ISLNK(status.st_mode) or not status.st_mode & _OTHERS:
        return None
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
        return None
    who, fix = ("anyone", "go-w") if status.st_mode & stat.S_IWOTH else ("its group", "g-w")
    return f"{who} may write to {where}; chmod {fix} it"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"
