"""A command that changes the releases, killed at any change of the disk, leaves one that boots whole, and can be run again."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

import dying
from archive_helpers import look
from projects import build, run, underway, write_project
from underway_runtime.release import ledger, verify
from underway_runtime.release.directory import ReleaseDirectory, VarDirectory
from upgrade_helpers import make_host, release_files, with_file

SEED = 20261121
LAST = 40
"""Of the changes at the end of a command, where it commits itself, the sample takes more."""


@dataclass(frozen=True)
class Built:
    """hello-1.0 as a release; 1.1 as an archive and as a delta."""

    root: Path
    archive: Path
    delta: Path
    runs: bool
    """Whether it prints its version; a small one of a dozen files does not run at all."""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Without an interpreter in them, so that a test takes a second."""
    tool = '[tool.underway]\nmain = "hello:main"\ninclude-interpreter = false\n'
    place = tmp_path_factory.mktemp("upgrade")
    roots = []
    for version in ("1.0", "1.1"):
        project = write_project(
            place / version, tool, version=version, files={"src/hello/new.py": f"V = {version!r}\n"}
        )
        (project / "src/hello/__init__.py").write_text(f"WORD = {version!r}\ndef main(): print(WORD)\n")
        roots.append(build(project))
    done = underway("delta", *roots, "--output", place / "hello-1.0-1.1.delta", cwd=place)
    assert done.returncode == 0, done.stderr
    return Built(roots[0], roots[1].parent / "hello-1.1.tar.zst", place / "hello-1.0-1.1.delta", runs=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """So small that each change can be tried."""
    host = make_host(tmp_path_factory.mktemp("small"))
    contents = with_file(release_files("1.1"), "bin/hello", b"#!/bin/sh\n# another\n")
    archive, delta = host.archive("1.1", contents), host.delta("1.1", contents)
    place = host.var.path.rename(host.place / "var") / "incoming"
    return Built(host.root, place / archive.name, place / delta.name, runs=False)


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Act:
    """One command, and what precedes it."""

    arguments: tuple[str, ...]
    before: tuple[tuple[str, ...], ...]
    runs: str


def prepare(built: Built, root: Path, act: Act, scratch: Path) -> None:
    """The release as it is before the act."""
    shutil.copytree(built.root, root, symlinks=True)
    for arguments in act.before:
        done = dying.release(root, arguments, boots(root), scratch, runs=act.runs)
        assert done.status == 0, done.output


def boots(root: Path) -> str:
    return ledger.boots(ReleaseDirectory(root), VarDirectory(root / "var"))


def check_whole(root: Path, runs: bool) -> str:
    """The version that boots: every file is what its manifest says, and it runs as itself."""
    version = boots(root)
    problems = [problem for problem in verify.verify(root, version) if "is in no manifest" not in problem]
    assert problems == []
    if not runs:
        return version
    done = run([root / "bin/hello", "eval", "import hello, hello.new; print(hello.WORD, hello.new.V)"])
    assert done.stdout == f"{version} {version}\n", done.stderr
    return version


def outcome(root: Path) -> tuple[dict[str, tuple[int, str]], dict[str, tuple[str, bool]]]:
    """All that the act is for: the tree, what boots, and the ledger without its times."""
    directory, var = ReleaseDirectory(root), VarDirectory(root / "var")
    passing = ("var/RELEASES", "var/transaction", "var/journal")  # the last is of what looked at it meanwhile
    found = {path: what for path, what in look(root).items() if not path.startswith(passing)}
    written = ledger.recorded(var)
    assert written == ledger.read(directory, var)
    return found, {version: (record.state, bool(record.failed)) for version, record in sorted(written.items())}


def acts(built: Built) -> dict[str, Act]:
    archived = ("unpack", str(built.archive), "--sha256", sha256(built.archive))
    patched = ("unpack", str(built.delta), "--sha256", sha256(built.delta))
    return {
        "unpack": Act(archived, (), "1.0"),
        "unpack a delta": Act(patched, (), "1.0"),
        "commit": Act(("commit",), (archived,), "1.1"),
        "rollback": Act(("rollback",), (archived, ("commit",)), "1.1"),
        "rollback without a node": Act(("rollback",), (archived, ("commit", "1.1")), "1.1"),
        "remove the new one": Act(("remove", "1.1"), (archived,), "1.0"),
        "remove the old one": Act(("remove", "1.0"), (archived, ("commit",)), "1.1"),
    }


@pytest.mark.e2e
@pytest.mark.sample
@pytest.mark.parametrize(
    ("kind", "anywhere", "at_the_end"),
    [
        ("real", 1, 1),
        ("small", 4, 4),
        pytest.param("real", 40, 20, marks=pytest.mark.drill),
        pytest.param("small", 10_000, 0, marks=pytest.mark.drill),
    ],
    ids=["real-sample", "small-sample", "real-more", "small-all"],
)
@pytest.mark.parametrize(
    "name",
    [
        "unpack",
        "unpack a delta",
        "commit",
        "rollback",
        "rollback without a node",
        "remove the new one",
        "remove the old one",
    ],
)
def test_a_command_killed_at_any_change_leaves_a_release_that_boots(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, kind: str, anywhere: int, at_the_end: int
) -> None:
    """Die at each open, write, fsync, rename, link and removal in turn; then the same command ends as if nothing had been."""
    built: Built = request.getfixturevalue(kind)
    act, root, prepared = acts(built)[name], tmp_path / "hello", tmp_path / "prepared"
    prepare(built, prepared, act, tmp_path)
    shutil.copytree(prepared, root, symlinks=True)
    before = check_whole(root, built.runs)
    runs = "" if name == "rollback without a node" else act.runs
    total = dying.release(root, act.arguments, before, tmp_path, runs=runs)
    assert total.status == 0, total.output
    after, wanted = check_whole(root, built.runs), outcome(root)

    dice = random.Random(SEED)
    last = range(max(1, total.changes - LAST), total.changes + 1)
    points = {*dice.sample(range(1, total.changes + 1), min(anywhere, total.changes))}
    for at in sorted({*points, *dice.sample(last, min(at_the_end, len(last)))}):
        shutil.rmtree(root)
        shutil.copytree(prepared, root, symlinks=True)

        died = dying.release(root, act.arguments, before, tmp_path, dies_at=at, runs=runs)

        assert died.killed, f"not killed at {at} of {total.changes}: {died.output}"
        now = check_whole(root, built.runs)
        assert now in (before, after), f"killed at change {at} of {total.changes}"
        again = dying.release(root, act.arguments, now, tmp_path, runs=runs)
        assert again.status == 0, f"after a death at change {at} of {total.changes}: {again.output}"
        assert check_whole(root, built.runs) == after
        assert outcome(root) == wanted, f"after a death at change {at} of {total.changes}"
        assert not os.path.exists(root / ".transaction")
