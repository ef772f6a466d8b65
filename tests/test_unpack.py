"""unpack: a newer version comes in next to the one that runs, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from archive_helpers import File, look, manifest_of, packed, save, tar_of, write_archive
from disks import small_disk
from underway_runtime.release import ledger
from underway_runtime.release.archives import signature
from underway_runtime.release.archives.archive import ArchiveRefused
from underway_runtime.release.archives.signature import SignatureRefused
from underway_runtime.release.errors import BusyError, DamagedRelease, UnderwayError
from underway_runtime.release.manifest import dump, read
from underway_runtime.upgrade import unpack as unpacking
from underway_runtime.upgrade.handler import mark_failed
from underway_runtime.upgrade.unpack import Trust, UnpackRefused
from upgrade_helpers import Host, digest_of, make_host, release_files, with_file


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """hello-1.0, which runs."""
    return make_host(tmp_path)


def refused(host: Host, what: str, match: str, error: type[UnderwayError] = UnpackRefused) -> None:
    """Unpacking is refused with these words, and nothing is as it was not."""
    before = host.look()
    with pytest.raises(error, match=match):
        host.unpack(what)
    after = host.look()
    after.pop("var/RELEASES", None)
    before.pop("var/RELEASES", None)
    assert after == before


@pytest.mark.parametrize("kind", ["zst", "gz"])
def test_a_version_comes_in_beside_the_other(host: Host, kind: str) -> None:
    """By version, from var/incoming: its own directories are added, what both have is shared, nothing else changes."""
    before = host.look()
    host.archive("1.1", kind=kind)

    done = host.unpack("1.1").as_json()

    assert (done["added"], done["kept"]) == (
        ("lib/hello-1.1", "releases/hello-1.1.rel"),
        ("lib/data-3", "python-3.11.2"),
    )
    assert host.states == {"1.0": "permanent", "1.1": "unpacked"}
    assert host.problems("1.1") == host.problems("1.0") == []
    after = host.look()
    assert {path: after[path] for path in before} == before
    assert not host.directory.transaction.exists()


def test_a_delta_does_too(host: Host) -> None:
    """What comes out of a delta is the same tree."""
    host.delta("1.1")
    host.unpack("1.1")
    by_delta = look(host.root / "lib"), look(host.directory.releases)
    shutil.rmtree(host.place)
    other = make_host(host.place)
    other.archive("1.1")
    other.unpack("1.1")

    assert (look(other.root / "lib"), look(other.directory.releases)) == by_delta


def test_a_file_may_be_named(host: Host, tmp_path: Path) -> None:
    """By a path, or by the name of a file in var/incoming."""
    file = host.archive("1.1")
    moved = file.rename(tmp_path / "elsewhere.tar.zst")
    assert host.unpack(str(moved), moved).version == "1.1"
    file = host.archive("1.2")

    assert host.unpack(file.name, file).version == "1.2"


def test_what_is_here_already_is_verified(host: Host) -> None:
    """Unpacking again, by version or by file, finds it here, and whole; no archive is needed for the former."""
    file = host.archive("1.1")
    host.unpack("1.1")
    before = host.look()

    assert host.unpack(str(file), file).admitted is None
    file.unlink()
    assert host.unpack("1.1").admitted is None
    assert host.unpack("1.0").state == "permanent"
    assert host.look() == before
    (host.root / "lib/hello-1.1/hello/hello.py").write_bytes(b"")
    with pytest.raises(DamagedRelease, match=r"remove it and unpack it again:\n  - lib/hello-1.1/hello/hello.py"):
        host.unpack("1.1")


def test_a_dry_run_changes_nothing(host: Host) -> None:
    """It reads all of the archive, and says what would come in."""
    host.archive("1.1")
    before = host.look()

    assert host.unpack("1.1", dry_run=True).as_json()["added"] == ("lib/hello-1.1", "releases/hello-1.1.rel")
    assert host.look() == before
    assert not host.var.transaction.exists()


def test_a_version_that_has_failed_says_so(host: Host) -> None:
    """The mark stays until it is told to go."""
    host.archive("1.1")
    host.unpack("1.1")
    mark_failed(host.handler, "1.1", "gate http: 500")

    assert host.unpack("1.1").failed == "gate http: 500"
    assert host.unpack("1.1", again=True).failed is None
    assert host.unpack("1.1").failed is None


# Who may be unpacked.


def test_an_archive_of_unknown_origin_is_not_opened(host: Host) -> None:
    """Neither a digest nor allowed signers: refused, whatever it holds."""
    host.var.incoming.mkdir(parents=True)
    (host.var.incoming / "hello-1.1.tar.zst").write_bytes(b"garbage")

    with pytest.raises(SignatureRefused, match=r"nothing says where .* is from"):
        unpacking.unpack(host.handler, "1.1", Trust())


@pytest.mark.needs_tool("ssh-keygen", "openssh-client")
def test_where_signers_are_configured_a_digest_is_not_enough(host: Host, tmp_path: Path) -> None:
    """It must be signed by one of them; then no digest is needed."""
    file = host.archive("1.1")
    key, signers = tmp_path / "key", tmp_path / "allowed_signers"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=60)
    signers.write_text(f"alice@example.com {key.with_suffix('.pub').read_text()}")
    with pytest.raises(SignatureRefused, match="is not signed"):
        unpacking.unpack(host.handler, "1.1", Trust(signers))
    signature.sign(file, host.build("1.1-again", {}), key)
    with pytest.raises(SignatureRefused, match="the requested release has the"):
        unpacking.unpack(host.handler, "1.1", Trust(signers))
    assert not (host.root / "lib/hello-1.1").exists()

    signature.sign(file, read(host.place / "built-1.1/releases/1.1/manifest.json"), key)
    assert unpacking.unpack(host.handler, "1.1", Trust(signers)).as_json()["signer"] == "alice@example.com"


@pytest.mark.parametrize("kind", ["missing", "another user's", "open to all"])
def test_a_release_runs_with_no_interpreter_that_others_could_change(host: Host, tmp_path: Path, kind: str) -> None:
    """One without an interpreter of its own names the host's: it is there, and root's or the owner's alone to change."""
    python = tmp_path / "bin/python3"
    if kind != "missing":
        python.parent.mkdir()
        python.write_bytes(b"")
    if kind == "another user's":
        os.chown(python, 65534, -1)
    elif kind == "open to all":
        python.parent.chmod(0o777)
    contents = {path: file for path, file in release_files("1.1").items() if not path.startswith("python-")}
    link = "releases/1.1/bin/python"

    def build(target: Path) -> None:
        host.archive("1.1", {**contents, link: File(link=str(target))})

    if python.is_relative_to("/tmp"):  # no node would unpack it: the builder hears of it
        with pytest.raises(UnderwayError, match="not below /tmp or /var"):
            build(python)
    else:
        build(python)
        with pytest.raises(UnpackRefused, match=f"it runs with the interpreter {python} of this host"):
            host.unpack("1.1")
    build(Path(os.path.realpath("/usr/bin/python3")))
    assert host.unpack("1.1").version == "1.1"


# What is broken.


@pytest.mark.parametrize("kind", ["zst", "gz"])
@pytest.mark.parametrize("damage", ["50", "99", "99.9", "flip", "empty", "garbage"])
def test_a_broken_archive_is_refused_and_a_good_one_then_taken(host: Host, damage: str, kind: str) -> None:
    """Cut off at any place, with one bit changed, empty or garbage: nothing is unpacked, and the retry works."""
    file = host.archive("1.1", kind=kind)
    data = file.read_bytes()
    middle = len(data) // 2
    broken = {
        "flip": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "empty": b"",
        "garbage": os.urandom(5000),
    }
    file.write_bytes(broken[damage] if damage in broken else data[: int(len(data) * float(damage) / 100)])
    refused(host, "1.1", "is refused, and nothing of it was unpacked", ArchiveRefused)
    file.write_bytes(data)

    host.unpack("1.1")
    assert host.problems("1.1") == []


@pytest.mark.parametrize("content", [b"def hello():\n    return 'hellO'\n", b"def hello()", b""])
def test_one_file_that_is_not_what_it_was_is_found(host: Host, content: bytes) -> None:
    """In an archive that is otherwise sound; OTP installs one with a changed byte, and one with half a module kills the node."""
    contents = release_files("1.1")
    good = tar_of(contents, manifest_of(contents, "1.1"))
    evil = {**contents, "lib/hello-1.1/hello/hello.py": File(content)}
    save(host.var.incoming, packed(tar_of(evil, manifest_of(contents, "1.1"))), "hello-1.1.tar.zst")
    refused(host, "1.1", "is refused, and nothing of it was unpacked", ArchiveRefused)
    save(host.var.incoming, packed(good), "hello-1.1.tar.zst")

    host.unpack("1.1")
    assert host.problems("1.1") == []


def test_a_digest_that_is_wrong_is_refused(host: Host) -> None:
    """What was sent is not what arrived."""
    host.archive("1.1")

    with pytest.raises(SignatureRefused, match="get it again"):
        unpacking.unpack(host.handler, "1.1", Trust(sha256="0" * 64))


def test_an_unknown_version_is_refused(host: Host) -> None:
    """The message says which file was looked for, and where."""
    refused(host, "9.9", r"neither here nor in .*incoming: there is no hello-9.9.tar.zst and no delta")


def test_a_file_under_the_name_of_another_version_is_refused(host: Host) -> None:
    """What is asked for is what comes, or nothing."""
    host.archive("1.2").rename(host.var.incoming / "hello-1.1.tar.zst")

    refused(host, "1.1", "holds version 1.2, not 1.1")


@pytest.mark.parametrize("field", ["name", "target"])
def test_a_release_of_another_kind_is_refused(host: Host, field: str) -> None:
    """Another service, or one for another platform."""
    other = replace(host.build("1.1"), **{field: "other"})  # type: ignore[arg-type]  # a field by its name
    (host.place / "built-1.1/releases/1.1/manifest.json").write_text(dump(other))
    file = write_archive(host.place, host.place / "built-1.1", other)

    with pytest.raises(SignatureRefused, match=f"the requested release has the {field}"):
        host.unpack(str(file), file)


# What is in the way.


def test_a_leftover_of_no_release_is_replaced(host: Host) -> None:
    """OTP keeps a file that is there, even an empty one, and fails at install; here it goes."""
    host.archive("1.1")
    leftover = host.root / "lib/hello-1.1/hello/hello.py"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"")
    (host.root / "releases/1.1").mkdir()
    (host.root / "releases/1.1/start.script").write_bytes(b"")

    assert host.unpack("1.1").as_json()["replaced"] == ("lib/hello-1.1", "releases/1.1")
    assert host.problems("1.1") == []


def test_a_version_with_a_damaged_manifest_is_replaced(host: Host) -> None:
    """Unless it boots, its own archive mends it."""
    host.archive("1.1")
    host.unpack("1.1")
    host.directory.version("1.1").manifest.write_text("{")

    host.unpack("1.1")
    assert host.problems("1.1") == []
    assert host.states["1.1"] == "unpacked"


@pytest.mark.parametrize("path", ["lib/data-3/data/data.bin", "python-3.11.2/lib/libpython.so.1"])
def test_an_application_of_the_same_version_and_other_contents_is_a_conflict(host: Host, path: str) -> None:
    """Two releases can't share a directory that differs; both are named, with the first file."""
    host.archive("1.1", with_file(release_files("1.1"), path, b"another build"))

    refused(host, "1.1", rf"{os.path.dirname(path).split('/')[0]}\S* is in 1.0 too, with other contents \({path}")


def test_another_build_of_a_version_that_is_here_is_a_conflict(host: Host) -> None:
    """Both release ids are named."""
    file = host.archive("1.1")
    host.unpack("1.1")
    shutil.rmtree(host.place / "built-1.1")
    file = host.archive("1.1", release_files("1.1", hello=b"built again"))

    with pytest.raises(UnpackRefused, match=r"another hello-1.1 is here, with the release id"):
        host.unpack(str(file), file)


def test_what_is_shared_and_damaged_is_named(host: Host) -> None:
    """A file of the running release is neither trusted nor overwritten."""
    host.archive("1.1")
    (host.root / "lib/data-3/data/data.bin").write_bytes(b"bitrot")

    refused(host, "1.1", "lib/data-3/data/data.bin has 6 bytes, not 10240, and is in use")


def test_a_file_of_the_user_is_not_overwritten(host: Host) -> None:
    """An overlay whose place is taken by a file of no release is refused; one of another release stays as it is."""
    host.archive("1.1", {**release_files("1.1"), "notes/read.me": File(b"ours")})
    (host.root / "notes").mkdir()
    (host.root / "notes/read.me").write_text("mine")
    refused(host, "1.1", "notes/read.me .*of no release: move it away")
    (host.root / "notes/read.me").unlink()

    host.unpack("1.1")
    assert (host.root / "notes/read.me").read_text() == "ours"
    host.archive("1.2", {**release_files("1.2"), "notes/read.me": File(b"newer")})
    host.unpack("1.2")
    assert (host.root / "notes/read.me").read_text() == "ours"


def test_nothing_is_replaced_while_it_is_unknown_whose_it_is(host: Host) -> None:
    """A version whose manifest can't be read may own what lies about."""
    host.upgrade("1.1")
    host.directory.version("1.0").manifest.write_text("{")
    host.archive("1.2", {**release_files("1.2"), "lib/hello-1.0/hello/hello.py": File(b"?")})

    refused(host, "1.2", r"so it can't be said whose lib/hello-1.0 is; remove 1.0 first")


def test_the_version_that_boots_is_never_replaced(host: Host) -> None:
    """Even where its manifest is damaged."""
    host.upgrade("1.1")
    host.directory.version("1.1").manifest.write_text("{")
    host.runs = "1.0"
    trust = Trust(sha256=digest_of(host.var.incoming / "hello-1.1.tar.zst"))
    with pytest.raises(UnpackRefused, match=r"releases/1.1 is damaged, and is the version that boots"):
        unpacking.unpack(replace(host.handler, own_version="1.0"), "1.1", trust)


def test_a_damaged_ledger_stops_it(host: Host) -> None:
    """Nothing is unpacked on top of a ledger that can't be read."""
    host.archive("1.1")
    host.var.ledger.write_text('{"format": 1, "rel')

    refused(host, "1.1", "makes it again", DamagedRelease)


# Who may do it, and when.


def test_a_second_one_is_told_who_is_at_it(host: Host) -> None:
    """While one command changes the releases, another ends at once, with 75, and says by whom, what and since when."""
    host.archive("1.1")
    host.var.transaction.write_text(
        '{"pid": 4711, "command": "remove 0.9", "user": "ann", "since": "2026-11-21T00:00:00Z"}'
    )
    with host.var.transaction.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match=r"'remove 0.9' by ann \(pid 4711\) has been running for \d+ s") as error:
            host.unpack("1.1")
    assert error.value.exit_code == 75
    host.unpack("1.1")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a tree to another user")
def test_only_the_owner_of_the_tree_unpacks(host: Host) -> None:
    """The service's own user can't change the code that it runs, and root does not leave files there that are not the owner's."""
    host.archive("1.1")
    os.chown(host.root, 65534, 65534)

    with pytest.raises(UnderwayError, match=r"belongs to nobody, who alone changes its releases; try `sudo -u nobody`"):
        host.unpack("1.1")
    assert ledger.recorded(host.var) == {}


# What there is room for.


@pytest.mark.needs_tool("mount", "mount")
@pytest.mark.parametrize("pages", [-1, 0, 1, 2, 3, 4, 5, 6, 8])
def test_a_full_disk_is_told_and_leaves_what_was(tmp_path: Path, pages: int) -> None:
    """Room for some pages more than the release has: in, or not at all; once there is room, it comes in."""
    builder = Host(tmp_path / "elsewhere")
    archive = builder.archive("1.1")
    new = read(builder.place / "built-1.1/releases/1.1/manifest.json")
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        host = make_host(disk)
        room = os.statvfs(disk)
        needed = sum(-(-entry.size // room.f_frsize) for path, entry in new.files.items() if "1.1" in path)
        filler = disk / "filler"
        filler.write_bytes(bytes((os.statvfs(disk).f_bavail - needed - pages) * room.f_frsize))
        before, told = look(host.root), ""
        try:
            host.unpack(str(archive), archive)
        except (UnderwayError, OSError) as error:
            told = str(error)
        if told:
            assert ("make room" if pages < 2 else "No space left on device") in told  # the lock and the ledger take two
            assert {path: what for path, what in look(host.root).items() if path in before} == before
            assert (host.boots, host.problems("1.0")) == ("1.0", [])
            filler.unlink()
            host.unpack(str(archive), archive)
        assert host.problems("1.1") == []
        assert host.states == {"1.0": "permanent", "1.1": "unpacked"}


def test_a_disk_without_inodes_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written."""
    host.archive("1.1")
    found = os.statvfs(host.root)
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((*found[:6], 3, 3, *found[8:])))

    refused(host, "1.1", r"has 5 new files, and .* has inodes for 3")


def test_a_var_that_can_t_be_written_is_told(host: Host) -> None:
    """Before anything is read of the archive."""
    host.archive("1.1")
    shutil.move(host.var.path, host.place / "var")
    host.var.path.write_text("")

    with pytest.raises(UnderwayError, match=r"var can't be written: File exists; RELEASE_VAR says where"):
        host.unpack("1.1", host.place / "var/incoming/hello-1.1.tar.zst")
