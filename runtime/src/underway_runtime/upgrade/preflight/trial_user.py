"""Run by root's `check` as the node's user, by its path: takes that user's surroundings, and becomes ``bin/NAME scratch``.

It is that user's process already, with his groups and in a session of its own, and so opens nothing that he could not open. From
the keeper come, as far as this user may see them

=====================  ===========================================================================================
its environment        what the next node will have too; of no other process, and nothing of root's
working directory      else ``/``
umask, limits          the lower of its own and of those that this process has
=====================  ===========================================================================================

New privileges are ruled out: a file of the release that is setuid gains nothing here. Nothing of ours is imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import sys

_PR_SET_NO_NEW_PRIVS = 38
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_JOIN_SESSION_KEYRING = 1
_LIMITS = ("AS", "CORE", "CPU", "DATA", "FSIZE", "MEMLOCK", "NOFILE", "NPROC", "STACK")


def main(text: str) -> None:
    """Become the command that `text` asks for.

    It is JSON: ``keeper`` is its pid or null, ``command`` the words, ``set`` variables, ``without`` names, and ``of_version`` those
    that are left out where they name a file below ``own``.
    """
    wanted = json.loads(text)
    _rule_out_privileges()
    environ = dict(os.environ)
    keeper = wanted["keeper"]
    os.chdir("/")
    if isinstance(keeper, int):
        process = f"/proc/{keeper}"
        with contextlib.suppress(OSError):
            with open(f"{process}/environ", "rb") as file:
                pairs = os.fsdecode(file.read()).split("\0")
            environ = dict(pair.split("=", 1) for pair in pairs if pair.find("=") > 0)
            _take_limits(keeper)
            _take_umask(f"{process}/status")
        with contextlib.suppress(OSError):
            os.chdir(f"{process}/cwd")
    for name in wanted["without"]:
        environ.pop(name, None)
    for name in wanted["of_version"]:
        if environ.get(name, "").startswith(wanted["own"]):
            del environ[name]
    command = wanted["command"]
    try:
        os.execve(command[0], command, {**environ, **wanted["set"]})
    except OSError as error:
        sys.exit(f"{command[0]} can't be executed with what the keeper has: {error.strerror}")


def _rule_out_privileges() -> None:
    """See that no setuid file gives any, and that the keys of who called are out of reach."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if (number := _KEYCTL.get(os.uname().machine)) is not None:
        libc.syscall(number, _JOIN_SESSION_KEYRING, None)


def _take_limits(keeper: int) -> None:
    for name in _LIMITS:
        with contextlib.suppress(OSError, ValueError):
            kind = getattr(resource, f"RLIMIT_{name}")
            theirs, ours = resource.prlimit(keeper, kind), resource.getrlimit(kind)
            resource.setrlimit(kind, (_lower(theirs[0], ours[0]), _lower(theirs[1], ours[1])))


def _lower(one: int, other: int) -> int:
    return min((one, other), key=lambda limit: float("inf") if limit == resource.RLIM_INFINITY else limit)


def _take_umask(status: str) -> None:
    with open(status, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("Umask:"):
                os.umask(int(line.split()[1], 8))


if __name__ == "__main__":
    main(sys.argv[1])
