"""A version in an interpreter of its own, that is looked at, and becomes another one without serving anybody.

Run with the python of ``releases/V``; asked by lines of JSON on standard input, each answered by one on what was standard output
(what the modules print goes to standard error):

====================  ================================================================================================
``import`` [names]    import these, in this order, with that ``configuration``: ``problems``, by module
``picture`` [names]   what can be reached from these modules, and from all of the packages ``libraries``: ``modules`` and ``nodes``;
                      ``places`` are directories of this process alone, with words that stand for them in texts
``value`` path        the plain value at a path of that picture: ``value``, nothing where it is not plain
``become`` …          obey ``instructions`` that lead from the version ``old`` to ``new``, directories both, in a copy of this
                      process: its picture of ``modules`` afterwards, or the ``problems``
``stage`` …           the same, for the ``problems`` alone that are found only when all is made ready; none where it does not come to that
====================  ================================================================================================
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, TextIO

from ...configuration import config
from ...observation import objects, picture
from ...observation.picture import Picture
from ...release import plain_values
from ...release.directory import VersionDirectory
from ...release.errors import UnderwayError
from ...release.instruction_json import from_json
from . import CannotMigrate, CannotSwap
from .swap import Prepared, prepare
from .versions import Version, read_version

Answer = Mapping[str, Any]


class Rehearsal:
    """What is asked of this process."""

    def __init__(self) -> None:
        self._taken: Picture | None = None

    def answer(self, asked: Mapping[str, Any]) -> Answer:
        """To one line."""
        match asked:
            case {"import": list(names), "configuration": values}:
                if values is not None:
                    config.install(values)
                return {"problems": dict(_imported(names))}
            case {"picture": list(names), "libraries": list(libraries), "places": dict(places)}:
                self._taken = picture.take(_also(names, libraries), keep=True, places=places)
                return as_json(self._taken)
            case {"value": list(path)}:
                return self._value(path)
            case {
                "become": list(instructions),
                "old": str(old),
                "new": str(new),
                "modules": list(names),
                "libraries": list(tops),
                "places": dict(places),
            }:
                _read_before(old, new)
                return _in_a_copy(lambda: self._become(instructions, old, new, _also(names, tops), places))
            case {"stage": list(instructions), "old": str(old), "new": str(new)}:
                _read_before(old, new)
                return _in_a_copy(lambda: self._stage(instructions, old, new))
        raise ValueError(f"nothing is known of {asked!r}")

    def _value(self, path: Sequence[str]) -> Answer:
        number = self._taken.at(path) if self._taken is not None else None
        if self._taken is None or number is None:
            return {}
        try:
            return {"value": plain_values.encode(self._taken.objects[number])}
        except ValueError:
            return {}

    def _become(
        self, instructions: Sequence[Any], old: str, new: str, names: Sequence[str], places: Mapping[str, str]
    ) -> Answer:
        self._taken = None  # what it holds nothing else would
        try:
            prepared = _prepared(instructions, old, new)
            prepared.stage_and_migrate()
            prepared.swap()
            prepared.survivors()
        except CannotSwap as error:
            return {"problems": list(error.problems)}
        prepared.forget()
        return as_json(picture.take(names, places=places))

    def _stage(self, instructions: Sequence[Any], old: str, new: str) -> Answer:
        self._taken = None
        try:
            prepared = _prepared(instructions, old, new)
        except CannotSwap:
            return {"problems": []}  # the process that serves is looked at itself
        try:
            prepared.stage_and_migrate()
            prepared.swap()
        except CannotMigrate:
            return {"problems": []}  # about the state of this copy
        except CannotSwap as error:
            return {"problems": list(error.problems)}
        return {"problems": []}


def _read_before(*versions: str) -> None:
    """Read what copies of this process will ask for; what is wrong with it they say."""
    for version in versions:
        with suppress(UnderwayError, OSError):
            _version(version)


def _prepared(instructions: Sequence[Any], old: str, new: str) -> Prepared:
    return prepare(map(from_json, instructions), _version(old), _version(new), alone=True)


@cache
def _version(directory: str) -> Version:
    """Read a version once, for all copies of this process."""
    return read_version(VersionDirectory(Path(directory)))


def _also(names: Sequence[str], libraries: Sequence[str]) -> list[str]:
    """These modules, those of some packages, and what has been made for their own packages as modules that no file is of."""
    tops = {name.partition(".")[0] for name in names}
    made = [name for name in list(sys.modules) if name.partition(".")[0] in tops and _is_made(name)]
    return [*names, *_of_libraries(libraries), *made]


def _is_made(name: str) -> bool:
    spec: Any = objects.module_names(name).get("__spec__")
    if not objects.is_a(spec, ModuleSpec):
        return spec is None
    return spec.origin is None and spec.submodule_search_locations is None


def _of_libraries(names: Sequence[str]) -> list[str]:
    """The modules of some packages that are imported."""
    return [name for name in list(sys.modules) if name.partition(".")[0] in names]


def _imported(names: Sequence[str]) -> list[tuple[str, str]]:
    problems = []
    for name in names:
        try:
            import_module(name)
        except (Exception, SystemExit) as error:
            problems.append((name, f"{type(error).__name__}: {error}"))
    return problems


def _in_a_copy(answer: Any) -> Answer:
    """What is answered by a copy of this process, which ends with that."""
    reads, writes = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads: what they hold is not taken here
        child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reads)
            with open(writes, "w", encoding="utf-8") as file:
                json.dump(_or_problem(answer), file)
            status = 0
        finally:
            os._exit(status)
    os.close(writes)
    with open(reads, encoding="utf-8") as file:
        text = file.read()
    os.waitpid(child, 0)
    result: Answer = json.loads(text) if text else {"problems": ["the process ended"]}
    return result


def _or_problem(answer: Any) -> Answer:
    try:
        result: Answer = answer()
    except (Exception, UnderwayError) as error:
        return {"problems": [f"{type(error).__name__}: {error}"]}
    return result


def as_json(taken: Picture) -> dict[str, Any]:
    """A picture without its objects."""
    return {"modules": dict(taken.modules), "missing": dict(taken.missing), "nodes": list(taken.nodes)}


def main() -> None:
    """Answer until the input ends."""
    out: TextIO = open(os.dup(1), "w", encoding="utf-8")  # noqa: SIM115  # until the process ends
    os.dup2(2, 1)
    rehearsal = Rehearsal()
    for line in sys.stdin:
        out.write(f"{json.dumps(rehearsal.answer(json.loads(line)))}\n")
        out.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
