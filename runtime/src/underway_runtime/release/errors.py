"""What can go wrong, split by who must act; the exit codes are the documented ones (docs/reference/exit-codes.md)."""

from __future__ import annotations

import errno
from collections.abc import Iterable

TYPE_CHECKING = False
if TYPE_CHECKING:  # what asks a node does without typing
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_RESTART = 3
EXIT_UNDONE = 4
EXIT_PEER_LOST = 4
EXIT_PART = 5
EXIT_REFUSED = 6
EXIT_CODE_RAISED = 7
EXIT_BUSY = 75


class UnderwayError(Exception):
    """A failure that is told to the user as it is, without a traceback.

    The message says what was found and what to do next.
    """

    exit_code = EXIT_FAILED


class UsageError(UnderwayError):
    """The command itself can't be understood."""

    exit_code = EXIT_USAGE


class RestartError(UnderwayError):
    """It takes a new interpreter, and that was not allowed; nothing has changed."""

    exit_code = EXIT_RESTART


class UndoneError(UnderwayError):
    """Something began, and all is as it was before. `reason` is the cause alone, in one line; `blamed` says that it is a fault of
    the version."""

    exit_code = EXIT_UNDONE

    def __init__(self, message: str, reason: str, *, blamed: bool = True) -> None:
        super().__init__(f"{message}: {reason}")
        self.blamed = blamed
        self.reason = " ".join(reason.split())


class BusyError(UnderwayError):
    """Another process is doing what was asked for; try again when it is done."""

    exit_code = EXIT_BUSY


class DamagedRelease(UnderwayError):
    """A file of the release is missing or makes no sense."""


class BootError(UnderwayError):
    """The node could not start; what had started is stopped again."""


class PeerLost(UnderwayError):
    """A node of the cluster is gone without which this one is not to run: it stops, and is not started again."""

    exit_code = EXIT_PEER_LOST


class ConfigError(UnderwayError):
    """The configuration does not hold."""


class StateError(UnderwayError):
    """What an application hands over to its successor can't be taken."""


def listing(heading: str, problems: Iterable[str]) -> str:
    """One message for everything that is wrong: a heading and a line for each problem.

    >>> print(listing("[tool.underway] does not describe a release:", ["unknown key 'nane'; did you mean 'name'?"]))
    [tool.underway] does not describe a release:
      - unknown key 'nane'; did you mean 'name'?
    """
    return "\n".join([heading, *(f"  - {problem}" for problem in problems)])


_TO_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def place_of(error: OSError) -> Any:
    """Return the file that an error names, or None: where one could not be copied for want of room, the copy and not what was read."""
    copy = error.filename2 if error.errno in _TO_WRITE else None
    return copy or error.filename


def for_future(error: BaseException) -> BaseException:
    """Return what a future of asyncio can be given for an error of foreign code: with StopIteration Python up to 3.11.6 and 3.12.0
    raise in the loop, and who waits for the future waits for ever."""
    if not isinstance(error, StopIteration):
        return error
    instead = RuntimeError("it raised StopIteration")
    instead.__cause__ = error
    return instead


def for_thread(function: Callable[..., T]) -> Callable[..., T]:
    """Return it as a thread of asyncio's can call it, with what it raises as `for_future` has it."""

    def called(*arguments: Any, **options: Any) -> T:
        try:
            return function(*arguments, **options)
        except StopIteration as error:
            raise for_future(error) from error

    return called


def did_you_mean(word: str, choices: Iterable[str], more: str = "") -> str:
    """Return what a message about an unknown word adds where it is like a known one, and `more`, which follows in any case.

    >>> did_you_mean("nane", ["name", "version"])
    "; did you mean 'name'?"
    >>> did_you_mean("STATUS", ["status", "stop"])
    "; did you mean 'status'?"
    >>> did_you_mean("nane", ["name", "version"], "there are two")
    "; did you mean 'name'? there are two"
    >>> did_you_mean("x", ["name", "version"], "there are two")
    '; there are two'
    """
    from difflib import get_close_matches  # for mistakes only: a node that starts imports little

    choices = list(choices)
    close = get_close_matches(word, choices, n=1) or [one for one in choices if one.casefold() == word.casefold()][:1]
    words = [*(f"did you mean {name!r}?" for name in close), *([more] if more else [])]
    return f"; {' '.join(words)}" if words else ""
