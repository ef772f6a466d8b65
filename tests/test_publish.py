"""A release gets to its place whole, or what was there stays."""

from __future__ import annotations

import fcntl
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from underway.errors import BuildError, BusyError
from underway.steps.publish import (
    check_target,
    keep_other_versions,
    publish,
    recover,
    workspace,
)
from underway_runtime.process.exchange import exchange
from underway_runtime.release import manifest


def tree(root: Path, version: str, **files: str) -> Path:
    """A directory that looks like a release of one version, with its manifest."""
    contents = {
        f"releases/{version}/chat.rel": version,
        "releases/start.data": version,
        "bin/chat": "#!/bin/sh",
        **files,
    }
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    sealed = manifest.Manifest("chat", version, "here", "3.11.2", manifest.survey(root, contents))
    (root / "releases" / version / "manifest.json").write_text(manifest.dump(sealed))
    return root


def test_a_new_release_takes_the_place_of_the_old_one_and_keeps_its_var(tmp_path: Path) -> None:
    """What a node wrote in var/ survives a build; everything else is new."""
    target = tree(tmp_path / "chat", "1", old="old")
    (target / "var").mkdir()
    (target / "var/COOKIE").write_text("c")

    with workspace(target) as place:
        publish(tree(place / "chat", "2", new="new"), target)

    assert (target / "new").read_text() == "new"
    assert not (target / "old").exists()
    assert (target / "var/COOKIE").read_text() == "c"
    assert os.listdir(tmp_path) == ["chat"]


def test_a_failed_build_leaves_nothing_behind(tmp_path: Path) -> None:
    """Directories that were made on the way are gone again."""
    with pytest.raises(RuntimeError), workspace(tmp_path / "build/release/chat") as place:
        tree(place / "chat", "1")
        raise RuntimeError

    assert os.listdir(tmp_path) == []


def test_two_builds_at_once_do_not_meet(tmp_path: Path) -> None:
    """The second build of one target is told so at once, and the first goes on."""
    with workspace(tmp_path / "chat") as place:
        with pytest.raises(BusyError, match="another build is making"), workspace(tmp_path / "chat"):
            pass
        publish(tree(place / "chat", "1"), tmp_path / "chat")

    assert os.listdir(tmp_path) == ["chat"]


def test_builds_beside_each_other_do_not_take_the_directory_away_that_they_are_in(tmp_path: Path) -> None:
    """One that fails removes the directories that it has made, and another that has just begun there makes them again."""
    barrier = threading.Barrier(2)

    def build(name: str) -> None:
        for _ in range(300):
            barrier.wait(30)
            try:
                with workspace(tmp_path / "build/release" / name) as place:
                    assert place.is_dir()
            except BaseException:
                barrier.abort()
                raise

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(build, name) for name in ("one", "other")]:
            assert done.exception() is None


def test_the_leftovers_of_a_killed_build_are_cleared(tmp_path: Path) -> None:
    """What a build that died left next to the target is gone after the next one."""
    tree(tmp_path / ".chat.partial/chat", "0")

    with workspace(tmp_path / "chat") as place:
        assert os.listdir(place) == []


def test_a_publication_that_died_before_it_moved_var_is_finished(tmp_path: Path) -> None:
    """var/ is moved by the next build when the first died right after the exchange."""
    target = tree(tmp_path / "chat", "2")
    (tmp_path / ".chat.partial/chat/var").mkdir(parents=True)
    (tmp_path / ".chat.partial/chat/var/COOKIE").write_text("c")

    with workspace(target):
        assert (target / "var/COOKIE").read_text() == "c"


def test_a_publication_that_died_between_two_renames_is_undone(tmp_path: Path) -> None:
    """Where the file system can't exchange, the old release is put back by the next build."""
    tree(tmp_path / ".chat.partial/chat.old", "1", old="old")

    recover(tmp_path / ".chat.partial", tmp_path / "chat")

    assert (tmp_path / "chat/old").read_text() == "old"


def test_the_exchange_is_one_act(tmp_path: Path) -> None:
    """Two directories change places; both are whole."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a/one").touch()
    (tmp_path / "b/two").touch()

    exchange(tmp_path / "a", tmp_path / "b")

    assert (os.listdir(tmp_path / "a"), os.listdir(tmp_path / "b")) == (["two"], ["one"])


def test_other_versions_stay_beside_the_new_one(tmp_path: Path) -> None:
    """A build of 2 keeps 1 as it is, sharing the applications that are the same."""
    target = tree(tmp_path / "chat", "1", **{"lib/a-1/a.py": "a", "lib/b-1/b.py": "b"})
    new = tree(tmp_path / "new", "2", **{"lib/a-1/a.py": "a", "lib/b-2/b.py": "b2"})

    assert keep_other_versions(new, target, "2") == []
    assert (new / "lib/b-1/b.py").read_text() == "b"
    assert (new / "releases/1/manifest.json").exists()
    assert (new / "releases/start.data").read_text() == "2"


def test_a_version_that_would_change_is_not_kept(tmp_path: Path) -> None:
    """A version whose application has other bytes under the same name is named, not damaged."""
    target = tree(tmp_path / "chat", "1", **{"lib/a-1/a.py": "a"})
    new = tree(tmp_path / "new", "2", **{"lib/a-1/a.py": "changed without a new version"})

    assert keep_other_versions(new, target, "2") == ["1"]
    assert not (new / "releases/1").exists()
    assert (target / "lib/a-1/a.py").read_text() == "a"


def test_a_damaged_version_is_not_kept(tmp_path: Path) -> None:
    """A version without a whole manifest is named and left out."""
    target = tree(tmp_path / "chat", "1")
    (target / "releases/1/manifest.json").write_text("{")

    assert keep_other_versions(tree(tmp_path / "new", "2"), target, "2") == ["1"]


def test_a_directory_that_is_no_release_is_never_replaced(tmp_path: Path) -> None:
    """--path at somebody's files is refused."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.txt").touch()
    (tmp_path / "file").touch()

    for name in ("home", "file"):
        with pytest.raises(BuildError, match="is not a release"):
            check_target(tmp_path / name, "1", overwrite=True)


def test_a_version_that_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    """The same version twice needs --overwrite; another version does not."""
    target = tree(tmp_path / "chat", "1")

    with pytest.raises(BuildError, match="use --overwrite"):
        check_target(target, "1", overwrite=False)
    check_target(target, "1", overwrite=True)
    check_target(target, "2", overwrite=False)


def test_the_code_of_a_running_node_is_not_replaced(tmp_path: Path) -> None:
    """While a node holds its lock, a build over it is refused with its pid."""
    target = tree(tmp_path / "chat", "1")
    (target / "var/run").mkdir(parents=True)
    (target / "var/run/pid").write_text("4711\n")
    with (target / "var/run/lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BuildError, match=r"is running \(pid 4711\)"):
            check_target(target, "2", overwrite=True)

    check_target(target, "2", overwrite=True)
