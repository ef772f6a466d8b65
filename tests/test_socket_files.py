"""Socket files have the mode and the group that `listen` says, and what the release takes over of a web server is refused."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from handover_helpers import ASGI, asgi, start
from hot_helpers import BODY, WEB, changed, planned, run
from node_helpers import MakeNode, Node, eventually, read_until, terminate
from underway.errors import ProjectError
from underway.project.options import OPTIONS
from underway.project.options import problem_of as option_problem
from underway.release import Application, Release
from underway.steps.configuration import make_sys_config
from underway_runtime.apps.socket_adoption import Adoption
from underway_runtime.release.addresses import SocketFile, problem_of, socket_file
from underway_runtime.release.server_options import TAKEN_OVER, problems_of
from versions import add_sealed

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users")


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("unix:///run/a.sock", SocketFile(Path("/run/a.sock"))),
        ("unix:///run/a.sock?mode=0660", SocketFile(Path("/run/a.sock"), 0o660)),
        ("unix:///run/a.sock?mode=600&group=www-data", SocketFile(Path("/run/a.sock"), 0o600, "www-data")),
        ("unix:///run/a.sock?group=33", SocketFile(Path("/run/a.sock"), 0o666, "33")),
        ("unix:///run/a.sock?group=_ssh&mode=0606", SocketFile(Path("/run/a.sock"), 0o606, "_ssh")),
    ],
)
def test_who_may_connect_is_said_in_the_address(address: str, file: SocketFile) -> None:
    """At the build and at the boot it is read the same; without it, it is 0666."""
    assert socket_file(address) == file
    assert OPTIONS["listen"].holds([address])


@pytest.mark.parametrize(
    "query",
    [
        "mode=rw", "mode=0999", "mode=66", "mode=01777", "mode=0o660", "mode=", "mode=0660&mode=0600", "perms=0660", "mode",
        "group=", "group=a b", "group=../a", "group=-1", "mode=0660&groop=a", "mode=0660#x", "mode=0660&", "=0660",
    ],
)  # fmt: skip
def test_what_is_mistyped_is_refused(query: str) -> None:
    """By the build and by the boot, and never left out."""
    address = f"unix:///run/a.sock?{query}"
    assert problem_of(address)
    assert not OPTIONS["listen"].holds([address])


@pytest.mark.parametrize(
    "address", ["tcp://u@h:8000", "unix:///", "tcp://h:80?mode=0660", "tcp://h", "unix://run/a", "unix:///a/"]
)
def test_what_fails_the_boot_fails_the_build(address: str) -> None:
    """There is one reader of addresses."""
    assert problem_of(address)
    assert not OPTIONS["listen"].holds([address])


def test_the_build_says_of_each_address_what_is_wrong_with_it() -> None:
    """All of them at once, and of those that are right nothing."""
    wrong = ["unix:///a?mode=999", "tcp://h:80", "unix:///a?mode=0660&mode=0600", "unix:///a?grp=users"]

    assert option_problem("listen", wrong) == "; ".join(
        f"listen: {address}: {problem_of(address)}" for address in wrong if address != "tcp://h:80"
    )
    for value in [], "tcp://h:80", [80]:
        assert (option_problem("listen", value) or "").startswith(
            f"listen is {value!r}; it must be a list of addresses"
        )


def connects(path: Path, user: int, groups: tuple[int, ...] = ()) -> bool:
    """Whether another user may connect."""
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            os.setgroups(groups)
            os.setgid(65534)
            os.setuid(user)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
            status = 0
        except PermissionError:
            status = 1
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, 1)
    return status == 0


@pytest.fixture
def open_directory() -> Path:
    """A directory that other users may enter."""
    made = Path(tempfile.mkdtemp(dir="/tmp"))
    made.chmod(0o755)
    return made


def listening(make: MakeNode, address: str, umask: int = 0o022) -> Node:
    node = make(asgi(listen=["tcp://127.0.0.1:0", address]), libraries=["uvicorn"])
    process = node.spawn("start", stdout=subprocess.DEVNULL, umask=umask)
    read_until(process.stderr, "listening on")
    return node


@ROOT
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000, 0o777])
def test_the_mode_does_not_follow_from_the_umask(make: MakeNode, open_directory: Path, umask: int) -> None:
    """0666, as uvicorn has it, where nothing is said."""
    path = open_directory / "a.sock"
    if umask == 0o777:
        umask = 0o027
    node = listening(make, f"unix://{path}", umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    assert connects(path, 4321)
    assert terminate(node.processes[0])[0] == 0
    assert not path.exists()


@ROOT
def test_a_group_is_who_may_connect(make: MakeNode, open_directory: Path) -> None:
    """A member may, another user may not; a handover to a version that says otherwise changes that, and loses nothing."""
    path = open_directory / "a.sock"
    first = asgi(listen=["tcp://127.0.0.1:0", f"unix://{path}?mode=0660&group=4711"])
    node = make(first, libraries=["uvicorn"])
    second = asgi(
        ASGI.replace('VERSION = "1"', 'VERSION = "2"'), listen=["tcp://127.0.0.1:0", f"unix://{path}?mode=0600"]
    )
    add_sealed(node, "2", second)
    keeper, _ = start(node)

    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (0o660, 4711)
    assert connects(path, 4321, (4711,))
    assert not connects(path, 4321)
    before = path.stat().st_ino
    done = node.run("install", "2")
    assert done.returncode == 0, done.stderr
    eventually(lambda: stat.S_IMODE(path.stat().st_mode) == 0o600, "it is the other's")
    assert path.stat().st_ino == before
    assert not connects(path, 4321, (4711,))
    assert terminate(keeper)[0] == 0


def test_a_group_that_is_not_there_is_told(make: MakeNode, tmp_path: Path) -> None:
    """By name, before anything listens; no file stays."""
    node = make(asgi(listen=[f"unix://{tmp_path}/a.sock?group=nobodys-group"]), libraries=["uvicorn"])
    done = node.run("start")
    assert done.returncode == 1
    assert "there is no group 'nobodys-group' on this host" in done.stderr
    assert list(tmp_path.glob("*.sock")) == []


@pytest.mark.parametrize("how", [["restart", "--graceful"], ["restart"]])
def test_a_file_that_was_removed_is_made_again(make: MakeNode, open_directory: Path, how: list[str]) -> None:
    """By a cleaner of temporary files, say: the next node can be reached."""
    path = open_directory / "a.sock"
    node = listening(make, f"unix://{path}?mode=0600")
    path.unlink()
    assert node.run(*how).returncode == 0
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert terminate(node.processes[0])[0] == 0
    assert not path.exists()


@pytest.mark.parametrize("touched", ["touch", "mode and owner", "another name"])
def test_a_file_that_somebody_has_touched_is_the_same(tmp_path: Path, touched: str) -> None:
    """Its dates, mode and names don't make it another: it is said of none that it is lost, and it goes at the end."""
    from underway_runtime.keeper.sockets import Sockets

    held = Sockets()
    path = tmp_path / "a.sock"
    first = held.give(f"unix 600 {path}", 1)
    if touched == "touch":
        os.utime(path, (1, 1))
    elif touched == "mode and owner":
        path.chmod(0o640)
        os.chown(path, os.geteuid(), os.getegid())
    else:
        (tmp_path / "b.sock").hardlink_to(path)

    assert held.give(f"unix 600 {path}", 2) is first
    assert held.permit(2) == []
    held.close_all()
    assert not path.exists()


def test_another_file_in_its_place_stays_whatever_its_date_is(tmp_path: Path) -> None:
    """Also a socket with the date of the one before: it is another's."""
    from underway_runtime.keeper.sockets import Sockets

    held = Sockets()
    path = tmp_path / "a.sock"
    held.give(f"unix 600 {path}", 1)
    before = path.stat()
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        held.close_all()
        assert path.is_socket()


@pytest.mark.in_place
def test_an_upgrade_where_a_file_was_removed_takes_a_fresh_interpreter(make: MakeNode, open_directory: Path) -> None:
    """As a start would make it; `check` says so, who wants it in place is refused with the reason, and the next one is in place again."""
    path = open_directory / "a.sock"
    where = {"listen": ["tcp://127.0.0.1:0", f"unix://{path}"]}
    node = make(asgi(WEB, **where), libraries=("uvicorn", "websockets"))
    planned(node, asgi(changed(BODY), **where))
    start(node)
    assert run(node, "check", "2").startswith("2 would become the code of the process that runs 1\n")
    path.unlink()
    why = f"somebody has removed {path}, which is made again for a fresh interpreter"

    assert why in run(node, "install", "2", "--at-least", "hot", status=3)
    assert not path.exists()
    assert why in run(node, "check", "2")
    assert why in run(node, "install", "2")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    run(node, "install", "1", "--at-least", "hot")


def test_a_file_in_the_place_of_another_stays_and_is_told(tmp_path: Path) -> None:
    """What else the node does goes on; nobody can connect there, and the log says so."""
    from underway_runtime.keeper.sockets import Sockets

    held = Sockets()
    path = tmp_path / "a.sock"
    first = held.give(f"unix 600 {path}", 1)
    path.unlink()
    path.write_text("another's")

    assert held.give(f"unix 600 {path}", 2) is first
    [told] = held.permit(2)
    assert told.startswith(f"nobody can connect to {path}: another file has its place; remove that")
    held.close_all()
    assert path.read_text() == "another's"


@ROOT
def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    """Its target keeps its mode and group."""
    from underway_runtime.keeper.sockets import Sockets

    target = tmp_path / "target"
    target.write_text("")
    target.chmod(0o600)
    held = Sockets()
    path = tmp_path / "a.sock"
    held.give(f"unix 600 {path}", 1)
    held.give(f"unix 666:4711 {path}", 2)
    path.unlink()
    path.symlink_to(target)
    held.permit(2)
    assert (stat.S_IMODE(target.stat().st_mode), target.stat().st_gid) == (0o600, 0)
    held.close_all()


def test_a_unit_of_systemd_has_the_mode_and_group(make: MakeNode) -> None:
    """One of each, since a unit has no more."""
    node = make(asgi(listen=["unix:///run/a.sock?mode=0660&group=www-data", "tcp://127.0.0.1:8000"]))
    printed = node.run("systemd", "--socket").stdout
    assert "ListenStream=/run/a.sock\nListenStream=127.0.0.1:8000\nSocketMode=0660\nSocketGroup=www-data\n" in printed
    node.write_script([asgi(listen=["unix:///run/a.sock?mode=0660", "unix:///run/b.sock"])])
    refused = node.run("systemd", "--socket")
    assert (refused.returncode, "differ in mode or group" in refused.stderr) == (1, True)


# ---------------------------------------------------------------------------------------------------- options of servers

EACH = [(kind, name) for kind, names in TAKEN_OVER.items() for name in names]


@pytest.mark.parametrize(("kind", "name"), EACH)
def test_what_is_taken_over_is_refused_with_what_to_write(tmp_path: Path, kind: str, name: str) -> None:
    """By the build already, whatever its value."""
    [problem] = problems_of("web", {kind: "web:app"}, {name: None, "threads": 2})
    assert problem.startswith(f"`server` of web can't set {name}: ")
    application = Application(name="web", version="1.0", start={kind: "web:app", "listen": ["tcp://127.0.0.1:0"]})
    release = Release(
        "web", "1.0", tmp_path, tmp_path, {"web": application}, None, "3.11.7", {"start": (("web", "permanent"),)}
    )
    with pytest.raises(ProjectError, match=name):
        make_sys_config(release, {"web": {"server": {name: 2}}})


def test_a_boot_lists_all_that_is_taken_over(make: MakeNode) -> None:
    """Configuration of the boot may have it too; nothing starts."""
    node = make(asgi(), libraries=["uvicorn"])
    node.configure(web={"server": {"workers": 2, "reload": True, "access_log": False}})
    done = node.run("start")
    assert done.returncode == 1
    assert "  - `server` of web can't set workers: `processes` says in how many processes it runs" in done.stderr
    assert "  - `server` of web can't set reload: `underway run --reload` does that" in done.stderr
    assert "access_log" not in done.stderr
    node.configure(web={"server": "fast"})
    assert "`server` of web is a mapping of options, not 'fast'" in node.run("start").stderr


def test_options_of_what_serves_itself_are_its_own() -> None:
    """A `main` or a class may have a key of that name."""
    assert problems_of("tool", {"main": "tool:main"}, {"workers": 2}) == []
    assert problems_of("tool", {"class": "tool:App"}, 5) == []


# ----------------------------------------------------------------------------- services that remove the file and bind


@pytest.fixture
def declared(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket file that `listen` names, with its socket, where binds are looked at."""
    adoption = Adoption(lambda message, error=None: None)
    with socket.socket(socket.AF_UNIX) as declared:
        declared.bind(str(tmp_path / "declared"))
        declared.listen()
        adoption.declare([declared], waits=True)
        yield declared
        adoption.close()


def test_an_asyncio_server_has_the_socket_of_a_declared_file(declared: socket.socket) -> None:
    """It removes the file before it binds, and since Python 3.13 when it closes: clients find it all the same."""
    path = declared.getsockname()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async def scenario() -> bytes:
        async with await asyncio.start_unix_server(greet, path) as server:
            assert os.path.sameopenfile(server.sockets[0].fileno(), declared.fileno())
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                return await reader.read()
            finally:
                writer.close()

    assert asyncio.run(scenario()) == b"hello"
    assert os.path.exists(path)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("os.remove(path)", id="remove"),
        pytest.param("os.unlink(os.fsencode(path))", id="bytes"),
        pytest.param("Path(path).unlink()", id="pathlib"),
    ],
)
def test_the_file_of_a_declared_socket_stays(declared: socket.socket, tmp_path: Path, how: str) -> None:
    """Other files go, also one in its place that is not a socket."""
    path, other = Path(declared.getsockname()), tmp_path / "other"
    other.touch()
    exec(how, globals(), {"path": str(path)})
    exec(how, globals(), {"path": str(other)})

    assert path.exists()
    assert not other.exists()
    other.touch()
    other.replace(path)
    exec(how, globals(), {"path": str(path)})
    assert not path.exists()


def test_what_can_remove_in_a_directory_says_so(declared: socket.socket, tmp_path: Path) -> None:
    """shutil asks for that, and is given the arguments and the errors that there were."""
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        assert os.unlink in os.supports_dir_fd
        os.unlink("declared", dir_fd=directory)
    finally:
        os.close(directory)
    with pytest.raises(FileNotFoundError):
        os.remove(declared.getsockname())
    with pytest.raises(TypeError):
        os.unlink(3)  # type: ignore[arg-type]
