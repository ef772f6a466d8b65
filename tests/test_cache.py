"""The cache gives back what was put in, whole and unchanged, or nothing; what is found there is not made again."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from projects import TIMEOUT, underway, write_project
from stages import cache_in, damaged, stage_of
from underway.packages import wheel_record
from underway.project import sources
from underway.toolchain import cache, interpreters
from underway.toolchain.cache import Cache
from underway.toolchain.cached_tree import TreeEntry, make_directory
from underway.toolchain.interpreters import Interpreter
from wheels import locked_project, write_wheel


@pytest.fixture
def empty_cache(tmp_path: Path) -> Cache:
    return cache_in(tmp_path)


def fill(tree: Path) -> Mapping[str, Any]:
    (tree / "package").mkdir()
    (tree / "package/module.py").write_text("x = 1\n")
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o700)
    return {"word": "yes"}


def files_of(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.relative_to(root).as_posix(): (path.stat().st_mode & 0o777, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
    }


MADE = {"package/module.py": (0o644, b"x = 1\n"), "run": (0o755, b"#!/bin/sh\n")}


def test_what_was_made_is_found(empty_cache: Cache, tmp_path: Path) -> None:
    """An entry has its files, with plain modes whatever the umask, and the facts that came with them."""
    before = os.umask(0o077)
    try:
        empty_cache.make("kind", "key", fill)
        found = empty_cache.find("kind", "key")
        assert found is not None
        found.put_into(tmp_path / "target")
    finally:
        os.umask(before)

    assert found.facts == {"word": "yes"}
    assert files_of(found.tree) == files_of(tmp_path / "target") == MADE
    assert (tmp_path / "target/package").stat().st_mode & 0o777 == 0o755
    assert empty_cache.find("kind", "other") is None


def test_it_is_placed_by_hard_link_or_copied_where_that_is_asked_for(empty_cache: Cache, tmp_path: Path) -> None:
    """UNDERWAY_LINK_MODE=copy gives a release files of its own; what is known of them holds for both."""
    empty_cache.make("kind", "key", fill)
    for copies in (False, True):
        entry = Cache(empty_cache.root, empty_cache.scratch, copies=copies).find("kind", "key")
        assert entry is not None
        target = tmp_path / str(copies)
        placed = entry.put_into(target)

        assert files_of(target) == MADE
        assert os.path.samefile(entry.tree / "run", target / "run") is not copies
        assert all(file.is_still((target / path).stat()) for path, file in placed.items())


def test_what_was_made_ready_is_moved(empty_cache: Cache, tmp_path: Path) -> None:
    """Linking can be done beforehand; a target that is there already is filled all the same."""
    entry = empty_cache.make("kind", "key", fill)
    for target in (tmp_path / "deep/one", tmp_path / "two"):
        entry.prepare(tmp_path / "ready")
        if target.name == "two":
            target.mkdir()
            (target / "mine").touch()

        assert entry.put_into(target, ready=tmp_path / "ready") == entry.files
        assert files_of(target).items() >= MADE.items()
        assert (tmp_path / "ready" / "key").exists() is (target.name == "two")


def edit(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text().replace(old, new))


def damages() -> dict[str, Callable[[TreeEntry], object]]:
    return {
        "a byte more": lambda entry: (entry.tree / "run").write_text("#!/bin/sh\n\n"),
        "another date": lambda entry: os.utime(entry.tree / "run", (1, 1)),
        "another mode": lambda entry: (entry.tree / "run").chmod(0o777),
        "a file that is gone": lambda entry: (entry.tree / "package/module.py").unlink(),
        "a link": lambda entry: ((entry.tree / "run").unlink(), (entry.tree / "run").symlink_to("/bin/sh")),
        "an empty file, as after a power cut": lambda entry: os.truncate(entry.tree / "run", 0),
        "no record": lambda entry: (entry.tree.parent / "record").unlink(),
        "a record of something else": lambda entry: edit(entry.tree.parent / "record", "package/", "package."),
        "half a record": lambda entry: os.truncate(entry.tree.parent / "record", 60),
        "no tree": lambda entry: shutil.rmtree(entry.tree),
    }


@pytest.mark.parametrize("damage", damages())
def test_what_is_not_as_it_was_made_is_made_anew(empty_cache: Cache, tmp_path: Path, damage: str) -> None:
    """However an entry was damaged, through a release that shares its files or otherwise, it is not used."""
    damages()[damage](empty_cache.make("kind", "key", fill))

    assert empty_cache.find("kind", "key") is None
    assert files_of(empty_cache.get("kind", "key", fill).tree) == MADE
    assert empty_cache.find("kind", "key") is not None


def test_the_bytes_are_read_where_that_is_asked_for(empty_cache: Cache) -> None:
    """A change that leaves size and date is found with UNDERWAY_CACHE_VERIFY."""
    entry = empty_cache.make("kind", "key", fill)
    status = (entry.tree / "run").stat()
    (entry.tree / "run").write_text("#!/bin/xx\n"[:10])
    os.utime(entry.tree / "run", ns=(status.st_atime_ns, status.st_mtime_ns))

    assert empty_cache.find("kind", "key") is not None
    assert Cache(empty_cache.root, empty_cache.scratch, verify=True).find("kind", "key") is None


def test_a_copy_is_held_against_its_digest(empty_cache: Cache, tmp_path: Path) -> None:
    """Bytes that nobody sees have changed are not copied into a release; the entry is made again the next time."""
    entry = empty_cache.make("kind", "key", fill)
    status = (entry.tree / "run").stat()
    (entry.tree / "run").write_text("#!/bin/xx\n"[:10])
    os.utime(entry.tree / "run", ns=(status.st_atime_ns, status.st_mtime_ns))
    copying = Cache(empty_cache.root, empty_cache.scratch, copies=True)

    with pytest.raises(OSError, match="not as it was made; build again"):
        copying.get("kind", "key", fill).put_into(tmp_path / "target")

    copying.get("kind", "key", fill).put_into(tmp_path / "other")
    assert files_of(tmp_path / "other") == MADE


def test_where_there_is_no_room_it_is_made_for_one_build(empty_cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """What can't be written to the cache is made next to the release, with a warning in the log, and found by that build."""

    def full(tree: Path) -> Mapping[str, Any]:
        if tree.is_relative_to(empty_cache.root):
            raise OSError(errno.ENOSPC, "No space left on device", str(tree / "run"))
        return fill(tree)

    entry = empty_cache.make("kind", "key", full)

    assert files_of(entry.tree) == MADE
    assert empty_cache.find("kind", "key") == entry
    assert entry.tree.is_relative_to(empty_cache.scratch)
    assert not (empty_cache.root / "kind").exists()
    assert "No space left on device; what is made is not cached" in caplog.text


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs another file system")
def test_it_may_be_on_another_file_system(tmp_path: Path) -> None:
    """Then files are copied, with their dates, and what is bound to one build is moved by copying, its links as links."""

    def bound(tree: Path) -> Mapping[str, Any]:
        (tree / "link").symlink_to("run")
        (tree / "path").write_text(str(tree))
        return fill(tree)

    with tempfile.TemporaryDirectory(dir="/dev/shm") as there:
        empty_cache = Cache(Path(there), tmp_path / "own")
        for key, how in (("plain", fill), ("bound", bound)):
            entry = empty_cache.make("kind", key, how, [])
            placed = entry.put_into(tmp_path / key)

            assert files_of(tmp_path / key).items() >= MADE.items()
            assert all(file.is_still((tmp_path / key / path).lstat()) for path, file in placed.items())
        assert entry.tree.is_relative_to(empty_cache.scratch)
        assert empty_cache.find("kind", "bound") == entry
    assert (tmp_path / "bound/link").readlink() == Path("run")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_a_file_that_is_another_users_is_not_used(empty_cache: Cache) -> None:
    """Who owns a file may change it unseen: after a chown of a release its files are no longer taken from."""
    entry = empty_cache.make("kind", "key", fill)
    os.chown(entry.tree / "run", 65534, 65534)

    assert empty_cache.find("kind", "key") is None


def test_what_names_the_place_that_it_was_made_at_is_not_kept(empty_cache: Cache, tmp_path: Path) -> None:
    """An entry that would be wrong elsewhere serves the build that made it, and no other."""

    def bound(tree: Path) -> Mapping[str, Any]:
        (tree / "path.txt").write_text(f"made in {tmp_path / 'stage'}")
        return {}

    entry = empty_cache.make("kind", "key", bound, [tmp_path / "stage"])

    assert entry.tree.is_relative_to(empty_cache.scratch)
    assert empty_cache.find("kind", "key") is not None
    assert Cache(empty_cache.root, tmp_path / "next").find("kind", "key") is None


def test_two_builds_may_make_the_same(empty_cache: Cache) -> None:
    """Who comes second takes what is there."""

    def slower(tree: Path) -> Mapping[str, Any]:
        empty_cache.make("kind", "key", fill)
        return fill(tree)

    entry = empty_cache.make("kind", "key", slower)

    assert files_of(entry.tree) == MADE
    assert sorted(os.listdir(empty_cache.root / "kind")) == ["key"]
    assert os.listdir(empty_cache.root / "making") == []


def test_many_may_begin_with_nothing(empty_cache: Cache, tmp_path: Path) -> None:
    """Builds that look for the same at the same time all get it whole, and nobody loses what he was given."""
    program = f"""
from pathlib import Path
from underway.toolchain.cache import Cache
def fill(tree):
    (tree / "run").write_text("x")
    return {{}}
kept = Cache(Path({str(empty_cache.root)!r}), Path({str(empty_cache.scratch)!r}))
entries = [kept.get("kind", str(number), fill) for number in range(100)]
for number, entry in enumerate(entries):
    entry.put_into(Path({str(tmp_path)!r}) / "target" / PLACE / str(number))
"""
    builds = [
        subprocess.Popen([sys.executable, "-c", program.replace("PLACE", repr(name))], stderr=subprocess.PIPE)
        for name in "abcd"
    ]

    said = [build.communicate(timeout=TIMEOUT)[1].decode() for build in builds]

    assert said == [""] * 4
    assert len(list((tmp_path / "target").glob("?/*/run"))) == 400
    assert damaged(empty_cache.root) == []


def at_once(do: Callable[[int], object], rounds: int, workers: int = 4) -> None:
    """Do something with each number in several threads at once; raises what one of them raises."""
    barrier = threading.Barrier(workers)

    def work(_: int) -> None:
        for number in range(rounds):
            barrier.wait(TIMEOUT)
            try:
                do(number)
            except BaseException:
                barrier.abort()
                raise

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))


def test_many_may_make_the_same_directory(tmp_path: Path) -> None:
    """Who puts files next to another's meets no directory that was made meanwhile; only a file is in the way."""
    at_once(lambda number: make_directory(tmp_path / f"{number}/of/several"), 200)
    assert len(list(tmp_path.glob("*/of/several"))) == 200

    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        make_directory(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        make_directory(tmp_path / "file/below")


@pytest.mark.parametrize("copies", [False, True])
def test_many_may_place_the_same_files(empty_cache: Cache, tmp_path: Path, copies: bool) -> None:
    """Each finds a file or a link there, takes its place in one act, and leaves nothing next to it."""

    def linked(tree: Path) -> Mapping[str, Any]:
        (tree / "link").symlink_to("run")
        return fill(tree)

    entry = replace(empty_cache.make("kind", "key", linked), copies=copies)

    at_once(lambda number: entry.put_into(tmp_path / f"target/{number}"), 100)

    for number in range(100):
        target = tmp_path / f"target/{number}"
        assert files_of(target) == {**MADE, "link": MADE["run"]}
        assert sorted(os.listdir(target)) == ["link", "package", "run"]


def test_what_is_damaged_where_an_entry_is_to_be_makes_way(empty_cache: Cache) -> None:
    """Also where it was damaged after it was looked for: what is made then takes its place."""
    entry = empty_cache.make("kind", "key", fill)
    (entry.tree / "run").write_text("another\n")

    made = empty_cache.make("kind", "key", fill)

    assert made.tree == entry.tree
    assert files_of(made.tree) == MADE
    assert damaged(empty_cache.root) == []


def test_what_another_build_has_made_anew_is_not_taken_from_it(empty_cache: Cache) -> None:
    """Between a look and the removal of what is damaged, another build may have put there what is whole."""
    entry = empty_cache.make("kind", "key", fill)

    empty_cache._discard(entry.tree.parent)

    assert empty_cache.find("kind", "key") == entry


def test_a_maker_that_dies_leaves_nothing_that_is_taken_for_whole(empty_cache: Cache) -> None:
    """Killed while it writes, a build has made no entry; the next one makes it, and pruning clears what was left."""
    program = f"""
import os, signal
from pathlib import Path
from underway.toolchain.cache import Cache
def fill(tree):
    (tree / "run").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
Cache(Path({str(empty_cache.root)!r}), Path({str(empty_cache.scratch)!r})).make("kind", "key", fill)
"""
    died = subprocess.run([sys.executable, "-c", program], timeout=TIMEOUT, capture_output=True)
    assert died.returncode == -signal.SIGKILL
    assert len(os.listdir(empty_cache.root / "making")) == 1

    assert empty_cache.find("kind", "key") is None
    assert files_of(empty_cache.get("kind", "key", fill).tree) == MADE
    empty_cache.prune()
    assert os.listdir(empty_cache.root / "making") == []


def test_what_was_not_used_for_longest_goes_first(empty_cache: Cache) -> None:
    """Pruning leaves what is within the limit, the latest used."""

    def big(tree: Path) -> Mapping[str, Any]:
        (tree / "big").write_bytes(bytes(1000))
        return {}

    for age, name in ((30, "c"), (10, "a"), (20, "b")):
        record = empty_cache.make("kind", name, big).tree.parent / "record"
        os.utime(record, (time.time() - age, time.time() - age))
    assert empty_cache.find("kind", "c") is not None

    empty_cache.prune(limit=2500)

    assert sorted(os.listdir(empty_cache.root / "kind")) == ["a", "c"]


def test_nothing_is_pruned_under_a_build(tmp_path: Path) -> None:
    """While another build uses the cache, everything stays."""
    environ = {"UNDERWAY_CACHE": str(tmp_path / "cache")}
    with cache.opened(tmp_path / "one", environ) as one:
        one.make("kind", "key", fill)
        Cache(one.root, tmp_path / "two").prune(limit=0)
        assert one.find("kind", "key") is not None
    Cache(one.root, tmp_path / "two").prune(limit=0)
    assert one.find("kind", "key") is None


def test_the_place_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """UNDERWAY_CACHE, else below XDG_CACHE_HOME when that is absolute, as its specification has it, else ~/.cache."""
    monkeypatch.setenv("HOME", "/home/ann")

    assert cache.directory_of({"UNDERWAY_CACHE": "/a", "XDG_CACHE_HOME": "/x"}) == Path("/a")
    assert cache.directory_of({"XDG_CACHE_HOME": "/x"}) == Path("/x/underway")
    assert cache.directory_of({"XDG_CACHE_HOME": "x"}) == cache.directory_of({}) == Path("/home/ann/.cache/underway")


def test_a_cache_that_others_may_write_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is made for its user alone; where it is not, everything is made for one build, with a warning in the log."""
    environ = {"UNDERWAY_CACHE": str(tmp_path / "cache")}
    with cache.opened(tmp_path / "build", environ) as ours:
        assert ours.root == tmp_path / "cache"
    assert ours.root.stat().st_mode & 0o777 == 0o700
    ours.root.chmod(0o777)

    with cache.opened(tmp_path / "build", environ) as ours:
        assert files_of(ours.make("kind", "key", fill).tree) == MADE
    assert ours.root == tmp_path / "build"
    assert "others may write there" in caplog.text
    cache.remember("key", "answer", environ)
    assert cache.recall("key", environ) is None


def test_an_answer_is_remembered(tmp_path: Path) -> None:
    """Small things are kept as they were given; one that was spoilt is forgotten."""
    environ = {"UNDERWAY_CACHE": str(tmp_path / "cache")}
    assert cache.recall("key", environ) is None
    cache.remember("key", {"a": [1, "two"]}, environ)

    assert cache.recall("key", environ) == {"a": [1, "two"]}
    answer = tmp_path / "cache/answers/key"
    for spoilt in (answer.read_text().replace("two", "six"), '{"a": 1}', ""):
        answer.write_text(spoilt)
        assert cache.recall("key", environ) is None


# what a stage finds


@pytest.fixture(scope="module")
def python() -> Interpreter:
    return interpreters.describe(Path(sys.executable))


def stage(project: Path, directory: Path, python: Interpreter, empty_cache: Cache, said: list[str]) -> dict[str, Path]:
    """The sources of a project's applications, after a stage in a new directory."""
    directory.mkdir()
    return {
        name: app.source
        for name, app in stage_of(project, directory, python, kept=empty_cache, report=said.append).items()
    }


def test_when_nothing_changed_nothing_is_installed(empty_cache: Cache, tmp_path: Path, python: Interpreter) -> None:
    """The second stage of a lock takes all from the cache; there is no environment and uv is not run."""
    root = write_project(tmp_path / "p", dependencies=["h11"])
    said: list[str] = []
    first = stage(root, tmp_path / "one", python, empty_cache, said)
    assert said == ["building hello", "installing 1 wheels"]

    again = stage(root, tmp_path / "two", python, empty_cache, said)

    assert again == first
    assert said[2:] == []
    assert not (tmp_path / "two/stage/environment").exists()


def test_after_a_change_only_that_is_built_and_compiled(
    empty_cache: Cache, tmp_path: Path, python: Interpreter
) -> None:
    """One line of one module: its project is built, that module is compiled, everything else is the same file as before."""
    files = {f"src/hello/m{number}.py": f"x = {number}\n" for number in range(5)}
    root = write_project(tmp_path / "p", files=files, dependencies=["h11"])
    first = stage(root, tmp_path / "one", python, empty_cache, [])
    # A build of the same name and version with another cache, as at the same time, says nothing of this one.
    stage(write_project(tmp_path / "p2"), tmp_path / "other", python, cache_in(tmp_path / "elsewhere"), [])
    (root / "src/hello/m3.py").write_text("x = 'changed'\n")
    said: list[str] = []

    again = stage(root, tmp_path / "two", python, empty_cache, said)

    assert said == ["building hello"]
    assert {name for name in again if again[name] != first[name]} == {"hello"}
    files_of_it = {path.relative_to(again["hello"]) for path in again["hello"].rglob("*") if path.is_file()}
    new = {
        path.as_posix() for path in files_of_it if not os.path.samefile(again["hello"] / path, first["hello"] / path)
    }
    assert new == {
        *("hello/m3.py", f"hello/__pycache__/m3.cpython-{python.minor.replace('.', '')}.pyc"),
        "hello-0.1.0.dist-info/RECORD",
    }


def lying(wheel: Path) -> Path:
    """The wheel, with the digest of other bytes for its module in RECORD."""
    with zipfile.ZipFile(wheel) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    record = next(name for name in content if name.endswith("/RECORD"))
    lines = content[record].decode().splitlines()
    lies = [f"odd.py,{wheel_record.digest(b'other')},5" if line.startswith("odd.py,") else line for line in lines]
    content[record] = "\n".join(lies).encode()
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return wheel


def test_a_file_that_says_it_did_not_change_is_read_all_the_same(
    empty_cache: Cache, tmp_path: Path, python: Interpreter
) -> None:
    """RECORD is the word of who made the wheel: two of one version, with other bytes under one digest, are two."""
    for number in (1, 2):
        wheel = lying(write_wheel(tmp_path / str(number), "odd", {"odd.py": f"x = {number}\n"}))
        root = locked_project(tmp_path / f"p{number}", [wheel])
        odd = stage(root, tmp_path / f"s{number}", python, empty_cache, [])["odd"]

        assert (odd / "odd.py").read_text() == f"x = {number}\n"


def test_another_strip_is_another_application(empty_cache: Cache, tmp_path: Path, python: Interpreter) -> None:
    """What an application is finished with is in its key."""
    root = locked_project(tmp_path / "p", [write_wheel(tmp_path / "w", "odd", {"odd.py": "'''doc'''\n"})])
    for directory in ("one", "two"):
        (tmp_path / directory).mkdir()
    one = stage_of(root, tmp_path / "one", python, kept=empty_cache)["odd"].source
    two = stage_of(root, tmp_path / "two", python, kept=empty_cache, strip={"docstrings": True})["odd"].source

    assert one != two
    assert (
        len(
            {
                (place / "__pycache__").joinpath(f"odd.cpython-{python.minor.replace('.', '')}.pyc").read_bytes()
                for place in (one, two)
            }
        )
        == 2
    )


def test_a_damaged_application_is_installed_again(empty_cache: Cache, tmp_path: Path, python: Interpreter) -> None:
    """What somebody wrote through the hard link of a release is not shipped again."""
    root = locked_project(tmp_path / "p", [write_wheel(tmp_path / "w", "odd", {"odd.py": "x = 1\n"})])
    odd = stage(root, tmp_path / "one", python, empty_cache, [])["odd"]
    with (odd / "odd.py").open("a") as file:
        file.write("x = 'evil'\n")

    odd = stage(root, tmp_path / "two", python, empty_cache, [])["odd"]

    assert (odd / "odd.py").read_text() == "x = 1\n"


def test_what_builds_a_project_is_kept_for_a_day(
    empty_cache: Cache, tmp_path: Path, python: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is installed once, whatever changes in the project, and again the next day."""
    root = write_project(tmp_path / "p", files={"pyproject.toml": PLAIN}, lock=False)
    (root / "pylock.toml").write_text('lock-version = "1.0"\ncreated-by = "t"\npackages = []\n')

    def build(number: int) -> int:
        (root / "src/hello/__init__.py").write_text(f"x = {number}\n")
        hello = stage(root, tmp_path / str(number), python, empty_cache, [])["hello"]
        assert (hello / "hello/__init__.py").read_text() == f"x = {number}\n"
        return len(list((empty_cache.root / "builders").iterdir()))

    assert [build(1), build(2)] == [1, 1]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 25 * 3600)
    assert build(3) == 2


# what the wheel of a project is made from

PLAIN = """\
[project]
name = "hello"
version = "1"
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"
"""


def digest(root: Path, text: str = PLAIN, **environ: str) -> str | None:
    root.mkdir(exist_ok=True)
    (root / "pyproject.toml").write_text(text)
    found = sources.read(root, [root / "build/release/hello"], environ)
    return None if found is None else found.digest


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("hatchling.build", "mesonpy"),
        PLAIN.replace('"hatchling>=1.26"', '"flit-core"').replace("hatchling.build", "flit_core.buildapi"),
        PLAIN.replace('"hatchling>=1.26"', '"hatchling", "hatch-vcs"'),
        PLAIN + 'backend-path = ["."]\n',
        PLAIN + '[tool.hatch.version]\nsource = "vcs"\n',
        PLAIN + "[tool.hatch.build.hooks.custom]\n",
        PLAIN + '[tool.hatch.build.targets.wheel.force-include]\n"../data" = "data"\n',
        PLAIN + '[tool.hatch.build.targets.wheel.force-include]\n"/etc/motd" = "motd"\n',
        PLAIN + '[tool.hatch.metadata]\nx = "{env:HOME}"\n',
        PLAIN.replace('["hatchling>=1.26"]', '["setuptools"]').replace("hatchling.build", "setuptools.build_meta")
        + '[tool.setuptools.dynamic]\nversion = { attr = "hello.v" }\n',
        "[project\n",
    ],
)
def test_a_project_that_may_read_anything_has_no_digest(tmp_path: Path, text: str) -> None:
    """Plugins, hooks, repositories, paths out of the project: then nobody knows what a wheel is made from."""
    assert digest(tmp_path / "p") is not None
    assert digest(tmp_path / "p", text) is None


@pytest.mark.parametrize("name", ["setup.py", "hatch_build.py", "hatch.toml"])
def test_files_that_run_when_it_is_built_leave_a_project_without_a_digest(tmp_path: Path, name: str) -> None:
    """What is code of the project's own may read anything."""
    (tmp_path / name).touch()

    assert digest(tmp_path) is None


def test_a_link_leaves_a_project_without_a_digest(tmp_path: Path) -> None:
    """What a link points to may change unseen."""
    (tmp_path / "link").symlink_to("/etc")

    assert digest(tmp_path) is None


def test_a_digest_is_of_all_that_a_wheel_may_hold(tmp_path: Path) -> None:
    """A byte, a mode, a new file, a .gitignore above, a variable of the backend: each makes another digest."""
    root = tmp_path / "p"
    seen = [digest(root)]
    changes: list[Callable[[], object]] = [
        lambda: (root / "data").write_text("1"),
        lambda: (root / "data").write_text("2"),
        lambda: (root / "data").chmod(0o755),
        lambda: (root / "data").rename(root / "data2"),
        lambda: (tmp_path / ".gitignore").write_text("data2\n"),
    ]
    for change in changes:
        change()
        seen.append(digest(root))
    seen.append(digest(root, HATCH_BUILD_X="1"))
    seen.append(digest(root, PLAIN + '[tool.uv]\nexclude-newer = "1 day"\n'))

    assert None not in seen
    assert len(set(seen)) == len(seen)


def test_a_digest_is_not_of_what_no_wheel_holds(tmp_path: Path) -> None:
    """Repositories, environments, caches and the release itself may change as they like."""
    before = digest(tmp_path)
    for path in (
        *(".git/HEAD", ".venv/pyvenv.cfg", ".venv/lib/x.py", ".tool/CACHEDIR.TAG", ".tool/x"),
        *("__pycache__/x.pyc", "build/release/hello/x"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()

    assert digest(tmp_path, LANG="de_DE") == before


def test_what_was_edited_while_it_was_built_is_not_taken_for_what_it_was(
    empty_cache: Cache, tmp_path: Path, python: Interpreter
) -> None:
    """A save during the build: what comes out is not found again under the old source."""
    root = write_project(tmp_path / "p", files={"src/hello/__init__.py": "x = 'old'\n"})
    reports: list[str] = []

    def edit(what: str) -> None:
        reports.append(what)
        (root / "src/hello/__init__.py").write_text("x = 'new'\n")

    (tmp_path / "one").mkdir()
    stage_of(root, tmp_path / "one", python, kept=empty_cache, report=edit)
    assert reports == ["building hello"]
    (root / "src/hello/__init__.py").write_text("x = 'old'\n")
    hello = stage(root, tmp_path / "two", python, empty_cache, [])["hello"]

    assert (hello / "hello/__init__.py").read_text() == "x = 'old'\n"


@pytest.mark.e2e
def test_a_home_that_can_not_be_written_is_no_obstacle(tmp_path: Path) -> None:
    """Without a place for the cache a release is built all the same, and says so in one line."""
    root = write_project(tmp_path / "p", '[tool.underway]\nmain = "hello:main"\ninclude-interpreter = false\n')
    (tmp_path / "file").touch()

    done = underway("release", "--quiet", cwd=root, env={"UNDERWAY_CACHE": str(tmp_path / "file/cache")})

    assert done.returncode == 0, done.stderr
    assert (root / "build/release/hello/releases/0.1.0/manifest.json").exists()
