"""What import does outside of the heap, as far as it can be asked for: compared before and after, and watched meanwhile.

==================  ===================================================================================================
kind                what is told
==================  ===================================================================================================
``threads``         threads that run, by name
``processes``       child processes, by number
``descriptors``     files, sockets and pipes that are open
``environment``     variables that were set, changed or removed: their names
``signals``         signals with another handler
``exit``            how many functions run at exit
``hooks``           hooks of `sys` and `threading`, finders and path hooks
``settings``        working directory, umask, locale, limits, time-outs, the decimal context
``logging``         level and handlers of the root logger, classes and factories, names of levels
``codecs``          functions that find codecs
``copyreg``         types with a reducer
``warnings``        filters
``builtins``        names that were added or replaced
``done``            what was done meanwhile: files written, sockets bound or connected, programs started, with the line
==================  ===================================================================================================

`watching` refuses what would reach beyond the scratch directory: it raises what a read-only file system, or a host without a
network, would. What C code does by itself is neither seen nor refused.
"""

from __future__ import annotations

import builtins
import copyreg
import errno
import gc
import locale
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import objects

Survey = Mapping[str, Mapping[str, str]]
"""By kind, what there is and what it is now."""


def survey() -> Survey:
    """All that there is outside of the heap, now."""
    return {kind: dict(look()) for kind, look in _KINDS.items()}


def changes(before: Survey, after: Survey) -> dict[str, list[str]]:
    """What has come, gone or changed between two surveys, by kind; kinds without any are left out."""
    changed_kinds = {}
    for kind in _KINDS:
        was, now = before[kind], after[kind]
        changed = [name for name in sorted({*was, *now}) if was.get(name) != now.get(name)]
        if changed:
            changed_kinds[kind] = [
                f"{name}{_change(was.get(name), now.get(name), kind in _SECRET)}" for name in changed
            ]
    return changed_kinds


def _change(was: str | None, now: str | None, secret: bool) -> str:
    if secret or not (was or now):
        return " is gone" if now is None else " is there" if was is None else " is changed"
    return f": {was or 'nothing'} -> {now or 'nothing'}"


def _threads() -> Iterable[tuple[str, str]]:
    for number, thread in enumerate(threading.enumerate()):
        if thread is not threading.main_thread():
            yield f"{thread.name} ({number})", ""


def _processes() -> Iterable[tuple[str, str]]:
    """By number: which programs they are is in what was done; what they are called a moment after their start depends on the moment."""
    pids: set[str] = set()
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
                pids.update(file.read().split())
        except OSError:
            continue  # the thread has ended
    return ((f"child {number}", "") for number, _ in enumerate(pids, 1))


def _descriptors() -> Iterable[tuple[str, str]]:
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # of this listing
        if not target.startswith("/proc/"):
            yield f"{target.partition(':[')[0]} ({name})", ""


def _environment() -> Iterable[tuple[str, str]]:
    return os.environ.items()


def _signals() -> Iterable[tuple[str, str]]:
    for number in signal.valid_signals():
        if (handler := signal.getsignal(number)) is not None:
            yield getattr(number, "name", str(number)), _name(handler)


def _exit() -> Iterable[tuple[str, str]]:
    import atexit

    yield "functions", str(atexit._ncallbacks())


_HOOKS = (
    "excepthook",
    "displayhook",
    "breakpointhook",
    "unraisablehook",
    "__interactivehook__",
    "stdin",
    "stdout",
    "stderr",
)


def _hooks() -> Iterable[tuple[str, str]]:
    for name in _HOOKS:
        if hasattr(sys, name):
            yield f"sys.{name}", _name(getattr(sys, name))
    yield "threading.excepthook", _name(threading.excepthook)
    for name in ("meta_path", "path_hooks"):
        for hook in getattr(sys, name):
            yield f"sys.{name}: {_name(hook)}", ""
    for path in sys.path:
        yield f"sys.path: {path}", ""


def _settings() -> Iterable[tuple[str, str]]:
    mask = os.umask(0o77)
    os.umask(mask)
    yield "working directory", os.getcwd()
    yield "umask", oct(mask)
    yield "locale", str(locale.setlocale(locale.LC_ALL))
    yield "recursion limit", str(sys.getrecursionlimit())
    yield "switch interval", str(sys.getswitchinterval())
    yield "socket time-out", str(socket.getdefaulttimeout())
    yield "garbage collector", f"{gc.isenabled()} {gc.get_threshold()}"
    if "decimal" in sys.modules:
        yield "decimal context", repr(sys.modules["decimal"].getcontext())
    if "asyncio.events" in sys.modules and (policy := sys.modules["asyncio.events"]._event_loop_policy) is not None:
        yield "event loop policy", _name(policy)
    if "multiprocessing.context" in sys.modules:
        yield "start method", str(sys.modules["multiprocessing.context"]._default_context._actual_context)


def _logging() -> Iterable[tuple[str, str]]:
    root = logging.getLogger()
    yield "root level", str(root.level)
    yield "disabled below", str(root.manager.disable)
    yield "logger class", _name(logging.getLoggerClass())
    yield "record factory", _name(logging.getLogRecordFactory())
    for level in sorted(set(logging._nameToLevel.items())):
        yield f"level {level[0]}", str(level[1])
    for handler in root.handlers:
        yield f"root handler {_name(handler)}", ""


def _codecs() -> Iterable[tuple[str, str]]:
    """The list of the interpreter, which it shows to nobody, is the one that begins with the function of the library."""
    first = sys.modules["encodings"].search_function
    for referrer in gc.get_referrers(first):
        if type(referrer) is list and referrer[:1] == [first]:
            yield from ((_name(function), "") for function in referrer)


def _copyreg() -> Iterable[tuple[str, str]]:
    return ((_name(kind), _name(reduce)) for kind, reduce in copyreg.dispatch_table.items())


def _warnings() -> Iterable[tuple[str, str]]:
    yield "showwarning", _name(warnings.showwarning)
    for action, message, category, module, line in warnings.filters:
        texts = (getattr(pattern, "pattern", pattern) for pattern in (message, module))
        yield f"{action} {_name(category)} {' '.join(str(text) for text in texts)} {line}", ""


def _builtins() -> Iterable[tuple[str, str]]:
    return ((name, _name(value)) for name, value in vars(builtins).items() if name != "_")


_KINDS: Mapping[str, Callable[[], Iterable[tuple[str, str]]]] = {
    "threads": _threads,
    "processes": _processes,
    "descriptors": _descriptors,
    "environment": _environment,
    "signals": _signals,
    "exit": _exit,
    "hooks": _hooks,
    "settings": _settings,
    "logging": _logging,
    "codecs": _codecs,
    "copyreg": _copyreg,
    "warnings": _warnings,
    "builtins": _builtins,
}


_SECRET = frozenset({"environment"})
"""Kinds of which only names are told."""


def _name(value: Any) -> str:
    """What a function, class or object is called, without asking it."""
    if type(value) in (int, str, type(None)) or isinstance(value, signal.Handlers):
        return str(value)
    name = getattr(value, "__qualname__", None) if type(value).__module__ == "builtins" else None
    return f"{getattr(value, '__module__', '?')}.{name}" if type(name) is str else objects.identified(value)


_WRITES = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
_CHANGES = {
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.mkdir": (0,),
    "os.rename": (0, 1),
    "os.link": (0, 1),
    "os.symlink": (1,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.truncate": (0,),
}
"""Events that change files, and which of their arguments are paths."""

_PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn")
_NETWORK = ("socket.bind", "socket.connect", "socket.sendto", "socket.sendmsg")


_LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")


class Watch:
    """An audit hook: notes what import does beyond the heap, and refuses what would reach beyond the scratch directory."""

    def __init__(self, scratch: str, where: Callable[[], str]) -> None:
        self.scratch = scratch
        self.where = where
        """Which line of the release does it now."""
        self.done: dict[str, None] = {}
        self.on = True

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Be told of an event; raises OSError to refuse it."""
        if not self.on:
            return
        if event == "open":
            if type(arguments[2]) is int and arguments[2] & _WRITES:
                self._file("writes", arguments[0])
        elif event in _CHANGES:
            for position in _CHANGES[event]:
                self._file(f"{event.removeprefix('os.')} of", arguments[position])
        elif event in _NETWORK:
            self._network(event.removeprefix("socket."), arguments)
        elif event in _LOOKUPS:
            self._note(f"looks up {_address((arguments[0], '')).rstrip(':') or 'a host'}")
        elif event in _PROGRAMS:
            program = arguments[0] if arguments and type(arguments[0]) in (str, bytes) else ""
            self._note(f"{event} {os.fsdecode(program)}".rstrip())
        elif event == "os.kill" and arguments[0] != os.getpid():
            self._note("sends a signal to another process")
            raise PermissionError(errno.EPERM, "an import is looked at here: it may signal no other process")
        elif event == "_thread.start_new_thread":
            self._note("starts a thread")

    def _file(self, what: str, path: Any) -> None:
        if type(path) not in (str, bytes):
            if isinstance(path, int):
                return  # a descriptor that is open already
            path = os.fspath(path)
        target = os.path.realpath(os.fsdecode(path))
        inside = self._is_inside(target)
        if target in (os.devnull, "/dev/tty") or (target.startswith("/dev/shm/") and what == "writes"):
            return
        self._note(f"{what} {f'${target.removeprefix(self.scratch)}' if inside else target}".replace("$/", "$SCRATCH/"))
        if not inside:
            raise OSError(
                errno.EROFS, "an import is looked at here: it may write to its scratch directory only", target
            )

    def _network(self, what: str, arguments: tuple[Any, ...]) -> None:
        address = arguments[1] if len(arguments) > 1 else ""
        self._note(f"{what} {_address(address)}".rstrip())
        # A socket file is in no namespace: who listens there may be any service of this machine.
        is_file = type(address) in (str, bytes) and os.fsdecode(address)[:1] not in ("", "\0")
        if is_file and not self._is_inside(os.path.realpath(os.fsdecode(address))):
            raise OSError(
                errno.ENETUNREACH, "an import is looked at here: it has the sockets of its scratch directory only"
            )
        if what != "bind" and type(address) is tuple:
            raise OSError(errno.ENETUNREACH, "an import is looked at here: there is no network")

    def _is_inside(self, path: str) -> bool:
        return path.startswith(f"{self.scratch}/")

    def _note(self, what: str) -> None:
        self.done.setdefault(f"{what}{self.where()}")


def _address(address: Any) -> str:
    if type(address) is tuple and len(address) >= 2:
        return f"{address[0]}:{address[1]}"
    return os.fsdecode(address) if type(address) in (str, bytes) else ""
