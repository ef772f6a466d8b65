"""Imports the modules of a release where they can do no harm, twice, and says what is the same.

===================  ==================================================================================================
an import may        what becomes of it
===================  ==================================================================================================
raise, exit          the module is missing, with its reason; the others go on
end the interpreter  the module is left out, and it is tried again without it, up to `MOST_TRIES` times
hang                 the same, after `Limits.seconds`; the reason is where it hung
take all memory      the same: `Limits.memory`
use the network      there is none, where the kernel lets a process leave it; else Python's sockets are refused
write files          in its scratch directory, which is also its HOME and working directory; elsewhere it is refused
start processes      they are ended with it, those that leave its session too
===================  ==================================================================================================

The environment has no variable of who builds but `PATH`; descriptors are not inherited. What it prints is kept for the error.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..release import boot_script
from ..release.boot_script import Load, PrimLoad, Start
from ..release.directory import ReleaseDirectory
from . import columns, encoded, starting
from .encoded import Document, Observation
from .importing import Task

SEEDS = ("1", "2")
MOST_TRIES = 5
"""How often it is tried again without what has ended an interpreter."""

ARGUMENTS = ("-s", "-P", "-B", "-S", str(Path(starting.__file__)))
"""Of the interpreter. It must obey PYTHONHASHSEED, which -I would hide from it, and begins with nothing of the release."""

_PR_SET_CHILD_SUBREAPER = 36
_STARTING = ("class", "asgi", "wsgi", "main")


@dataclass(frozen=True)
class Limits:
    """What an import may take."""

    seconds: float = 60.0
    """For all imports of one try, and the look at them."""
    memory: int = max(4 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    """Bytes of data: half of the machine's, or 4 GiB where that is more."""


@dataclass(frozen=True)
class Observed:
    """What came of it."""

    document: Document
    """The picture, as it is in a file."""
    seconds: float
    output: str = ""
    """The end of what the modules printed."""
    stopped: Mapping[str, str] = field(default_factory=dict)
    """Modules that ended or hung an interpreter, and how."""

    @property
    def observation(self) -> Observation:
        """The same, to be looked at."""
        return encoded.of_document(self.document)


def preloaded(directory: ReleaseDirectory, version: str) -> list[str]:
    """The modules that a boot of this version imports before it starts, in that order. Raises DamagedRelease."""
    script = boot_script.read(directory.version(version).boot_script("start"))
    starting = {instruction.application for instruction in script.instructions if isinstance(instruction, Start)}
    modules: dict[str, None] = {}
    for instruction in script.instructions:
        if isinstance(instruction, PrimLoad):
            modules.update(dict.fromkeys(instruction.modules))
    for instruction in script.instructions:
        if isinstance(instruction, Load) and instruction.application in starting and instruction.start:
            references = (instruction.start.get(kind) for kind in _STARTING)
            modules.update((str(reference).partition(":")[0], None) for reference in references if reference)
    return [name for name in modules if name.partition(".")[0] != "underway_runtime"]


def observe(
    modules: Sequence[str], root: Path, scratch: Path, limits: Limits = Limits(), environ: Mapping[str, str] = {}
) -> Observed:
    """Import modules of the release at `root` with this interpreter, twice, and look at both.

    `scratch` is a directory that is there and empty; what it has afterwards is of no use. `environ` is added to what the imports
    see. This process should start no others meanwhile: all that begin are ended. Raises OSError when nothing can be started,
    RuntimeError when the interpreter ends without any module.
    """
    began = time.monotonic()
    skipped: dict[str, str] = {}
    for attempt in range(MOST_TRIES):
        children: list[_Child] = []
        with _ending_orphans():
            try:
                for seed in SEEDS:
                    directory = scratch / f"{attempt}-{seed}"
                    children.append(_Child(modules, root, directory, seed, skipped, limits, environ))
                ended = [child.wait() for child in children]
            finally:
                for child in children:
                    child.end()
        if all(end is None for end in ended):
            common = _common(children[0].out, children[1].out, children[0].labels())
            return Observed(common, time.monotonic() - began, children[0].output(), skipped)
        for module, reason in filter(None, ended):
            if not module:
                raise RuntimeError(f"the imports can't be looked at: {reason}\n{children[0].output()}")
            skipped[module] = reason
    raise RuntimeError(f"the imports can't be looked at: {MOST_TRIES} tries ended early, {skipped}")


def _common(one: Path, other: Path, public: Container[str]) -> Document:
    """What both have seen, without what it may not tell. Raises DamagedRelease where what an import did has damaged a file."""
    first, second = (encoded.unpack(file.read_bytes(), f"what {file} has seen") for file in (one, other))
    with encoded.checked(f"what {one} has seen"):
        outside = {
            kind: same
            for kind, lines in first["outside"].items()
            if (same := [line for line in lines if line in second["outside"].get(kind, ())])
        }
        common = columns.hidden(columns.settled(first, second), public.__contains__)
    return {**common, "outside": outside}


class _Child:
    def __init__(
        self,
        modules: Sequence[str],
        root: Path,
        scratch: Path,
        seed: str,
        skipped: Mapping[str, str],
        limits: Limits,
        environ: Mapping[str, str],
    ) -> None:
        self.out, self.progress, self._printed = (scratch / name for name in ("picture", "progress", "output"))
        self.limits = limits
        inside = scratch / "inside"
        for name in ("home", "tmp", "cwd", "var"):
            (inside / name).mkdir(parents=True)
        places = {str(inside): "$SCRATCH", str(root): "$RELEASE_ROOT"}
        task = Task(
            modules=tuple(modules),
            lib=str(ReleaseDirectory(root).lib),
            places=places,
            skipped=dict(skipped),
            scratch=str(inside),
            out=str(self.out),
            progress=str(self.progress),
            seconds=limits.seconds,
            memory=limits.memory,
            trace=seed == SEEDS[0],
        )
        with open(self._printed, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *ARGUMENTS, str(os.getpid()), "import"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "LANG": "C.UTF-8",
                    "TZ": "UTC",
                    "PYTHONHASHSEED": seed,
                    "HOME": str(inside / "home"),
                    "TMPDIR": str(inside / "tmp"),
                    **dict.fromkeys(("RELEASE_VAR", "RELEASE_TMP"), str(inside / "var")),
                    **environ,
                },
                cwd=inside / "cwd",
                start_new_session=True,
            )
        assert self.process.stdin is not None
        with suppress(BrokenPipeError), self.process.stdin as pipe:
            pipe.write(task.dump().encode())

    def wait(self) -> tuple[str, str] | None:
        """Wait for the end; None when all went well, else the module that was being imported, and how it ended."""
        try:
            status = self.process.wait(self.limits.seconds + 10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        if status == 0 and self.out.exists():
            return None
        lines = self.progress.read_text("utf-8", "replace").splitlines() if self.progress.exists() else []
        hung = next((number for number, line in enumerate(lines) if line.startswith("Timeout")), None)
        module = next((line for line in reversed(lines[:hung]) if line and " " not in line), "")
        if hung is not None or status == -signal.SIGKILL:
            where = next((line.strip() for line in lines[hung:] if line.startswith("  File")), "") if hung else ""
            return module, f"it did not end within {self.limits.seconds:g} seconds{f': {where}' if where else ''}"
        if status < 0:
            return module, f"it ended the interpreter by {signal.Signals(-status).name}"
        return module, f"it ended the interpreter with status {status}"

    def labels(self) -> set[str]:
        """The labels that may be told, which the first of the children writes down."""
        return set(json.loads(Path(f"{self.out}.labels").read_text()))

    def end(self) -> None:
        """End the process and all that is left of its session."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def output(self) -> str:
        """The end of what was printed."""
        with open(self._printed, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4000))
            return file.read().decode("utf-8", "replace").strip()


@contextmanager
def _ending_orphans() -> Iterator[None]:
    """Be the parent of whatever is left by processes that begin in this block, and end it; no other child is touched."""
    libc, before = ctypes.CDLL(None, use_errno=True), _children()
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        deadline = time.monotonic() + 10
        while left := _children() - before:
            for child in left:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                with suppress(ChildProcessError):
                    os.waitpid(child, 0)
            if time.monotonic() > deadline:
                raise RuntimeError(f"processes that an import has started can't be ended: {sorted(left)}")
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _children() -> set[int]:
    """The children of this process, whichever of its threads has started them."""
    pids: set[int] = set()
    for task in os.listdir("/proc/self/task"):
        with suppress(OSError):  # a thread that has ended
            pids.update(map(int, Path(f"/proc/self/task/{task}/children").read_text().split()))
    return pids
