"""A build that is killed at any change of the disk leaves the old release whole, and can be run again."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from dying import underway
from projects import run, write_project
from stages import damaged
from underway_runtime.release import manifest

SEED = 20261120


def whole(root: Path) -> str:
    """The id of the release at `root`, every file of which is as its manifest says; and it runs."""
    [file] = root.glob("releases/*/manifest.json")
    sealed = manifest.read(file)
    assert manifest.survey(root, sealed.files) == dict(sealed.files)
    assert run([root / "bin/hello", "eval", "import hello; print(hello.WORD)"]).returncode == 0
    return sealed.release_id


def edit(root: Path, word: str) -> None:
    (root / "src/hello/__init__.py").write_text(f"WORD = {word!r}\ndef main(): print(WORD)\n")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project without an interpreter of its own in the release, so that a build takes a second."""
    tool = '[tool.underway]\nmain = "hello:main"\ninclude-interpreter = false\noverlays = "files"\n'
    return write_project(tmp_path_factory.mktemp("hello"), tool, {"files/notes/read.me": "hello"})


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("anywhere", "at_the_end"),
    [
        pytest.param(3, 2, marks=pytest.mark.timeout(600)),
        pytest.param(100, 20, marks=[pytest.mark.drill, pytest.mark.timeout(3_600)]),
    ],
    ids=["sample", "full"],
)
def test_a_build_killed_at_any_change_leaves_the_old_release_whole(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anywhere: int, at_the_end: int
) -> None:
    """Die at each write, rename, link and removal in turn; the target is the old release or the new one, never a mixture.

    The build that dies begins with an empty cache, and the next one uses what it left there.
    """
    cache = tmp_path / "cache"
    monkeypatch.setenv("UNDERWAY_CACHE", str(cache))
    target = project / "build/release/hello"
    edit(project, "old")
    first = underway(["release", "--overwrite"], project, tmp_path)
    assert first.status == 0, first.output
    old = whole(target)
    (target / "var").mkdir(exist_ok=True)
    (target / "var/COOKIE").write_text("kept")
    shutil.copytree(target.parent, tmp_path / "old", symlinks=True)
    edit(project, "new")
    shutil.rmtree(cache)
    total = underway(["release", "--overwrite", "--version", "0.1.0"], project, tmp_path)
    assert total.status == 0, total.output
    new = whole(target)
    assert new != old

    last = range(total.changes - 20, total.changes + 1)  # the exchange and what follows it
    points = random.Random(SEED).sample(range(1, total.changes + 1), min(anywhere, total.changes))
    for at in sorted({*points, *random.Random(SEED).sample(last, at_the_end)}):
        shutil.rmtree(target.parent)
        shutil.copytree(tmp_path / "old", target.parent, symlinks=True)
        shutil.rmtree(cache)

        died = underway(["release", "--overwrite"], project, tmp_path, dies_at=at)

        assert whole(target) in (old, new), f"killed at change {at} of {total.changes}: {died.output}"
        assert damaged(cache) == []
        again = underway(["release", "--overwrite"], project, tmp_path)
        assert again.status == 0, f"after a death at change {at}: {again.output}"
        assert whole(target) == new
        assert (target / "var/COOKIE").read_text() == "kept"
        assert sorted(os.listdir(target.parent)) == ["hello", "hello-0.1.0.tar.zst"]
