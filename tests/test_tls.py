"""Certificates of a served application are read again when their files change: new connections have them, and nothing else notices."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from handover_helpers import asgi, children, start, status
from node_helpers import TIMEOUT, MakeNode, Node, Process, eventually, terminate
from tls_files import write_tls
from underway_runtime.apps.certificates import Certificate


class Files:
    """The files of TLS of a service, and certificates to put there, by serial number."""

    def __init__(self, directory: Path) -> None:
        self.place = directory / "live"
        self.place.mkdir()
        self._made = {serial: write_tls(directory / str(serial), serial=serial) for serial in (1, 2)}
        self.put(1)

    @property
    def options(self) -> dict[str, str]:
        return {"ssl_certfile": str(self.place / "crt"), "ssl_keyfile": str(self.place / "key")}

    def put(self, serial: int, *names: str) -> None:
        """Put files of a certificate in place, one by one, each whole."""
        for name in names or ("crt", "key"):
            shutil.copy(self._made[serial] / name, self.place / "new")
            (self.place / "new").replace(self.place / name)

    def damage(self, how: Callable[[Path], object]) -> None:
        """Do something to the certificate's file."""
        how(self.place / "crt")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def connection(port: int) -> http.client.HTTPSConnection:
    """One that trusts whoever answers."""
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=ssl._create_unverified_context())


def serial_of(connection: http.client.HTTPSConnection) -> int:
    """The number of the certificate that an open connection has been shown."""
    assert isinstance(connection.sock, ssl.SSLSocket)
    shown = connection.sock.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


def shown(port: int) -> int:
    """The number of the certificate that a new connection is shown; 0 where there is none."""
    asked = connection(port)
    try:
        asked.connect()
        return serial_of(asked)
    except OSError:
        return 0
    finally:
        asked.close()


def ask(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", "/")
    return connection.getresponse().read().decode()


@contextmanager
def served(make: MakeNode, files: Files, *libraries: str) -> Iterator[tuple[Node, Process, int]]:
    """A node that serves TLS, while the block runs; it ends well."""
    node = make(asgi(), libraries=("uvicorn", *libraries))
    node.configure(web={"server": {**files.options, "timeout_keep_alive": 300}}, underway_runtime={"drain_timeout": 2})
    keeper, port = start(node)
    yield node, keeper, port
    assert terminate(keeper)[0] == 0


@pytest.mark.parametrize(
    "libraries", [("uvloop",), pytest.param((), marks=pytest.mark.drill)], ids=["uvloop", "asyncio"]
)
def test_a_new_certificate_is_shown_to_new_connections(
    make: MakeNode, files: Files, libraries: tuple[str, ...]
) -> None:
    """In the same process, whatever loop it has; an open connection goes on, and what does not go together changes nothing."""
    with served(make, files, *libraries) as (node, keeper, port):
        before = status(node)
        assert before["certificates"]["web"].startswith(f"{files.place / 'crt'}, until 20")
        kept = connection(port)
        assert (ask(kept), serial_of(kept)) == ("1", 1)

        files.put(2, "crt")  # without its key
        eventually(lambda: any("can't be used for TLS" in line for line in vars(keeper)["said"]), "it is refused")
        assert shown(port) == 1
        said = node.run("status").stdout
        assert f"  certificate  web: {files.place / 'crt'}, until 20" in said
        assert "; what is there now can't be used: the key is not that of the certificate\n" in said

        files.put(2, "key")
        eventually(lambda: shown(port) == 2, "it is shown")

        assert (ask(kept), serial_of(kept)) == ("1", 1)
        assert "can't be used" not in node.run("status").stdout
        assert (status(node)["pid"], status(node)["starts"]) == (before["pid"], before["starts"])
        kept.close()
        lines = [line for line in vars(keeper)["said"] if "certificate" in line]
        assert len(lines) == 2, lines
        assert "the old certificate goes on: the key is not that of the certificate" in lines[0]
        assert f"web: new connections have the certificate that is in {files.place / 'crt'} now, until 20" in lines[1]


def test_a_reload_reads_certificates_too(make: MakeNode, files: Files) -> None:
    """SIGHUP starts the next interpreter, which reads them at once; with files that do not go together the old one runs on."""
    with served(make, files) as (node, keeper, port):
        before = status(node)["pid"]
        files.damage(lambda file: file.write_bytes(file.read_bytes()[:200]))
        keeper.send_signal(signal.SIGHUP)
        eventually(lambda: any("can't be loaded" in line for line in vars(keeper)["said"]), "it has failed")
        eventually(lambda: len(children(keeper)) == 1, "one node is left")
        assert (status(node)["pid"], shown(port)) == (before, 1)

        files.put(2)
        done = node.run("restart", "--graceful")

        assert done.returncode == 0, done.stderr
        assert (status(node)["pid"] != before, shown(port)) == (True, 2)


# ------------------------------------------------------------------------------------------------------- look by look


class Served:
    """A certificate as a server has it, and what was said of it."""

    def __init__(self, files: Files, **options: str) -> None:
        self.said: list[str] = []
        self.options = {**files.options, **options}
        self.read = 0
        self.certificate = Certificate("web", self.options, lambda message, error=None: self.said.append(message))
        self.context = self.certificate.shown(self._make(), self._make)
        self.read = 0

    def _make(self) -> ssl.SSLContext:
        self.read += 1
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        password = self.options.get("ssl_keyfile_password", " ")
        made.load_cert_chain(self.options["ssl_certfile"], self.options["ssl_keyfile"], password)
        return made

    def look(self) -> str:
        """Two looks; what is said at the second, which reads what has changed."""
        assert len(self.said) == 0
        self.certificate.look()
        assert self.said == []
        self.certificate.look()
        [line] = self.said
        self.said.clear()
        return line


def test_what_is_being_written_is_left_alone(files: Files) -> None:
    """Files are read when two looks have found the same, once, and not at all where nothing has changed."""
    web = Served(files)
    web.certificate.look()
    files.put(2, "crt")
    web.certificate.look()
    files.put(2, "key")
    web.certificate.look()
    assert (web.read, web.said) == (0, [])
    web.certificate.look()
    assert "new connections have" in web.said.pop()
    for _ in range(3):
        web.certificate.look()
    assert (web.read, web.said) == (1, [])


def gone(file: Path) -> Path:
    """Remove a file; its place."""
    file.unlink()
    return file


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "half written": (lambda file: os.truncate(file, 200), "they are not whole"),
    "empty": (lambda file: os.truncate(file, 0), "they are not whole"),
    "missing": (lambda file: file.unlink(), "can't be read: No such file or directory"),
    "a directory": (lambda file: gone(file).mkdir(), "is not a file"),
    "a FIFO": (lambda file: os.mkfifo(gone(file)), "is not a file"),
    "a loop of links": (lambda file: gone(file).symlink_to(file), "can't be read: Too many levels"),
    "an encrypted key": (lambda file: shutil.copy(file.parents[1] / "1/locked", file.with_name("key")), "encrypted"),
    "another's key": (lambda file: shutil.copy(file.parents[1] / "1/other", file.with_name("key")), "the key is not"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_can_t_be_used_is_said_once_and_the_old_goes_on(files: Files, damage: str) -> None:
    """Whatever is in the place of the files; what is put there afterwards is taken."""
    how, reason = DAMAGES[damage]
    web = Served(files)
    first = web.context.current
    files.damage(how)

    line = web.look()

    assert line.startswith(
        f"web: {files.place / 'crt'} and {files.place / 'key'} can't be used for TLS, the old certificate goes on: "
    )
    assert reason in line
    for _ in range(3):
        web.certificate.look()
    assert (web.said, web.context.current) == ([], first)
    shutil.rmtree(files.place)
    files.place.mkdir()
    files.put(2)
    assert "new connections have the certificate" in web.look()
    assert web.context.current is not first


def test_what_changes_while_it_is_read_is_read_again(files: Files) -> None:
    """What two writers have left is taken as one of them left it."""
    web = Served(files)
    make = web._make

    def meanwhile() -> ssl.SSLContext:
        made = make()
        files.put(1, "crt", "key")
        return made

    web.certificate.shown(web.context.current, meanwhile)
    first = web.context.current
    files.put(2)
    web.certificate.look()
    web.certificate.look()
    assert (web.said, web.context.current is first) == ([], True)


def test_a_password_that_is_configured_opens_the_next_key(files: Files) -> None:
    """A renewed key may be encrypted as the first one was."""
    web = Served(files, ssl_keyfile_password="s3cret")
    shutil.copy(files.place.parent / "2/locked", files.place / "key")
    files.put(2, "crt")
    assert "new connections have the certificate" in web.look()
