"""Files in a directory of another user: what he puts there is neither followed nor waited for, and what root makes there is his."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import underway_runtime
from underway_runtime.release import display
from underway_runtime.release.filesystem import atomic_files, openat

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="takes root, who looks at what is of another user")

SERVICE, STRANGER = 65534, 22895


@pytest.fixture
def var(tmp_path: Path) -> Path:
    """A directory of the service's user."""
    var = tmp_path / "var"
    var.mkdir()
    os.chown(var, SERVICE, SERVICE)
    return var


def link(place: Path, target: Path | str, uid: int = SERVICE) -> None:
    place.symlink_to(target)
    os.lchown(place, uid, uid)


@pytest.mark.parametrize("what", ["link", "FIFO", "device", "socket", "directory", "large"])
def test_what_is_not_a_file_of_a_bounded_size_is_not_read(var: Path, tmp_path: Path, what: str) -> None:
    """What stands in the place of a file is refused at once, with a reason."""
    (tmp_path / "secret").write_text("secret")
    match what:
        case "link":
            link(var / "RELEASES", tmp_path / "secret")
        case "FIFO":
            os.mkfifo(var / "RELEASES")
        case "device":
            os.mknod(var / "RELEASES", 0o644 | stat.S_IFCHR, os.makedev(1, 5))
        case "socket":
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(var / "RELEASES"))
        case "directory":
            (var / "RELEASES").mkdir()
        case "large":
            (var / "RELEASES").touch()
            os.truncate(var / "RELEASES", 1 << 40)
    with pytest.raises(OSError, match=r"is a link|not a regular file|more than 1024 bytes") as caught:
        openat.read(var, var / "RELEASES", 1024)
    assert caught.value.filename == str(var / "RELEASES")


def test_a_secret_is_of_the_owner_of_its_directory(var: Path) -> None:
    """A file of root's that came into the service's directory is not taken for a secret of the service."""
    (var / "COOKIE").write_text("root:$6$")
    with pytest.raises(PermissionError, match="it belongs to user 0"):
        openat.read(var, var / "COOKIE", of_owner=True)
    os.chown(var / "COOKIE", SERVICE, SERVICE)
    assert openat.read(var, var / "COOKIE", of_owner=True) == b"root:$6$"


def test_another_name_of_a_file_is_not_written(var: Path, tmp_path: Path) -> None:
    """A file that has a name elsewhere too is neither appended to nor overwritten."""
    (tmp_path / "victim").write_text("whole")
    os.link(tmp_path / "victim", var / "transaction")
    with openat.directory(var) as place, pytest.raises(PermissionError, match="another name"):
        place.open("transaction", os.O_RDWR | os.O_CREAT)


def test_another_name_of_a_file_of_others_is_not_read(var: Path, tmp_path: Path) -> None:
    """Where a user may give others' files a name in his directory, what is in them is not shown; two names of his own are his."""
    (tmp_path / "secret").write_text("secret")
    os.link(tmp_path / "secret", var / "hello.log.1")
    with pytest.raises(PermissionError, match="another name"):
        openat.read(var, var / "hello.log.1")
    os.chown(tmp_path / "secret", SERVICE, SERVICE)
    assert openat.read(var, var / "hello.log.1") == b"secret"


def test_a_directory_that_several_may_write_serves_each(tmp_path: Path) -> None:
    """A volume of root's for a group: the node's user, who is not its owner, reads its own secret there, and so does root; not root's."""
    volume = tmp_path / "volume"
    (volume / "run").mkdir(parents=True)
    volume.chmod(0o2775)
    os.chown(volume / "run", SERVICE, SERVICE)
    for name, owner in (("COOKIE", SERVICE), ("shadow", 0), ("other", STRANGER)):
        (volume / name).write_text(name)
        (volume / name).chmod(0o600)
        os.chown(volume / name, owner, owner)
    assert openat.read(volume, volume / "COOKIE", of_owner=True) == b"COOKIE"
    for name in ("shadow", "other"):
        with pytest.raises(PermissionError):
            openat.read(volume, volume / name, of_owner=True)
    code = "import os, sys; sys.path[:0] = [sys.argv[2]]; from underway_runtime.release.filesystem import openat;"
    code += "os.setgroups([]); os.setgid(65534); os.setuid(65534);"
    code += "v = sys.argv[1]; print(openat.read(v, v + '/COOKIE', of_owner=True))"
    for place in (volume, *volume.parents):
        if place.stat().st_mode & 0o005 != 0o005:
            place.chmod(place.stat().st_mode | 0o005)
    source = Path(underway_runtime.__file__).parents[1]
    done = subprocess.run([sys.executable, "-S", "-c", code, volume, source], capture_output=True, text=True)
    assert done.stdout == "b'COOKIE'\n", done.stderr


@pytest.mark.parametrize("way", ["directory", "upper"])
def test_a_linked_directory_is_not_entered(var: Path, tmp_path: Path, way: str) -> None:
    """A directory below `var` that is a link is refused, to read, to write and to make something in it."""
    victim = tmp_path / "victim"
    (victim / "journal").mkdir(parents=True)
    if way == "directory":
        link(var / "journal", victim / "journal")
        place = var / "journal" / "x"
    else:
        link(var / "cluster", victim)
        place = var / "cluster" / "journal" / "x"
    with pytest.raises(OSError, match="is a link"):
        openat.replace(var, place, b"text", 0o644)
    with pytest.raises(OSError, match="is a link"):
        openat.is_there(var, place)
    with openat.directory(var) as opened, pytest.raises(OSError, match="is a link"):
        opened.directory(place.relative_to(var).parts[0], make=0o755)
    assert not any((victim / "journal").iterdir())


def test_a_directory_that_is_swapped_is_not_met(var: Path, tmp_path: Path) -> None:
    """What was opened stays what it is, whatever takes its place in the meantime."""
    victim = tmp_path / "victim"
    victim.mkdir()
    with openat.directory(var) as opened, opened.directory("journal", make=0o755) as journal:
        (var / "journal").rename(var / "away")
        link(var / "journal", victim)
        journal.replace("uses.jsonl", b"{}\n", 0o600)
    assert (var / "away" / "uses.jsonl").read_bytes() == b"{}\n"
    assert not any(victim.iterdir())


def test_directories_swapped_all_the_time_lead_nowhere_else(var: Path, tmp_path: Path) -> None:
    """However the owner exchanges his directory for a link, nothing of another directory is written, made or given away."""
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    done = threading.Event()

    def swap() -> None:
        link(var / "lure", victim)
        while not done.is_set():
            for names in (("journal", "away"), ("lure", "journal"), ("journal", "lure"), ("away", "journal")):
                with contextlib.suppress(OSError):
                    os.rename(var / names[0], var / names[1])

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(2000):
            with (
                contextlib.suppress(OSError),
                openat.directory(var) as opened,
                opened.directory("journal", make=0o755) as journal,
            ):
                os.close(journal.open("uses.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    finally:
        done.set()
        thread.join()
    assert victim.stat().st_uid == 0
    assert not any(victim.iterdir())


def test_what_root_makes_is_the_owners(var: Path) -> None:
    """Files and directories that root makes in the service's directory belong to the service, with the modes that were asked for."""
    before = os.umask(0o077)
    try:
        openat.made(var / "a/b").__exit__(None, None, None)
        with openat.directory(var) as opened, opened.directory("journal", make=0o755) as journal:
            journal.replace("uses.jsonl", b"{}\n", 0o644)
            os.close(journal.open("more", os.O_WRONLY | os.O_CREAT, 0o600))
            assert journal.names() == ["more", "uses.jsonl"]
    finally:
        os.umask(before)
    found = {path.name: path.stat() for path in var.rglob("*")}
    assert {name: (status.st_uid, status.st_mode & 0o777) for name, status in found.items()} == {
        "journal": (SERVICE, 0o700),
        "uses.jsonl": (SERVICE, 0o644),
        "more": (SERVICE, 0o600),
        "a": (SERVICE, 0o700),
        "b": (SERVICE, 0o700),
    }


def test_a_link_at_the_name_that_is_written_is_replaced(var: Path, tmp_path: Path) -> None:
    """What is written takes the place of a link and of a FIFO, and never goes through them."""
    (tmp_path / "victim").write_text("whole")
    link(var / "RELEASES", tmp_path / "victim")
    openat.replace(var, var / "RELEASES", b"ledger", 0o644)
    assert (tmp_path / "victim").read_text() == "whole"
    assert not (var / "RELEASES").is_symlink()
    assert sorted(os.listdir(var)) == ["RELEASES"]


@pytest.mark.parametrize(
    ("owner_of_link", "owner_of_target", "is_followed"),
    [(SERVICE, 0, False), (SERVICE, STRANGER, False), (SERVICE, SERVICE, True), (0, SERVICE, True)],
)
def test_links_on_the_way_to_var(tmp_path: Path, owner_of_link: int, owner_of_target: int, is_followed: bool) -> None:
    """`var` may be a link of root's, as systemd makes it, or a user's own to what is his, and not to what is another's."""
    home, target = tmp_path / "home", tmp_path / "target"
    for place, owner in ((home, owner_of_link), (target, owner_of_target)):
        place.mkdir()
        os.chown(place, owner, owner)
    link(home / "var", "../target", owner_of_link)
    (target / "start.data").write_text("3.11.7 0.1.0\n")
    if is_followed:
        assert openat.read(home / "var", home / "var" / "start.data") == b"3.11.7 0.1.0\n"
    else:
        with pytest.raises(OSError, match="a link on the way") as caught:
            openat.read(home / "var", home / "var" / "start.data")
        assert caught.value.errno == errno.ELOOP


def test_the_owner_may_link_in_his_own(tmp_path: Path) -> None:
    """In a directory of one's own, links are followed as ever."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "journal").symlink_to(tmp_path / "elsewhere")
    openat.replace(tmp_path / "var", tmp_path / "var" / "journal" / "x", b"text", 0o644)
    assert openat.read(tmp_path / "var", tmp_path / "var" / "journal" / "x") == b"text"


def test_what_a_group_may_write_is_not_roots_own(tmp_path: Path) -> None:
    """In a directory of root's that others may write, root follows no link either."""
    (tmp_path / "var").mkdir()
    (tmp_path / "var").chmod(0o2775)
    (tmp_path / "victim").mkdir()
    (tmp_path / "var" / "journal").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="is a link"):
        openat.replace(tmp_path / "var", tmp_path / "var" / "journal" / "x", b"text", 0o644)


@pytest.mark.parametrize("planted", ["link", "hard link", "FIFO", "file"])
def test_a_planted_partial_file_is_not_written(tmp_path: Path, planted: str) -> None:
    """What another user puts where a file is written before it gets its name is not written, and hinders nobody."""
    shared, victim = tmp_path / "shared", tmp_path / "victim"
    shared.mkdir()
    shared.chmod(0o1777)
    victim.write_text("whole")
    os.chown(victim, STRANGER, STRANGER)
    partial = shared / ".hello-0.1.0.tar.zst.partial"
    match planted:
        case "link":
            link(partial, victim, STRANGER)
        case "hard link":
            os.link(victim, partial)
        case "FIFO":
            os.mkfifo(partial)
        case "file":
            partial.write_text("of another")
            os.chown(partial, STRANGER, STRANGER)
    with atomic_files.written(shared / "hello-0.1.0.tar.zst") as file:
        file.write(b"archive")
    assert victim.read_text() == "whole"
    made = (shared / "hello-0.1.0.tar.zst").lstat()
    assert (stat.S_ISREG(made.st_mode), made.st_uid, made.st_nlink) == (True, 0, 1)
    assert (shared / "hello-0.1.0.tar.zst").read_bytes() == b"archive"


@pytest.mark.parametrize(
    "text", ["\x1b]0;owned\x07", "\x9b2J", "a\rb", "\u202eabc\u2066", "\x00", "\x7f", "\ud800", "x" * 100_000, "\u2028"]
)
def test_what_others_wrote_is_shown_and_not_obeyed(text: str) -> None:
    """No control, escape or direction character of another's text reaches a terminal, nor more than a line's worth of it."""
    shown = display.many_lines(f"first\n{text}")
    assert shown.replace("\n", "").isprintable()
    assert len(shown) < 2000
    shown.encode()
