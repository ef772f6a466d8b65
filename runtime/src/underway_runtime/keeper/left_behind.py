"""What a node that ended before it was ready has left: its status, or the function that it called, in the background.

Nobody keeps the latter, stops it or hands over from it. It is known by the variables of the node, which a process that was forked has for
ever; where there is no ``/proc`` nothing is known.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .child import Child

_OURS = "RELEASE_"
_SHOWN = 10
_LOOKS = 6
_PAUSE = 0.1
"""Seconds between two looks: what forks twice is another process at the next one."""


def sentence(node: Child, name: str, environ: Mapping[str, str]) -> str:
    """What is to be said of a node that was started with these variables, for people: what runs on of it, or that it has
    ended, where it has not said why; empty where that is all."""
    if node.ended:
        is_known = node.ended < 0 or node.has_said_why or not node.has_begun
        return "" if is_known else f"error: it has ended, with status {node.ended}, before it was ready"
    pids = " ".join(map(str, _staying(environ)[:_SHOWN]))
    if not pids:
        return ""
    return (
        f"error: {name} has put itself into the background, where nobody keeps it: pid {pids} runs on, and `kill {pids}` ends that;"
        " `main` is to stay in its process, and `daemon` puts that into the background"
    )


def _staying(environ: Mapping[str, str]) -> list[int]:
    seen = _pids(environ)
    for _ in range(_LOOKS):
        time.sleep(_PAUSE)
        before, seen = seen, _pids(environ)
        if seen == before:
            break
    return seen


def _pids(environ: Mapping[str, str]) -> list[int]:
    variables = {os.fsencode(f"{key}={value}") for key, value in environ.items() if key.startswith(_OURS)}
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    return sorted(int(name) for name in names if name.isdecimal() and variables <= _variables(name))


def _variables(pid: str) -> set[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return {*file.read().split(b"\0")}
    except OSError:
        return set()  # it has ended, or belongs to another user
