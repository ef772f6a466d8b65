"""A version in an interpreter of its own, asked from outside: the other end of `rehearsal`."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...observation.node import Node
from ...observation.picture import Picture
from ...release import boot_script, plain_values
from ...release.boot_script import Load, PrimLoad, Start
from ...release.directory import VersionDirectory

_PROGRAM = "from underway_runtime.upgrade.hot.rehearsal import main; main()"
_ALONE = "from underway_runtime.observation.namespaces import leave_the_network; leave_the_network();"


class Unobservable(Exception):
    """A version can't be looked at; the text says why."""


class Rehearsed:
    """A version that is asked. Each method raises Unobservable where it does not answer."""

    def __init__(
        self, directory: VersionDirectory, process: subprocess.Popen[str], places: Mapping[str, str] = {}
    ) -> None:
        self.place = directory
        self._process = process
        self._places = dict(places)
        """Directories that are this process's alone, with words that stand for them in its pictures."""

    def boot(self, also: Iterable[str] = (), configuration: Mapping[str, Any] | None = None) -> None:
        """Import what a boot imports, in its order, and then other modules, configured like that.

        Raises Unobservable for what can't be imported here.
        """
        names = list(dict.fromkeys([*imported_at_boot(self.place), *also]))
        if problems := self._ask({"import": names, "configuration": configuration})["problems"]:
            which, why = next(iter(problems.items()))
            raise Unobservable(f"{which} of {self.place.path.name} can't be imported in a trial: {why}")

    def missing(self, modules: Sequence[str]) -> frozenset[str]:
        """Import these too; return those that can't be, and programs, which are not tried: importing them runs them."""
        programs = {name for name in modules if name.rpartition(".")[2] == "__main__"} - {*imported_at_boot(self.place)}
        names = [name for name in modules if name not in programs]
        return frozenset((*programs, *self._ask({"import": names, "configuration": None})["problems"]))

    def picture(self, modules: Sequence[str], libraries: Sequence[str] = ()) -> Picture:
        """What can be reached from those of these modules that are imported, and from those of these packages."""
        return _picture(self._ask({"picture": list(modules), "libraries": list(libraries), "places": self._places}))

    def value(self, path: Sequence[str]) -> Any:
        """The plain value at a path of its last picture.

        Raises LookupError where there is none that is plain, and for one that says where this process alone works.
        """
        value = self._ask({"value": list(path)})["value"]
        if any(path in json.dumps(value) for path in self._places):
            raise LookupError(f"{''.join(path)} is a place of its own")
        return plain_values.decode(value)

    def become(
        self,
        other: VersionDirectory,
        instructions: Sequence[Mapping[str, Any]],
        modules: Sequence[str],
        libraries: Sequence[str] = (),
    ) -> Picture | list[str]:
        """Its picture once a copy of it has become the other version; or what was in the way."""
        places = {"old": str(self.place.path), "new": str(other.path)}
        names = {"modules": list(modules), "libraries": list(libraries), "places": self._places}
        answer = self._ask({"become": list(instructions), **places, **names})
        return list(answer["problems"]) if "problems" in answer else _picture(answer)

    def stage(self, other: VersionDirectory, instructions: Sequence[Mapping[str, Any]]) -> list[str]:
        """What is in the way of the other version only when all is made ready for it in a copy."""
        places = {"old": str(self.place.path), "new": str(other.path)}
        return list(self._ask({"stage": list(instructions), **places})["problems"])

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{json.dumps(question)}\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        except (OSError, ValueError):
            why = "ended while it was looked at, or took too long"
            raise Unobservable(f"a trial of {self.place.path.name} {why}") from None
        return answer


@contextmanager
def rehearsed(
    directory: VersionDirectory,
    environ: Mapping[str, str],
    cwd: Path,
    within: float,
    places: Mapping[str, str] = {},
    alone: bool = False,
) -> Iterator[Rehearsed]:
    """A version in a process that ends with the block, or after so many seconds. Raises Unobservable.

    `alone` says that it has no network, where the kernel lets a process leave that.
    """
    try:
        process = subprocess.Popen(
            [directory.python, "-B", "-c", f"{_ALONE if alone else ''} {_PROGRAM}".strip()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=cwd,
            env=environ,
            start_new_session=True,
        )
    except OSError as error:
        raise Unobservable(f"{directory.python} can't be run: {error.strerror}") from None
    timer = threading.Timer(within, process.kill)
    timer.start()
    try:
        yield Rehearsed(directory, process, places)
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


def imported_at_boot(directory: VersionDirectory) -> list[str]:
    """The modules that a boot of a version imports before anything starts."""
    script = boot_script.read(directory.boot_script("start"))
    names = [
        name for instruction in script.instructions if isinstance(instruction, PrimLoad) for name in instruction.modules
    ]
    started = {instruction.application for instruction in script.instructions if isinstance(instruction, Start)}
    loads = [
        instruction
        for instruction in script.instructions
        if isinstance(instruction, Load) and instruction.application in started
    ]
    references = [(load.start or {}).get(kind) for load in loads for kind in ("class", "asgi", "wsgi", "main")]
    return list(
        dict.fromkeys(
            [*names, *(str(reference).partition(":")[0] for reference in references if reference is not None)]
        )
    )


def _picture(answer: Mapping[str, Any]) -> Picture:
    nodes = [
        Node(kind, name, digest, flags, tuple((label, number) for label, number in edges))
        for kind, name, digest, flags, edges in answer["nodes"]
    ]
    return Picture(answer["modules"], nodes, (), answer["missing"])
