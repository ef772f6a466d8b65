"""The trace: which functions of a release run while its modules are imported, and which globals these may read.

From 3.12 on the interpreter tells each code object once, and that costs next to nothing; before, a profiler counts all calls.
What a function may read is what its code names, which is more than what it has read.
"""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from . import objects

NAME = "underway observation"

_READS = {
    dis.opmap[name]: shift
    for name, shift in {
        "LOAD_GLOBAL": 1,  # the lowest bit says whether a call follows
        "LOAD_NAME": 0,
        "LOAD_FROM_DICT_OR_GLOBALS": 0,
    }.items()
    if name in dis.opmap
}
"""Instructions that read a global, and by how many bits their argument is shifted."""


class Trace:
    """The code that has run, with the module whose globals it ran in."""

    def __init__(self, is_ours: Callable[[str], bool]) -> None:
        self.is_ours = is_ours
        """Whether a file is one of the release."""
        self.codes: dict[CodeType, str] = {}

    def began(self, code: CodeType, name: Any) -> None:
        """Note that a function or the body of a module or class has begun, in a module of that name."""
        if self.is_ours(code.co_filename):
            self.codes.setdefault(code, name if type(name) is str else "?")

    def functions(self) -> Mapping[str, Mapping[str, list[str]]]:
        """By module, the qualified names of the functions that ran, each with the globals that it may read, sorted."""
        names: dict[str, dict[str, set[str]]] = {}
        for code, module in self.codes.items():
            if code.co_name != "<module>":
                names.setdefault(module, {}).setdefault(code.co_qualname, set()).update(_globals_of(code))
        return {
            module: {name: sorted(read) for name, read in sorted(ran.items())} for module, ran in sorted(names.items())
        }

    def constants(self) -> set[str]:
        """All texts and numbers that the code of the modules says, as `repr` has them: those may be told."""
        values: set[str | bytes | int] = set()
        for code in self.codes:
            if code.co_name == "<module>":
                _constants_of(code, values)
        return set(map(repr, values))


@contextmanager
def tracing(is_ours: Callable[[str], bool]) -> Iterator[Trace]:
    """Note what runs in this block, in all threads that begin in it too."""
    trace = Trace(is_ours)
    stop = _monitor(trace) if sys.version_info >= (3, 12) else _profile(trace)
    try:
        yield trace
    finally:
        stop()


def _monitor(trace: Trace) -> Callable[[], None]:
    monitoring: Any = vars(sys)["monitoring"]
    tool = next(number for number in (3, 4, 2, 1, 0) if monitoring.get_tool(number) is None)

    def began(code: CodeType, _: int) -> Any:
        trace.began(code, sys._getframe(1).f_globals.get("__name__"))
        return monitoring.DISABLE

    monitoring.use_tool_id(tool, NAME)
    monitoring.register_callback(tool, monitoring.events.PY_START, began)
    monitoring.set_events(tool, monitoring.events.PY_START)

    def stop() -> None:
        monitoring.set_events(tool, 0)
        monitoring.register_callback(tool, monitoring.events.PY_START, None)
        monitoring.free_tool_id(tool)

    return stop


def _profile(trace: Trace) -> Callable[[], None]:
    """The profiler in C, which costs half of what a function in Python does; of this thread alone, so that others have one of those.

    It knows no frames: in which module a function has run is told by its file.
    """
    import _lsprof

    profiler = _lsprof.Profiler(subcalls=False, builtins=False)
    seen: set[CodeType] = set()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and (code := frame.f_code) not in seen:
            seen.add(code)
            trace.began(code, frame.f_globals.get("__name__"))

    threading.setprofile(profile)
    profiler.enable()

    def stop() -> None:
        profiler.disable()
        threading.setprofile(None)
        modules = {objects.module_names(name).get("__file__"): name for name in reversed(list(sys.modules))}
        for entry in profiler.getstats():
            if type(entry.code) is CodeType:
                trace.began(entry.code, modules.get(entry.code.co_filename))

    return stop


def _globals_of(code: CodeType) -> set[str]:
    """As `dis` would tell it, in a tenth of the time."""
    names, extended = set(), 0
    bytecode = code.co_code
    for at in range(0, len(bytecode), 2):
        operation, argument = bytecode[at], bytecode[at + 1] | extended
        extended = argument << 8 if operation == dis.EXTENDED_ARG else 0
        if (shift := _READS.get(operation)) is not None:
            names.add(code.co_names[argument >> shift])
    return names


def _constants_of(value: Any, values: set[str | bytes | int]) -> None:
    kind = type(value)
    if kind is str or kind is bytes or kind is int:
        values.add(value)
    elif kind is tuple or kind is frozenset:
        for element in value:
            _constants_of(element, values)
    elif kind is CodeType:
        values.update(value.co_names)
        values.update(value.co_varnames)
        for constant in value.co_consts:
            _constants_of(constant, values)
