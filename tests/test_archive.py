"""Archives as they should be: the same bytes for the same release, and the same release out of them."""

from __future__ import annotations

import io
import os
import resource
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_helpers import (
    DATE,
    File,
    Jail,
    files,
    look,
    make_tree,
    manifest_of,
    members,
    packed,
    save,
    tar_of,
    write_archive,
)
from underway.project.options import Options
from underway.release import Release
from underway.steps.tar import tar
from underway_runtime.release.archives import archive, compression, tar_layout
from underway_runtime.release.archives.archive import ArchiveRefused
from underway_runtime.release.archives.compression import CompressionMissing
from underway_runtime.release.errors import BusyError, DamagedRelease, UnderwayError, UsageError
from underway_runtime.release.filesystem.side_tree import Tree, fresh
from underway_runtime.release.manifest import Manifest

KINDS = ["zst", "gz"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_packed_is_what_comes_out(tmp_path: Path, kind: str) -> None:
    """Contents, modes and links of a release go through an archive unchanged."""
    manifest = make_tree(tmp_path / "hello")
    file = write_archive(tmp_path, tmp_path / "hello", manifest, kind)

    read = archive.extract(file, tmp_path / "out")

    assert (read.manifest, read.date) == (manifest, DATE)
    assert look(tmp_path / "out") == look(tmp_path / "hello")
    assert archive.check(file) == read


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_release_gives_the_same_archive(tmp_path: Path, kind: str) -> None:
    """Neither the path nor dates nor the order in which files were made are in the bytes."""
    one = make_tree(tmp_path / "one/hello")
    other = make_tree(tmp_path / "other/path/hello", contents=dict(reversed(files().items())))
    for file in (tmp_path / "one").rglob("*.py"):
        os.utime(file, (1, 1))

    first = write_archive(tmp_path / "a", tmp_path / "one/hello", one, kind)
    second = write_archive(tmp_path / "b", tmp_path / "other/path/hello", other, kind)

    assert first.read_bytes() == second.read_bytes()


def test_it_is_an_ordinary_tar(tmp_path: Path) -> None:
    """The standard library reads it: the manifest first, then all sorted, everything of one owner and date."""
    manifest = make_tree(tmp_path / "hello")
    file = write_archive(tmp_path, tmp_path / "hello", manifest, "gz")

    with tarfile.open(file) as read:
        found = read.getmembers()

    assert [info.name for info in found] == ["releases/1.0/manifest.json", *sorted(manifest.files)]
    assert {(info.uid, info.gid, info.mtime) for info in found} == {(0, 0, DATE)}
    assert {info.mode for info in found} == {0o644, 0o755, 0o777}


def test_headers_are_those_of_the_standard_library() -> None:
    """What `layout` computes for plain names is byte for byte what tarfile writes."""
    assert tar_of(files()).endswith(b"".join(part.dump() for part in members(files())) + tar_layout.END)


@pytest.mark.parametrize(
    "path",
    [
        "lib/" + "d" * 90 + "/" + "n" * 99,
        "lib/" + "n" * 101,
        "lib/" + "d" * 200 + "/" + "é" * 100,
        "lib/grüße",
        "l/" * 63 + "x" * 200,
    ],
    ids=["prefix", "long", "longer", "accents", "deep"],
)
def test_long_names_go_through(tmp_path: Path, path: str) -> None:
    """A name that ustar can't hold is written so that tarfile and our reader find it."""
    contents = {path: File(b"content"), "link": File(link=path[:120].rstrip("/"))}
    file = save(tmp_path, tar_of(contents), "plain.tar")
    with tarfile.open(file) as read:
        assert {info.name: info.linkname for info in read.getmembers()[1:]} == {
            path: "",
            "link": path[:120].rstrip("/"),
        }

    manifest = make_tree(tmp_path / "hello", contents=contents)
    archive.extract(write_archive(tmp_path, tmp_path / "hello", manifest), tmp_path / "out")

    assert look(tmp_path / "out") == look(tmp_path / "hello")


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="/\\"), min_size=1, max_size=40
)


@given(st.dictionaries(st.lists(NAMES, min_size=1, max_size=4).map("/".join), st.binary(max_size=1500), max_size=6))
def test_whatever_may_be_packed_is_read_back(contents: dict[str, bytes]) -> None:
    """For any names: either packing refuses them, or the reader takes them as they are."""
    wanted = {path: File(content) for path, content in contents.items()}
    manifest = manifest_of(wanted)
    if list(tar_layout.problems(manifest)):
        return
    stream = compression.Stream(iter([tar_of(wanted, manifest)]))

    assert archive.read_tar(stream, None, archive.LIMITS, None, 0) == (manifest, DATE)


def test_only_what_is_wanted_is_written_and_all_is_compared(tmp_path: Path) -> None:
    """A node that has most of a release writes the rest; damage in what it has is found all the same."""
    wanted, other = "lib/data-3/data/data.bin", "lib/hello-1.0/hello/hello.py"
    manifest = make_tree(tmp_path / "hello")
    file = write_archive(tmp_path, tmp_path / "hello", manifest)

    archive.extract(file, tmp_path / "out", accept=lambda manifest: {wanted})

    written = [path for path, (_, what) in look(tmp_path / "out").items() if what != "directory"]
    assert sorted(written) == [wanted, "releases/1.0/manifest.json"]
    damaged = tar_of({**files(), other: File(b"def hello():\n    return 'hellO'\n")}, manifest)
    with pytest.raises(ArchiveRefused, match=f"{other}' is not what the manifest says"):
        archive.extract(save(tmp_path / "bad", packed(damaged)), tmp_path / "out2", accept=lambda manifest: {wanted})


def release(root: Path, manifest: Manifest, **options: str) -> Release:
    return Release(
        name=manifest.name,
        version=manifest.version,
        path=root,
        version_path=root / "releases" / manifest.version,
        applications={},
        interpreter_source=None,
        interpreter_version=manifest.interpreter,
        boot_scripts={},
        options=Options.of(options),
    )


@pytest.mark.parametrize(("options", "name"), [({}, "hello-1.0.tar.zst"), ({"tar": "gz"}, "hello-1.0.tar.gz")])
def test_the_step_packs_beside_the_release(tmp_path: Path, options: dict[str, str], name: str) -> None:
    """`tar` makes NAME-VERSION.tar.zst, or .tar.gz for hosts that have nothing, and returns the release unchanged."""
    before = release(tmp_path / "hello", make_tree(tmp_path / "hello"), **options)

    assert tar(before) == before
    assert archive.check(tmp_path / name).manifest.name == "hello"


def test_the_date_is_that_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SOURCE_DATE_EPOCH is the date of every member."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    tar(release(tmp_path / "hello", make_tree(tmp_path / "hello")))

    assert archive.check(tmp_path / "hello-1.0.tar.zst").date == 1700000000


@pytest.mark.parametrize("given", ["yesterday", "-1", "99999999999", "1e9", "\uff11"])
def test_a_source_date_that_is_none_is_refused(given: str) -> None:
    """SOURCE_DATE_EPOCH is a number of seconds that a tar can hold, or an error."""
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH is"):
        tar_layout.source_date({"SOURCE_DATE_EPOCH": given})


def test_a_file_changed_since_the_manifest_is_not_packed(tmp_path: Path) -> None:
    """An archive never disagrees with its manifest: no archive is left."""
    manifest = make_tree(tmp_path / "hello")
    (tmp_path / "hello/lib/data-3/data/data.bin").write_bytes(b"other")

    with pytest.raises(DamagedRelease, match=r"data\.bin is not what the manifest"):
        write_archive(tmp_path / "out", tmp_path / "hello", manifest)
    assert look(tmp_path / "out") == {}


def test_what_no_node_would_unpack_is_not_packed(tmp_path: Path) -> None:
    """The builder hears of two names that differ only in case, not the one who deploys."""
    manifest = make_tree(tmp_path / "hello", contents={"lib/a/README": File(), "lib/a/readme": File()})

    with pytest.raises(ArchiveRefused, match="'lib/a/readme' and 'lib/a/README' differ only in case"):
        write_archive(tmp_path / "out", tmp_path / "hello", manifest)
    assert look(tmp_path / "out") == {}


def test_without_zstd_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither the standard library nor the backport has zstd, it is said, and gz goes on working."""
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)

    with pytest.raises(CompressionMissing, match=r'add backports\.zstd to it, or make archives with tar = "gz"'):
        compression.encoder(".zst")
    encoder = compression.encoder(".gz")
    data = encoder.compress(b"x" * 1000) + encoder.flush()
    assert compression.decompress(io.BytesIO(data)).read_exactly(2000) == b"x" * 1000


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """An archive."""
    return write_archive(tmp_path / "archive", tmp_path / "hello", make_tree(tmp_path / "hello"))


def test_modes_do_not_depend_on_the_umask(hello: Path, tmp_path: Path) -> None:
    """Unpacked under a strict umask, another user can still read and run it; 0644 and 0755, nothing else."""
    before = os.umask(0o077)
    try:
        archive.extract(hello, tmp_path / "out")
    finally:
        os.umask(before)

    assert {mode for mode, _ in look(tmp_path / "out").values()} == {0o644, 0o755, 0o777}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("there", ["a directory", "an empty directory", "a file", "a dangling link"])
def test_what_is_there_is_not_replaced(hello: Path, tmp_path: Path, there: str) -> None:
    """Unpacking needs a place where nothing is, and says so."""
    jail = Jail(tmp_path / "jail")
    match there:
        case "a file":
            jail.into.touch()
        case "a dangling link":
            jail.into.symlink_to(tmp_path / "nowhere")
        case _:
            jail.into.mkdir()
    if there == "a directory":
        (jail.into / "file").touch()
    before = look(jail.place)

    with pytest.raises(UnderwayError, match="is there already"):
        archive.extract(hello, jail.into)
    assert look(jail.place) == before


def test_two_at_once_do_not_meet(hello: Path, tmp_path: Path) -> None:
    """While one process unpacks to a place, another is told to wait."""
    with fresh(tmp_path / "out"), pytest.raises(BusyError, match="another process is making"):
        archive.extract(hello, tmp_path / "out")


def test_an_unwritable_place_is_a_clear_error(hello: Path, tmp_path: Path) -> None:
    """A parent that is not there, or is a file, is named."""
    (tmp_path / "file").touch()
    for parent in ("nowhere", "file"):
        with pytest.raises(UnderwayError, match=f"can't be made: .*{parent}"):
            archive.extract(hello, tmp_path / parent / "out")


def test_a_full_disk_leaves_nothing(hello: Path, tmp_path: Path) -> None:
    """A write that fails in the middle leaves neither the tree nor what was next to it."""
    jail = Jail(tmp_path / "jail")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(UnderwayError, match="can't be made: File too large"):
            archive.extract(hello, jail.into)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    jail.check_untouched()


def test_no_room_is_known_before_a_byte_is_written(
    hello: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that the disk has no room for is refused at its manifest, so the disk does not run full on the way."""
    room = os.statvfs(tmp_path)
    full = os.statvfs_result((room.f_bsize, room.f_frsize, room.f_blocks, 2, 2, *tuple(room)[5:]))
    monkeypatch.setattr(os, "fstatvfs", lambda descriptor: full)
    jail = Jail(tmp_path / "jail")

    with pytest.raises(UnderwayError, match="No space left on device"):
        archive.extract(hello, jail.into)
    jail.check_untouched()


def test_who_refuses_the_manifest_is_asked_first(hello: Path, tmp_path: Path) -> None:
    """`accept` sees the manifest while the place is still empty, and what it raises leaves nothing."""
    jail = Jail(tmp_path / "jail")
    seen = []

    def accept(manifest: Manifest) -> None:
        seen.extend([manifest.name, *(jail.place / "in/.release.unpacking/tree").iterdir()])
        raise UnderwayError("not for this host")

    with pytest.raises(UnderwayError, match="not for this host"):
        archive.extract(hello, jail.into, accept=accept)
    assert seen == ["hello"]
    jail.check_untouched()


def test_a_file_that_is_exchanged_while_it_is_read_is_refused(hello: Path, tmp_path: Path) -> None:
    """The digest is of the bytes that were unpacked, not of a file that was there a moment ago."""
    jail = Jail(tmp_path / "jail")
    right = archive.check(hello).sha256

    with pytest.raises(ArchiveRefused, match="its sha256 is"):
        archive.extract(hello, jail.into, sha256="0" * 64)
    jail.check_untouched()
    assert archive.extract(hello, jail.into, sha256=right).sha256 == right


@pytest.mark.parametrize("kind", ["fifo", "directory", "missing"])
def test_only_files_are_archives(tmp_path: Path, kind: str) -> None:
    """A pipe does not make the reader wait, and none of them gets a traceback."""
    place = tmp_path / "hello-1.0.tar.zst"
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()

    with pytest.raises(UnderwayError, match=r"is not a file|No such file"):
        archive.check(place)


def test_a_tree_never_writes_through_a_link(tmp_path: Path) -> None:
    """Were a link on the way after all, a file below it would fail and not follow it."""
    jail = Jail(tmp_path / "jail")

    def attack(tree: Tree) -> None:
        tree.link("lib", str(jail.place / "lib"))
        with tree.file("lib/evil.py", executable=False):
            pass

    with pytest.raises(UnderwayError, match="File exists"), fresh(jail.into) as tree:
        attack(tree)
    jail.check_untouched()


def test_a_tree_never_writes_over_a_file(tmp_path: Path) -> None:
    """Two names that are one to the file system are an error, whatever the names are."""
    jail = Jail(tmp_path / "jail")

    def attack(tree: Tree) -> None:
        for _ in range(2):
            with tree.file("lib/a.py", executable=False) as file:
                file.write(b"x")

    with pytest.raises(UnderwayError, match="File exists"), fresh(jail.into) as tree:
        attack(tree)
    jail.check_untouched()


def test_the_place_beside_must_be_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory that another user made beforehand, in a shared place, is not used; nor is a link."""
    (tmp_path / ".out.unpacking").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(UnderwayError, match="belongs to another user"), fresh(tmp_path / "out"):
        pass
    monkeypatch.undo()
    shutil.rmtree(tmp_path / ".out.unpacking", ignore_errors=True)
    (tmp_path / ".out.unpacking").symlink_to(tmp_path)
    with pytest.raises(UnderwayError, match="can't be made"), fresh(tmp_path / "out"):
        pass


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from archive_helpers import look
from underway_runtime.release.archives import archive, compression

file, place, every = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
compression.zstd()
whole = look(place / "whole")
CHANGES = {"os.mkdir", "os.rename", "os.rmdir", "os.symlink", "os.chmod", "os.remove"}

def extract_and_die(at):
    seen = 0
    def change():
        nonlocal seen
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)
    def hook(event, arguments):
        if event in CHANGES or (event == "open" and (arguments[2] or 0) & os.O_CREAT):
            change()
    write = os.write
    def half(descriptor, data):
        write(descriptor, data[: len(data) // 2])
        change()
        return len(data) // 2 + write(descriptor, data[len(data) // 2 :])
    os.write = half
    sys.addaudithook(hook)
    archive.extract(file, place / "out")

at, outcomes = 1, []
while True:
    child = os.fork()
    if child == 0:
        try:
            extract_and_die(at)
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    there = (place / "out").exists()
    assert not there or look(place / "out") == whole, at
    outcomes.append("whole" if there else "nothing")
    if status == 0:
        break
    if there:
        os.rename(place / "out", place / f"out-{at}")
    at += every
assert outcomes[-1] == "whole" and "nothing" in outcomes, outcomes
print(len(outcomes))
"""


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.drill)])
def test_killed_at_any_write_it_leaves_nothing_or_all(hello: Path, tmp_path: Path, every: int) -> None:
    """Killed in the middle of any write or at any other change of the disk: no tree, or the whole; and it can be run again."""
    place = tmp_path / "place"
    archive.extract(hello, place_of(place) / "whole")
    arguments = [str(Path(__file__).parent / "support"), str(hello), str(place), str(every)]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, timeout=110, check=False
    )

    assert (done.stderr, done.returncode) == ("", 0)
    assert int(done.stdout) > 60 / every
    assert {path.name for path in place.iterdir() if path.name.startswith(".")} == set()


def place_of(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
