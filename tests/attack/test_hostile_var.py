"""Whatever the owner of `var` puts into it, root's commands come to an end with a sentence, and touch nothing outside."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from conftest import Count
from grounds import OPERATOR, PLACE, Ground
from hostile_var import Case, cases, plant
from node_helpers import TEMPLATES

SEED = 20261130
SECRET = "top-secret-of-root"
LIMITS = 'ulimit -v 1500000; ulimit -t 20; exec "$@"'
"""Of a command: 1.5 GB, and 20 s of processor."""
SECONDS = 45
"""Of any command, on a machine that is busy."""
LARGEST = 40_000
"""Characters that a command says."""


@pytest.fixture
def surrounded(ground: Ground) -> Ground:
    """The service runs, has been asked, and is in a release for clusters; next to it are a secret and a directory of root's."""
    command = ground.outside / "bin/cluster"
    command.write_text((TEMPLATES / "cluster/cluster.sh").read_text().replace("@RELEASE_NAME@", "hello"))
    command.chmod(0o755)
    (ground.outside / "releases/1/cluster.py").touch()
    (ground.outside / "releases/1/cluster.json").write_text("{}")
    ground.victim("secret", f"3.11.7 {SECRET}\n")
    ground.look(PLACE / "outside").mkdir(exist_ok=True)
    ground.start()
    return ground


@contextmanager
def in_place(ground: Ground, case: Case) -> Iterator[None]:
    """What the case puts there is there meanwhile."""
    place, aside = ground.var / case.place, ground.var / "aside"
    shutil.rmtree(aside, ignore_errors=True)
    if was_there := os.path.lexists(place):
        place.rename(aside)
    try:
        plant(case, ground.var)
        yield
    finally:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        if was_there:
            aside.rename(place)


def fingerprint(ground: Ground) -> dict[str, tuple[int, ...]]:
    """What is around `var`, with all that changes when it is written, given away or exchanged."""
    found: dict[str, tuple[int, ...]] = {}
    place = str(ground.look(PLACE))
    left_out = {f"{place}/hello/var", f"{place}/pwned", f"{place}/.library"}
    todo = [place]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.path in left_out or entry.name.startswith("python-"):
                    continue
                now = entry.stat(follow_symlinks=False)
                found[entry.path] = (now.st_ino, now.st_mode, now.st_uid, now.st_gid, now.st_size, now.st_mtime_ns)
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
    return found


def run(ground: Ground, command: str) -> tuple[int, str]:
    """The command of root's, within its limits: its status and all that it says."""
    program, _, words = command.partition(" ") if command.startswith("cluster ") else ("hello", "", command)
    limited = ["/bin/sh", "-c", LIMITS, "sh", str(ground.inside / "bin" / program), *words.split()]
    try:
        done = ground.run(OPERATOR, *limited, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return -1, f"it has not ended within {SECONDS} s"
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("runs", [True, False], ids=["runs", "has stopped"])
def test_no_file_of_var_breaks_or_steers_a_command_of_roots(surrounded: Ground, count: Count, runs: bool) -> None:
    """No traceback, nothing for the terminal to obey, no secret; nothing of the service's is run, and nothing outside `var` is touched."""
    if not runs:
        assert surrounded.hello(OPERATOR, "stop").returncode == 0
    problems = []
    before = fingerprint(surrounded)
    for number, case in enumerate(cases(SEED + runs, count(12, 1500), ("stop", "restart") if runs else ())):
        with in_place(surrounded, case):
            status, said = run(surrounded, case.command)
        wrong = {
            "traceback": "Traceback" in said,
            "out of memory": "MemoryError" in said,
            "secret": SECRET in said,
            "for the terminal": not said.replace("\n", "").replace("\t", "").isprintable(),
            "long": len(said) > LARGEST and "logs" not in case.command,
            f"status {status}": not 0 <= status < 100,
            "says nothing": bool(status) and not said.strip(),
            "runs what is the service's": bool(surrounded.pwned_by()),
            "outside": (after := fingerprint(surrounded)) != before,
        }
        if any(wrong.values()):
            changed = [path for path in {**before, **after} if before.get(path) != after.get(path)]
            problems.append(f"{number}: {case}: {[*filter(wrong.get, wrong)]} {changed[:3]}\n{said[-1500:]}")
            before = after
    assert not problems, "\n\n".join(problems)


@pytest.mark.parametrize("command", ["status", "daemon"])
def test_a_command_for_a_node_of_a_cluster_makes_nothing(surrounded: Ground, command: str) -> None:
    """Neither behind a link of the service's nor in `var`: who asks or would start a node of another user's leaves nothing there."""
    for target in (f"{PLACE}/outside", f"{PLACE}/new"):
        (surrounded.var / "cluster").symlink_to(target)
        before = fingerprint(surrounded)
        status, said = run(surrounded, f"cluster worker {command} -n w@here")
        assert "Traceback" not in said
        assert status == 1, said
        assert fingerprint(surrounded) == before
        (surrounded.var / "cluster").unlink()
    assert run(surrounded, f"cluster worker {command} -n w@here")[0] == 1
    assert not (surrounded.var / "cluster").exists()
