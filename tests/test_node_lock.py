"""One node per var, its cookie, and its listening sockets."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from underway_runtime.apps import sockets
from underway_runtime.apps.sockets import Listeners
from underway_runtime.control import cookie
from underway_runtime.keeper.lock import Lock, acquire
from underway_runtime.keeper.sockets import Sockets, reason
from underway_runtime.process import lock
from underway_runtime.process.settings import Settings, from_environ, heart
from underway_runtime.release import addresses
from underway_runtime.release.directory import VarDirectory
from underway_runtime.release.errors import BootError, ConfigError, DamagedRelease, UnderwayError, UsageError
from underway_runtime.release.filesystem import atomic_files

HOLD = """
import json, os, sys
from underway_runtime.keeper.lock import acquire
lock = acquire(sys.argv[1] + "/run/lock", sys.argv[1] + "/run/pid")
lock.write_pid()
lock.write(json.dumps({"pid": os.getpid(), "stop_timeout": 7}))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def var(tmp_path: Path) -> VarDirectory:
    return VarDirectory(tmp_path / "var")


@pytest.fixture
def holder(var: VarDirectory) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(var.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_node_is_refused_with_the_pid_of_the_first(var: VarDirectory, holder: subprocess.Popen[str]) -> None:
    """Two nodes never share a var."""
    document = acquire(str(var.lock), str(var.pid))

    assert isinstance(document, str)
    assert lock.read(document) == {"pid": holder.pid, "stop_timeout": 7}
    assert var.pid.read_text() == f"{holder.pid}\n"


def test_a_node_is_found_by_its_lock(var: VarDirectory, holder: subprocess.Popen[str]) -> None:
    """Who asks learns the pid and how long a stop may take."""
    assert lock.find(var, "hello") == lock.RunningNode(holder.pid, 7.0)


def test_a_killed_node_is_not_found_and_not_in_the_way(var: VarDirectory, holder: subprocess.Popen[str]) -> None:
    """The lock goes with the process; the pid file that stays behind is not believed."""
    holder.kill()
    holder.wait(timeout=30)

    assert var.pid.exists()
    assert lock.find(var, "hello") is None
    mine = acquire(str(var.lock), str(var.pid))
    assert isinstance(mine, Lock)
    mine.write_pid()
    assert var.pid.read_text() == f"{os.getpid()}\n"
    mine.close()
    assert not var.pid.exists()


def test_a_stranger_is_never_taken_for_the_node(var: VarDirectory, holder: subprocess.Popen[str]) -> None:
    """A pid that does not have the lock open is not the node, whatever the files say."""
    var.lock.write_text(json.dumps({"pid": os.getppid()}))

    with pytest.raises(UnderwayError, match=r"hello runs, as .* is held, but not where this command can see it"):
        lock.find(var, "hello")


def test_who_ends_while_it_is_looked_for_does_not_run(
    var: VarDirectory, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the successor of a node whose keeper was killed: it has closed its descriptors, and then it lets go of the lock."""

    def end(descriptor: int) -> Iterator[int]:
        holder.kill()
        holder.wait()
        return iter(())

    var.lock.write_text(json.dumps({"pid": os.getppid()}))
    monkeypatch.setattr(lock, "_inheritors", end)

    assert lock.find(var, "hello") is None


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"pid": "x"}', "\x00" * 5000])
def test_a_damaged_lock_file_is_not_in_the_way(var: VarDirectory, content: str) -> None:
    """What a full disk or a crash left in it is neither believed nor a reason not to start."""
    var.run.mkdir(parents=True)
    var.lock.write_text(content)

    assert lock.find(var, "hello") is None
    mine = acquire(str(var.lock), str(var.pid))
    assert isinstance(mine, Lock)
    assert lock.read(var.lock.read_bytes().rstrip(b"\0")) == {"pid": os.getpid()}
    mine.close()


def test_nothing_runs_where_nothing_ever_ran(var: VarDirectory) -> None:
    """Asking makes no files."""
    assert lock.find(var, "hello") is None
    assert not var.path.exists()


def test_a_file_is_replaced_whole_and_with_its_mode(tmp_path: Path) -> None:
    """No moment in which others could read a secret, and no temporary file afterwards."""
    secret = tmp_path / "secret"
    secret.write_text("old")
    secret.chmod(0o644)

    atomic_files.replace(secret, "new", 0o600)

    assert (secret.read_text(), stat.S_IMODE(secret.stat().st_mode)) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [secret]


# --------------------------------------------------------------------------------------------------------- settings


def settings(root: Path, **environ: str) -> Settings:
    return from_environ({"RELEASE_ROOT": str(root), "RELEASE_NAME": "hello", "RELEASE_VSN": "1", **environ})


def test_the_environment_is_read_with_defaults(tmp_path: Path) -> None:
    """What the launcher may leave out has the launcher's default."""
    found = settings(tmp_path)

    assert found.var.path == found.tmp.path == tmp_path / "var"
    assert found.mode == "embedded"
    assert found.boot_script == tmp_path / "releases/1/start.script"
    assert settings(tmp_path, RELEASE_TMP="/run/hello").tmp.run == Path("/run/hello/run")


def test_a_process_that_no_launcher_started_is_refused() -> None:
    """The error names the variables and what sets them."""
    with pytest.raises(UsageError, match=r"RELEASE_ROOT, RELEASE_VSN not set; .* bin/NAME"):
        from_environ({"RELEASE_NAME": "hello"})


def test_bad_variables_are_listed_together(tmp_path: Path) -> None:
    """One error for all of them."""
    with pytest.raises(ConfigError) as caught:
        settings(
            tmp_path,
            RELEASE_MODE="fast",
            RELEASE_DISTRIBUTION="name",
            RELEASE_HEART="yes",
            RELEASE_LOG_GENERATIONS="1",
            RELEASE_LOG_SIZE="1e6",
        )

    assert str(caught.value).splitlines()[1:] == [
        "  - RELEASE_MODE is embedded or interactive, not 'fast'",
        "  - RELEASE_DISTRIBUTION is none, not 'name'",
        "  - RELEASE_HEART is true or false, not 'yes'",
        "  - RELEASE_LOG_GENERATIONS is a number from 2 to 1000, not '1'",
        "  - RELEASE_LOG_SIZE is a number from 1000 to 1073741824, not '1e6'",
    ]


# ----------------------------------------------------------------------------------------------------------- cookie


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "releases/1/cookie.source"
    path.parent.mkdir(parents=True)
    path.write_text('{"from": "node"}')
    return path


def test_the_node_makes_its_cookie_once(tmp_path: Path, source: Path) -> None:
    """256 bits, for the owner only, the same at the next boot."""
    first = cookie.obtain(settings(tmp_path), {})

    assert len(first) == 43
    assert cookie.obtain(settings(tmp_path), {}) == first
    assert stat.S_IMODE((tmp_path / "var/COOKIE").stat().st_mode) == 0o600


def test_an_existing_cookie_is_kept(tmp_path: Path, source: Path) -> None:
    """An operator may put the same cookie on several machines."""
    (tmp_path / "var").mkdir()
    (tmp_path / "var/COOKIE").write_text("shared\n")
    (tmp_path / "var/COOKIE").chmod(0o600)

    assert cookie.obtain(settings(tmp_path), {}) == "shared"


def test_a_cookie_that_others_can_read_is_refused(tmp_path: Path, source: Path) -> None:
    """As in Erlang; the error says what to do and does not say the cookie."""
    (tmp_path / "var").mkdir()
    (tmp_path / "var/COOKIE").write_text("hushhush\n")
    (tmp_path / "var/COOKIE").chmod(0o644)

    with pytest.raises(ConfigError, match=r"others can read .*COOKIE \(its mode is 0644\); chmod 600 it") as caught:
        cookie.obtain(settings(tmp_path), {})

    assert "hushhush" not in str(caught.value)


def test_the_cookie_is_shared_with_a_group_for_as_long_as_that_is_configured(tmp_path: Path, source: Path) -> None:
    """Its mode follows the configuration, both ways; who may not see to that is told."""
    path = tmp_path / "var/COOKIE"
    cookie.obtain(settings(tmp_path), {})
    group = os.getgid()

    cookie.share(path, group)
    shared = path.stat()
    cookie.share(path, None)

    assert (shared.st_mode & 0o777, shared.st_gid) == (0o640, group)
    assert path.stat().st_mode & 0o777 == 0o600
    cookie.share(tmp_path / "nowhere", group)


def test_the_variable_release_cookie_wins(tmp_path: Path, source: Path) -> None:
    """It is not written down, and not shown with the other settings."""
    given = settings(tmp_path, RELEASE_COOKIE="hushhush")

    assert cookie.obtain(given, {}) == "hushhush"
    assert not (tmp_path / "var").exists()
    assert "hushhush" not in repr(given)


def test_a_cookie_may_come_from_a_file_or_a_variable(tmp_path: Path, source: Path) -> None:
    """The release says where; a relative file is below its root."""
    (tmp_path / "secret").write_text("of the file\n")

    source.write_text('{"from": "file", "file": "secret"}')
    assert cookie.obtain(settings(tmp_path), {}) == "of the file"
    source.write_text('{"from": "variable", "variable": "CHAT_COOKIE"}')
    assert cookie.obtain(settings(tmp_path), {"CHAT_COOKIE": "of the variable"}) == "of the variable"


@pytest.mark.parametrize(
    ("said", "kind", "problem"),
    [
        ('{"from": "file", "file": "/nowhere"}', ConfigError, "is in /nowhere, which can't be read: No such file"),
        ('{"from": "file", "file": "/dev/null"}', ConfigError, "is in /dev/null, which is empty"),
        ('{"from": "variable", "variable": "NOWHERE"}', ConfigError, "the variable NOWHERE, which is not set"),
        ('{"from": "moon"}', DamagedRelease, "does not say where the cookie is"),
        ("{", DamagedRelease, "can't be read: .*; restore it"),
    ],
)
def test_a_cookie_that_is_not_there_is_one_clear_error(
    tmp_path: Path, source: Path, said: str, kind: type[Exception], problem: str
) -> None:
    """The error says where the cookie should have been."""
    source.write_text(said)

    with pytest.raises(kind, match=problem):
        cookie.obtain(settings(tmp_path), {})


# ---------------------------------------------------------------------------------------------------------- sockets


def bind(addresses: Sequence[str], held: Sockets | None = None, node: int = 1) -> Listeners:
    """What a node does, with the keeper's half in this process."""
    held = held or Sockets()

    def ask(wanted: Sequence[str]) -> list[socket.socket | str]:
        outcomes: list[socket.socket | str] = []
        for text in wanted:
            try:
                outcomes.append(socket.socket(fileno=os.dup(held.give(text, node).fileno())))
            except (OSError, ValueError) as error:
                outcomes.append(reason(error))
        return outcomes

    return sockets.bind(addresses, ask, lambda asked: held.close(asked, node, keep=False))


def test_addresses_are_bound_and_shown_as_they_are_written(tmp_path: Path) -> None:
    """Port 0 becomes the port that was free."""
    listeners = bind(["tcp://127.0.0.1:0", f"unix://{tmp_path}/s"])

    port = listeners.sockets[0].getsockname()[1]
    assert listeners.addresses == (f"tcp://127.0.0.1:{port}", f"unix://{tmp_path}/s (mode 0666)")
    listeners.close()
    assert not (tmp_path / "s").exists()


def test_an_ipv6_address_is_written_in_brackets() -> None:
    """As in a URL."""
    assert addresses.host_and_port("tcp://[::1]:8000") == ("::1", 8000)


def test_a_name_is_every_address_that_it_has() -> None:
    """Those of a family that the machine does not have are left out."""
    listeners = bind(["tcp://localhost:0"])

    assert {address.rpartition(":")[0] for address in listeners.addresses} <= {"tcp://127.0.0.1", "tcp://[::1]"}
    assert listeners.sockets
    listeners.close()


def test_a_damaged_heart_is_told(tmp_path: Path) -> None:
    """With the file, and what to do."""
    version = tmp_path / "releases/1"
    version.mkdir(parents=True)
    for content in ("{", '{"beats": 1}', "[]"):
        (version / "heart").write_text(content)
        with pytest.raises(DamagedRelease, match=r"releases/1/heart can't be read: .*; restore it"):
            heart(settings(tmp_path))


def test_all_addresses_are_bound_or_none(tmp_path: Path) -> None:
    """The error lists each that can't be, with its reason; the others are free again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BootError) as caught:
            bind([f"unix://{tmp_path}/s", f"tcp://127.0.0.1:{port}", "http://localhost:80", "tcp://:80", "unix://s"])

    rule = "an address is tcp://HOST:PORT, as in tcp://127.0.0.1:8000, or unix:///path"
    assert str(caught.value).splitlines() == [
        "can't listen:",
        f"  - tcp://127.0.0.1:{port}: Address already in use",
        f"  - http://localhost:80: {rule}",
        "  - tcp://:80: ':80' is not HOST:PORT, as in 127.0.0.1:8000 or [::1]:8000",
        "  - unix://s: a socket file is unix:///its/absolute/path, with ?mode=0660&group=NAME where that matters",
    ]
    assert not (tmp_path / "s").exists()


def test_the_socket_file_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    """A crash leaves a file behind that nobody has to remove by hand."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    bind([f"unix://{path}"]).close()


def test_the_socket_file_of_a_live_process_is_respected(tmp_path: Path) -> None:
    """Nobody's clients are taken over."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()

        with pytest.raises(BootError, match="another process listens there"):
            bind([f"unix://{path}"])

    assert path.exists()


def test_a_file_that_is_no_socket_is_respected(tmp_path: Path) -> None:
    """A wrong path in the configuration destroys nothing."""
    path = tmp_path / "s"
    path.write_text("precious")

    with pytest.raises(BootError, match="is not a socket; remove it, or choose another path"):
        bind([f"unix://{path}"])

    assert path.read_text() == "precious"


def test_closing_leaves_the_socket_file_of_a_successor(tmp_path: Path) -> None:
    """What has been replaced since is not ours to remove."""
    path = tmp_path / "s"
    first = bind([f"unix://{path}"])
    path.unlink()
    second = bind([f"unix://{path}"])

    first.close()

    assert path.exists()
    second.close()


def test_the_same_address_is_the_same_socket_for_the_next_node(tmp_path: Path) -> None:
    """Also where the port was 0; who asks twice has two, in the same order."""
    held = Sockets()
    addresses = [f"unix://{tmp_path}/s", "tcp://127.0.0.1:0", "tcp://127.0.0.1:0"]
    first = bind(addresses, held)
    waiting = socket.create_connection(first.sockets[1].getsockname())
    for each in first.sockets:
        each.close()

    held.forget(1)
    second = bind(addresses, held, node=2)

    assert second.addresses == first.addresses
    assert len(set(second.addresses)) == 3
    second.sockets[1].accept()[0].close()
    waiting.close()
    second.close()


def test_what_the_next_node_does_not_ask_for_is_closed(tmp_path: Path) -> None:
    """With its file; nobody waits at a door that nobody opens."""
    held = Sockets()
    first = bind([f"unix://{tmp_path}/old", f"unix://{tmp_path}/kept"], held)
    held.forget(1)
    second = bind([f"unix://{tmp_path}/kept"], held, node=2)
    for each in (*first.sockets, *second.sockets):
        each.close()

    assert held.close_unasked(2) == [f"unix {tmp_path}/old"]
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    held.close_all()
    assert list(tmp_path.iterdir()) == []


def test_a_socket_file_may_be_anywhere_and_has_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    """A release may stay at a path of 300 bytes."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    path = deep / "socket"
    assert len(str(path)) > 200

    listeners = bind([f"unix://{path}?mode=600"])

    assert listeners.addresses == (f"unix://{path} (mode 0600)",)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(BootError, match="another process listens there"):
        bind([f"unix://{path}"])
    listeners.close()
    assert not path.exists()


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_the_lock_of_a_release_that_is_elsewhere_is_not_missed(tmp_path: Path, how: str) -> None:
    """Nothing is made again where the whole release was, and another may start there; it is missed where only `run` has gone."""
    root = tmp_path / "hello"
    var = VarDirectory(root / "var")
    var.path.mkdir(parents=True)
    mine = acquire(str(var.lock), str(var.pid))
    assert isinstance(mine, Lock)
    try:
        assert mine.is_there()
        shutil.move(var.run, root / "run")
        assert not mine.is_there()
        shutil.move(root / "run", var.run)

        shutil.rmtree(root) if how == "removed" else root.rename(tmp_path / "moved")

        assert mine.is_there()
        if how == "moved":
            other = acquire(str(var.lock), str(var.pid))
            assert isinstance(other, Lock)
            assert mine.is_there()
            other.close()
    finally:
        mine.close()
