"""What is alive in this process: functions, instances of classes, and frames that run, wait, or are kept by someone.

A survey goes once over all objects that the collector knows, which takes some tens of milliseconds for a million of them,
in C, during which nothing else runs. What it gives keeps those objects alive: let go of it soon.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, compress
from types import (
    AsyncGeneratorType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    GetSetDescriptorType,
)
from typing import Any

from ...observation import objects
from ...process import garbage_collector
from . import holders

SUSPENDED: dict[type, tuple[str, str]] = {
    CoroutineType: ("coroutine", "cr"),
    GeneratorType: ("generator", "gi"),
    AsyncGeneratorType: ("async generator", "ag"),
}
"""Kinds of what waits in the middle of a function, by type: what it is called, and how its attributes begin."""


@dataclass(frozen=True)
class Survey:
    """What was alive at one moment."""

    functions: list[FunctionType]
    suspended: list[Any]
    """Coroutines, generators and async generators; some have ended."""
    tasks: list[Any]
    greenlets: list[Any]
    frames: list[FrameType]
    """Frames as objects: of tracebacks above all."""
    instances: list[tuple[type, list[Any]]]
    """Of each class that was asked for, its instances, subclasses apart; no dict, whose keys a metaclass might hash."""


@dataclass(frozen=True)
class Survivor:
    """A frame of a definition."""

    kind: str
    definition: str
    line: int
    holder: str
    """Who holds it: a task, a thread, a variable."""
    runs: bool = True
    """Whether it may go on running; what a traceback keeps has ended."""
    task: Any = None
    """The task that it belongs to, if it does."""
    key: tuple[int, ...] = ()
    """What tells it from all others that live at the same time."""

    def __str__(self) -> str:
        return f"{self.definition}, line {self.line}: {self.kind} of {self.holder}"


def survey(classes: Iterable[type] = (), look: Callable[[], list[Any]] | None = None) -> Survey:
    """Look at everything that is alive; `classes` are those whose instances are wanted, without subclasses.

    `look` says which objects count, where not all do.
    """
    garbage_collector.thaw()
    tasks, greenlets, wanted = _task_types(), _greenlet_types(), list(classes)
    kinds = [FunctionType, FrameType, *SUSPENDED, *tasks, *greenlets, *wanted]
    # By identity: a metaclass may define __eq__ and __hash__.
    by_kind: dict[int, list[Any]] = {id(kind): [] for kind in kinds}
    objects = (look or all_objects)()
    matching: Iterator[Any] = compress(objects, map(by_kind.__contains__, map(id, map(type, objects))))
    for value in matching:
        by_kind[id(type(value))].append(value)
    del objects

    def of(types: Iterable[type]) -> list[Any]:
        return list(chain.from_iterable(by_kind[id(kind)] for kind in types))

    # A frame of our own would hold the survey that holds it.
    frames = [frame for frame in of([FrameType]) if not holders.is_own_frame(frame)]
    instances = [(kind, by_kind[id(kind)]) for kind in wanted]
    return Survey(of([FunctionType]), of(SUSPENDED), of(tasks), of(greenlets), frames, instances)


def all_objects() -> list[Any]:
    """All that the collector knows."""
    return gc.get_objects()


def young_objects() -> list[Any]:
    """What was made since it has collected last; quick to be had."""
    return gc.get_objects(generation=0)


def collections() -> tuple[int, int]:
    """What is another as soon as an object that is young may have become an old one."""
    return sum(generation["collections"] for generation in gc.get_stats()), gc.get_freeze_count()


def instances(classes: Iterable[type], objects: list[Any]) -> list[tuple[type, list[Any]]]:
    """The instances of these classes, subclasses apart, among some objects."""
    of_class: dict[int, tuple[type, list[Any]]] = {id(cls): (cls, []) for cls in classes}
    for value in compress(objects, map(of_class.__contains__, map(id, map(type, objects)))):
        of_class[id(type(value))][1].append(value)
    return list(of_class.values())


def made_since(mark: object) -> set[int]:
    """The ids of all objects that the collector has come to know after this one; none where it has collected since."""
    young = gc.get_objects(generation=0)
    here = next((number for number, value in enumerate(young) if value is mark), len(young))
    return set(map(id, young[here + 1 :]))


def with_subclasses(cls: type) -> list[type]:
    """The class and all that inherit from it, each once."""
    classes = {id(cls): cls}
    waiting = [cls]
    while waiting:
        subclasses: list[type] = type.__subclasses__(waiting.pop())
        for subclass in subclasses:
            if id(subclass) not in classes:
                classes[id(subclass)] = subclass
                waiting.append(subclass)
    return list(classes.values())


def instances_of(cls: type) -> list[Any]:
    """All instances of a class and of its subclasses."""
    classes = with_subclasses(cls)
    return [instance for _, of_class in survey(classes).instances for instance in of_class]


def survivors(alive: Survey, definition: Callable[[CodeType], str | None]) -> list[Survivor]:
    """The frames in definitions for which `definition` has a name, with their holders."""
    result = [*_in_threads(definition)]
    active = {id(frame) for stack in sys._current_frames().values() for frame in _up(stack)}
    of_task: dict[int, Any] = {}
    for task in alive.tasks:
        for suspended in _awaited(task):
            of_task.setdefault(id(suspended), task)
    lists = {id(alive.suspended), id(alive.frames), id(alive.greenlets)}
    for suspended in alive.suspended:
        kind, prefix = SUSPENDED[type(suspended)]
        name = definition(getattr(suspended, f"{prefix}_code"))
        frame = getattr(suspended, f"{prefix}_frame") if name is not None else None
        if frame is None:
            continue
        active.add(id(frame))
        if name is not None and not getattr(suspended, f"{prefix}_running"):
            task = of_task.get(id(suspended))
            holder = f"task {_shown(task)}" if task is not None else holders.holder(suspended, lists)
            result.append(Survivor(kind, name, frame.f_lineno, holder, task=task, key=(id(suspended),)))
    for greenlet in alive.greenlets:
        for frame in _up(_greenlet_frame(greenlet)):
            active.add(id(frame))
            if (name := definition(frame.f_code)) is not None:
                result.append(
                    Survivor("greenlet", name, frame.f_lineno, holders.holder(greenlet, lists), key=(id(frame),))
                )
    for frame in alive.frames:
        if id(frame) not in active and (name := definition(frame.f_code)) is not None:
            holder = holders.holder(frame, lists)
            result.append(Survivor("kept frame", name, frame.f_lineno, holder, runs=False))
    return result


def _in_threads(definition: Callable[[CodeType], str | None]) -> Iterator[Survivor]:
    names = {ident: objects.names_of(thread).get("_name") for ident, thread in _threads().items()}
    for ident, stack in sys._current_frames().items():
        height = sum(1 for _ in _up(stack))
        for depth, frame in enumerate(_up(stack)):
            if (name := definition(frame.f_code)) is not None:
                thread = names.get(ident)
                holder = f"thread {thread if type(thread) is str else ident!r}"
                yield Survivor("frame", name, frame.f_lineno, holder, key=(ident, height - depth, id(frame)))
    del stack  # this frame itself, perhaps, which would hold itself and what called it


def _up(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _awaited(task: Any) -> Iterator[Any]:
    """The coroutine of a task, what it awaits, and so on, up to a future."""
    awaited = objects.task_coroutine(task)
    seen: set[int] = set()
    while awaited is not None and id(awaited) not in seen:
        seen.add(id(awaited))
        yield awaited
        match objects.suspendable(type(awaited)):
            case "":  # what __await__ or asend() gave wraps it
                awaited = objects.first_suspendable(gc.get_referents(awaited))
            case prefix if getattr(awaited, f"{prefix}_frame") is None or getattr(awaited, f"{prefix}_running"):
                return  # it has ended, or what it awaits runs too
            case "gi":
                awaited = awaited.gi_yieldfrom
            case prefix:
                awaited = getattr(awaited, f"{prefix}_await")


def _shown(task: Any) -> str:
    coroutine = objects.task_coroutine(task)
    is_known = bool(objects.suspendable(type(coroutine)))
    return f"{objects.task_name(task)!r} ({coroutine.__qualname__ if is_known else objects.kind_of(coroutine)})"


def _task_types() -> list[type]:
    """asyncio's, with subclasses, if asyncio is loaded."""
    modules = [objects.module_names(name) for name in ("asyncio.tasks", "_asyncio")]
    bases: list[Any] = [names.get(name) for names in modules for name in ("Task", "_PyTask")]
    return _distinct(cls for base in bases if objects.is_a(base, type) for cls in with_subclasses(base))


def _greenlet_types() -> list[type]:
    base: Any = objects.module_names("greenlet").get("greenlet")
    return with_subclasses(base) if objects.is_a(base, type) else []


def _greenlet_frame(greenlet: Any) -> FrameType | None:
    """Where a greenlet waits; None for one that runs, or has not begun."""
    reads: Any = objects.members(objects.module_names("greenlet")["greenlet"]).get("gr_frame")
    is_its_own = type(reads) is GetSetDescriptorType
    frame = reads.__get__(greenlet) if is_its_own else objects.names_of(greenlet).get("gr_frame")
    return frame if type(frame) is FrameType else None


def _threads() -> dict[int, Any]:
    """The threads that `threading` knows, by ident; what they say of themselves is up to their classes."""
    return dict(objects.module_names("threading").get("_active", {}))


def _distinct(types: Iterable[type]) -> list[type]:
    return list({id(cls): cls for cls in types}.values())
