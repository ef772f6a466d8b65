"""The child that imports: it looks at what its imports have made, writes that to a file, and leaves without a goodbye.

Before it imports anything of the release it gives up what an import could do harm with: it has no network where the kernel
lets it leave that, limited memory, no core files, and `outside.Watch` refuses what Python code would do beyond its scratch directory.
"""

from __future__ import annotations

import ast
import faulthandler
import gc
import json
import os
import resource
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from . import encoded, node, objects, outside, picture, starting
from .canonical import canonical
from .namespaces import leave_the_network
from .trace import Trace, tracing

LONGEST_REASON = 300
"""Characters that are told of why a module can't be imported."""

_NEVER = 1 << 30
"""Objects more than there are: the collector does not run by itself."""


@dataclass(frozen=True)
class Task:
    """What a child is to do."""

    modules: tuple[str, ...]
    """In the order in which they are imported."""
    lib: str
    """The directory below which the release's own modules are."""
    places: Mapping[str, str]
    """Directories that are elsewhere each time, with words that stand for them."""
    skipped: Mapping[str, str]
    """Modules that are not imported, as they have ended an interpreter before, and why."""
    scratch: str
    """The one directory that may be written to."""
    out: str
    progress: str
    """A file that says which module is being imported."""
    seconds: float
    memory: int
    """Bytes of data that the process may have."""
    trace: bool

    def dump(self) -> str:
        return json.dumps({**self.__dict__, "places": dict(self.places), "skipped": dict(self.skipped)})


def task_of(text: str) -> Task:
    """What `Task.dump` made this of."""
    fields = json.loads(text)
    return Task(**{**fields, "modules": tuple(fields["modules"])})


class _Refused:
    """A finder that answers for modules which must not be imported."""

    def __init__(self, skipped: Mapping[str, str]) -> None:
        self.skipped = skipped

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname in self.skipped:
            raise ImportError(f"{fullname} is not imported here: {self.skipped[fullname]}", name=fullname)


def run(task: Task) -> None:
    """Import, look, write. Never returns: threads and exit handlers that an import has left are not waited for."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (task.memory, task.memory))
    leave_the_network()
    gc.set_threshold(_NEVER)  # a quarter of all that an import does is to look for garbage among what stays
    with open(task.progress, "a", buffering=1, encoding="utf-8") as progress:
        faulthandler.dump_traceback_later(task.seconds, exit=True, file=progress)
        document = _observed(task, lambda line: progress.write(f"{line}\n"))
        faulthandler.cancel_dump_traceback_later()
        Path(f"{task.out}.part").write_bytes(encoded.pack(document, level=0))
        os.replace(f"{task.out}.part", task.out)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _observed(task: Task, tell: Callable[[str], object]) -> encoded.Document:
    is_ours = _files_of(task.lib)
    failed = dict(task.skipped)
    watch = outside.Watch(task.scratch, lambda: _line(is_ours, task.lib))
    outside.survey()  # which imports what it needs
    sys.addaudithook(watch)
    starting.begin()
    before = outside.survey()
    known = set(sys.modules)
    if failed:
        sys.meta_path.insert(0, _Refused(failed))
    with tracing(is_ours) if task.trace else nullcontext(Trace(is_ours)) as trace:
        for module in task.modules:
            tell(module)
            _attempt(module, failed)
        gc.collect()  # once, so that what is garbage does not depend on when it was looked for
    if failed and sys.meta_path and type(sys.meta_path[0]) is _Refused:
        del sys.meta_path[0]
    tell("")
    changes = outside.changes(before, outside.survey())
    watch.on = False
    gc.disable()  # nothing of what follows is garbage, and it is a third faster
    changes |= {"done": list(watch.done)} if watch.done else {}
    walked = [name for name in sys.modules if name not in known and _is_of(name, task.lib)]
    seen = picture.take(walked, places=task.places)
    told = {kind: [_without(task.places, line) for line in lines] for kind, lines in changes.items()}
    missing = {**seen.missing, **{name: _without(task.places, why) for name, why in failed.items()}}
    observation = encoded.Observation(canonical(replace(seen, missing=missing)), trace.functions(), told)
    document = encoded.document(observation)
    if task.trace:
        _tell_labels(task, document, trace)
    return document


def _tell_labels(task: Task, document: encoded.Document, trace: Trace) -> None:
    """Write down which labels say nothing but what the code of the release says too: no others may leave this machine."""
    labels = {document["texts"][number] for number in set(document["labels"])}
    hideable = [label for label in labels if node.hidden_label(label) != label]
    public = trace.constants()
    Path(f"{task.out}.labels").write_text(json.dumps(sorted(label for label in hideable if _is_public(label, public))))


def _is_public(label: str, public: set[str]) -> bool:
    """Whether all that a key says is said by the code too, also of a tuple."""
    if label[1:-1] in public:
        return True
    try:
        value = ast.literal_eval(label[1:-1])
    except (ValueError, SyntaxError):
        return False  # a frozenset
    parts = value if type(value) is tuple else (value,)
    return all(type(part) not in (str, bytes, int) or repr(part) in public for part in parts)


def _attempt(module: str, failed: dict[str, str]) -> None:
    if module in failed:
        return
    try:
        import_module(module)
    except BaseException as error:  # also SystemExit and KeyboardInterrupt: an import may do anything
        failed[module] = _reason(error)


def _reason(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException:
        text = "what it says can't be told"
    line = f"{objects.kind_of(error)}: {text}".splitlines()[0]
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}..."


def _files_of(lib: str) -> Callable[[str], bool]:
    """Whether a file is one of the release's applications, save this one."""
    runtime = str(Path(__file__).parents[1])
    return lambda file: file.startswith(f"{lib}/") and not file.startswith(runtime)


def _line(is_ours: Callable[[str], bool], lib: str) -> str:
    """Where the release's code is now, the innermost line of it."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if is_ours(file := frame.f_code.co_filename):
            return f" ({file.removeprefix(f'{lib}/')}, line {frame.f_lineno})"
        frame = frame.f_back
    return ""


def _is_of(name: str, lib: str) -> bool:
    """Whether a module is of the release's applications; this runtime is a matter of its own."""
    if name.partition(".")[0] in ("__main__", "underway_runtime"):
        return False
    names = objects.module_names(name)
    places: Iterable[Any] = [names.get("__file__")]
    if type(names.get("__path__")) is list:
        places = [*places, *names["__path__"]]
    return any(type(path) is str and path.startswith(f"{lib}/") for path in places)


def _without(places: Mapping[str, str], text: str) -> str:
    for path, word in places.items():
        text = text.replace(path, word)
    return text
