"""A process of a package that no one here wrote: becomes other versions of it, each in a copy of itself, and tells what it is then.

Runs in a release. The first line of standard input says which ``modules`` to import and what is their ``top``; each that follows is
a task: whether instances are ``held``, and ``steps``, each a ``version`` with the ``instructions`` that lead there, none where it is
only looked, and ``modules`` to import before that. Each is answered by one line: ``looks``, one a step, and what ``refused`` the next;
the first one by the ``problems`` of modules that can't be imported, and what all have when they are ``imported``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.append(os.environ["BENCH"])
from _pairs_process import become
from census import Census, Users
from underway_runtime.observation.namespaces import leave_the_network
from underway_runtime.upgrade.hot import CannotSwap

sys.path.remove(os.environ["BENCH"])

NOW = 1_700_000_000.0


def main() -> None:
    """Answer until there are no more tasks."""
    questions, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # what is called may ask whoever sits there
    os.dup2(2, 1)
    leave_the_network()
    time.time = lambda: NOW  # before anybody takes it
    os.urandom = bytes
    first: dict[str, Any] = json.loads(questions.readline())
    problems = _imported(first["modules"])
    census = partial(Census, first["top"], str(Path(sys.prefix).parents[1] / "lib"))
    users = Users(first["top"], census)
    imported = _in_a_copy(lambda: users.modules(census()))
    users.make()
    print(json.dumps({"problems": problems, "imported": imported}), file=answers, flush=True)
    for line in iter(questions.readline, ""):
        print(json.dumps(_in_a_copy(partial(_looks, users, json.loads(line)))), file=answers, flush=True)


def _imported(names: list[str]) -> dict[str, str]:
    """Why some of these can't be imported, by name."""
    problems = {}
    for name in names:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            problems[name] = f"{type(error).__name__}: {error}"
    return problems


def _in_a_copy(answer: Callable[[], Any]) -> Any:
    """What is answered in a copy of this process, which ends with that."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        with os.fdopen(writes, "w", encoding="utf-8") as file:
            try:
                told = answer()
            except BaseException:
                told = {"error": traceback.format_exc()}
            file.write(json.dumps(told))
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads, encoding="utf-8") as file:
        text = file.read()
    os.waitpid(child, 0)
    return json.loads(text or '{"error": "the copy has ended"}')


def _looks(users: Users, task: dict[str, Any]) -> dict[str, Any]:
    """What all is and does after each step; what is called for that leaves no traces for the next one."""
    if not task["held"]:
        users.release()
    looks: list[Any] = []
    for step in task["steps"]:
        if "version" in step:
            try:
                with contextlib.suppress(StopIteration):  # it waits for nobody here
                    become(step["version"], step["instructions"]).send(None)
            except CannotSwap as error:
                return {"refused": list(error.problems), "looks": looks}
        _imported(step["modules"])
        _empty(Path.cwd())
        looks.append(_in_a_copy(users.look))
        if "error" in looks[-1]:
            return {"error": looks[-1]["error"]}
    return {"looks": looks}


def _empty(directory: Path) -> None:
    """Take away what calls have written there."""
    for path in directory.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


if __name__ == "__main__":
    main()
