"""A process of a pair: imports its version, makes instances, becomes the newer version if told so, and runs the tests of that.

Runs in a release; reads a task from standard input, and writes what it has to tell to the file that the task names.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib
import inspect
import io
import json
import os
import resource
import signal
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

BENCH = Path(__file__).parents[1]
MEMORY = 6 << 30
"""Bytes of data that a process may have."""
MAKING = 2
"""Seconds that making one instance may take."""

WORDS = 2000
"""Characters that are told of why a test fails."""

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_INTERFACE = "16sH14x"


def main() -> None:
    """Do a task."""
    task: dict[str, Any] = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    told: dict[str, Any] = {"network": _without_network()}
    sys.path[:] = [each for each in sys.path if Path(each) != Path(__file__).parent]
    told["modules"] = _imported(task["modules"])
    held = _instances(task["tops"])
    if "instructions" in task:
        told |= _upgraded(task)
    if "refused" not in told:
        told["instances"] = {name: _attributes(each) for name, each in held.items()}
        told["tests"] = _tested(task, told)
    Path(task["output"]).write_text(json.dumps(told), encoding="utf-8")
    os._exit(0)  # threads of the tests may be there for ever


def _without_network() -> str:
    """Leave the network but for a loopback of its own; how that went."""
    library = ctypes.CDLL(None, use_errno=True)
    flags = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWUSER | _CLONE_NEWNET
    if library.unshare(flags):
        return os.strerror(ctypes.get_errno())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        there = fcntl.ioctl(asked, _SIOCGIFFLAGS, struct.pack(_INTERFACE, b"lo", 0))
        fcntl.ioctl(asked, _SIOCSIFFLAGS, struct.pack(_INTERFACE, b"lo", struct.unpack(_INTERFACE, there)[1] | _IFF_UP))
    return ""


def _imported(names: list[str]) -> list[str]:
    """Those that can be imported here."""
    found = []
    for name in names:
        with contextlib.suppress(Exception, SystemExit), contextlib.redirect_stdout(io.StringIO()):
            importlib.import_module(name)
            found.append(name)
    return found


def _instances(tops: list[str]) -> dict[str, object]:
    """An instance of each class that needs nothing for it, by the name of the class."""
    found: dict[str, object] = {}
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] not in tops:
            continue
        for cls in list(vars(module).values()):
            if inspect.isclass(cls) and cls.__module__ == name and f"{name}.{cls.__qualname__}" not in found:
                with contextlib.suppress(Exception, SystemExit), _bounded():
                    found[f"{name}.{cls.__qualname__}"] = cls()
    return found


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    def late(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(MAKING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _attributes(instance: object) -> list[str]:
    """What an instance is made of."""
    try:
        names = set(object.__getattribute__(instance, "__dict__"))
    except AttributeError:
        names = set()
    for cls in type(instance).__mro__:
        slots = vars(cls).get("__slots__", ())
        names |= {each for each in ([slots] if isinstance(slots, str) else slots) if _has(instance, cls, each)}
    return sorted(map(str, names))


def _has(instance: object, cls: type, name: str) -> bool:
    slot: Any = vars(cls).get(name)
    try:
        slot.__get__(instance, cls)
    except Exception:
        return False
    return True


def _upgraded(task: dict[str, Any]) -> dict[str, Any]:
    sys.path.append(str(BENCH))
    from _pairs_process import become
    from underway_runtime.upgrade.hot import CannotSwap

    sys.path.remove(str(BENCH))
    step = become(task["version"], task["instructions"])
    try:
        while True:
            step.send(None)
    except StopIteration as done:
        return {"pause": done.value}
    except CannotSwap as error:
        return {"refused": list(error.problems)}


class _Results:
    """A plugin that notes what came of each test: its worst phase."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self.why: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._note(report)

    def pytest_collectreport(self, report: Any) -> None:
        if report.outcome != "passed":
            self._note(report)

    def _note(self, report: Any) -> None:
        if self.found.get(report.nodeid, "passed") == "passed":
            self.found[report.nodeid] = report.outcome
        if report.outcome == "failed":
            self.why[report.nodeid] = str(report.longrepr)[-WORDS:]


def _tested(task: dict[str, Any], told: dict[str, Any]) -> dict[str, str]:
    import pytest

    results, ran = _Results(), set[CodeType]()
    if task["traced"]:

        def note(frame: FrameType, event: str, _: object) -> None:
            if event == "call":
                ran.add(frame.f_code)

        threading.setprofile(note)
        sys.setprofile(note)
    sys.argv = ["pytest"]
    try:
        told["status"] = int(pytest.main(task["arguments"], plugins=[results]))
    except Exception as error:  # of what a test has left behind, once all have run
        told["status"] = repr(error)
    sys.setprofile(None)
    told["ran"] = [f"{each.co_filename}:{each.co_qualname}" for each in ran if "/third-1.0/" not in each.co_filename]
    told["why"] = results.why
    return results.found


if __name__ == "__main__":
    main()
