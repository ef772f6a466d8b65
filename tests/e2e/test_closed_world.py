"""Releases run where there is nothing but themselves, glibc and a shell, as a user without a name, from read-only code."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from bare_root import RELEASE, SBIN, USER, BareRoot, bare_root
from binaries import library
from ports import free_port
from projects import build, get, node_of, started
from wheels import locked_project, write_wheel

ROOT = Path(__file__).resolve().parents[2]


def namespaces() -> bool:
    """Whether this process may make a mount namespace."""
    command = ["unshare", "--mount", "true"]
    try:
        return subprocess.run(command, env={"PATH": SBIN}, capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False


pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs_tool("dash", "dash"),
    pytest.mark.needs_tool("unshare", "util-linux"),
    pytest.mark.skipif(os.geteuid() != 0 or not namespaces(), reason="needs root and namespaces"),
]


def released(project: Path, scratch: Path, change: Mapping[str, str] | None = None) -> Path:
    """The release of a copy of a project, which is gone afterwards."""
    copy = scratch / "project"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("build", ".venv", "__pycache__", "*_cache"))
    for old, new in (change or {}).items():
        text = (copy / "pyproject.toml").read_text()
        assert old in text
        (copy / "pyproject.toml").write_text(text.replace(old, new))
    scratch.chmod(0o755)
    release = build(copy).rename(scratch / "release")
    shutil.rmtree(copy)
    return release


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """examples/chat as a release."""
    return released(ROOT / "examples/chat", tmp_path_factory.mktemp("chat"))


@pytest.fixture
def bare(chat: Path, tmp_path: Path) -> BareRoot:
    """A root with nothing but chat in it."""
    return bare_root(tmp_path / "root", chat)


def evaluate(root: BareRoot, name: str, code: str, env: Mapping[str, str] | None = None) -> Any:
    """What code prints, as JSON, that is run by ``bin/NAME eval``."""
    done = subprocess.run(
        root.command(RELEASE / "bin" / name, "eval", code, env=env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def outside(pid: int) -> set[str]:
    """The names of files that a process has mapped from elsewhere than the release."""
    lines = [line.split(None, 5) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    files = {Path(line[5]) for line in lines if len(line) == 6 and "/" in line[5]}
    root = Path(f"/proc/{pid}/root{RELEASE}")
    inside = {(entry.stat().st_dev, entry.stat().st_ino) for entry in root.rglob("*") if entry.is_file()}
    mapped = {(_device(line[3]), int(line[4])): Path(line[5]) for line in lines if len(line) == 6 and int(line[4])}
    assert files, "the test looked at something"
    return {path.name for key, path in mapped.items() if key not in inside}


def _device(text: str) -> int:
    major, minor = (int(part, 16) for part in text.split(":"))
    return os.makedev(major, minor)


def test_chat_serves(bare: BareRoot) -> None:
    """HTTP and WebSockets, then a stop; of all that is mapped only glibc is not the release's."""
    port = free_port()
    command = bare.command(RELEASE / "bin/chat", "start", env={"CHAT_LISTEN": f"tcp://127.0.0.1:{port}"})
    with started(command) as process:
        health = json.loads(get(f"http://127.0.0.1:{port}/health", process))
        with connect(f"ws://127.0.0.1:{port}/ws/lobby?name=ann", proxy=None) as websocket:
            websocket.send(json.dumps({"text": "hello"}))
            received = [json.loads(websocket.recv(timeout=30))]
            while received[-1].get("text") != "hello":
                received.append(json.loads(websocket.recv(timeout=30)))
        node = node_of(process)
        mapped = outside(node) | outside(process.pid)
        owner = os.stat(f"/proc/{node}").st_uid
        stop = subprocess.run(bare.command(RELEASE / "bin/chat", "stop"), timeout=60, check=False)

        assert process.wait(30) == 0
        assert stop.returncode == 0
    assert health["pid"] == node
    assert owner == USER
    assert {name.partition(".so")[0] for name in mapped} <= {
        "libc",
        "libm",
        "libdl",
        "libpthread",
        "librt",
        "ld-linux-x86-64",
        "anon_inode:[io_uring]",
    }


def test_datasette_serves_with_its_plugin(tmp_path: Path) -> None:
    """What is found by entry points is found; nothing but var/ is written."""
    port = free_port()
    release = released(ROOT / "tests/fixtures/datasette", tmp_path, {'"8001"': f'"{port}"'})
    root = bare_root(tmp_path / "root", release)
    with started(root.command(RELEASE / "bin/datasette-service", "start")) as process:
        plugins = json.loads(get(f"http://127.0.0.1:{port}/-/plugins.json", process))
        rows = json.loads(get(f"http://127.0.0.1:{port}/_memory.json?sql=select+1%2B1+as+two&_shape=array", process))

    assert [plugin["name"] for plugin in plugins] == ["datasette-vega"]
    assert rows == [{"two": 2}]


BATTERY = """
import ctypes, datetime, json, multiprocessing, os, sqlite3, subprocess, sys, zoneinfo

noon = datetime.datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("America/New_York"))
context = multiprocessing.get_context("spawn")
mine, its = context.Pipe()
child = context.Process(target=its.send, args=({"from": "child"},))
child.start()
sent = mine.recv()
child.join(30)
database = sqlite3.connect(os.environ["RELEASE_VAR"] + "/x.db")
libc, thread = ctypes.CDLL(None), ctypes.c_ulong()
libc.pthread_create(ctypes.byref(thread), None, libc.pthread_exit, None)
libc.pthread_join(thread, None)
print(json.dumps({
    "sqlite": database.execute("select json_extract('[1, 2]', '$[1]')").fetchone(),
    "zoneinfo": [noon.astimezone(zoneinfo.ZoneInfo("Asia/Kolkata")).isoformat(), len(zoneinfo.available_timezones())],
    "subprocess": subprocess.run("echo $((6 * 7))", shell=True, capture_output=True, text=True).stdout,
    "python": subprocess.run([sys.executable, "-c", "import chat.web; print(chat.__name__)"], capture_output=True, text=True).stdout,
    "multiprocessing": [sent, child.exitcode],
    "ctypes": [ctypes.CDLL(None).getpid() == os.getpid(), ctypes.CDLL("libz.so.1").zlibVersion is not None],
    "files": sorted(os.listdir("/")),
    "user": os.getuid(),
}))
"""


def test_what_services_use_works(bare: BareRoot) -> None:
    """sqlite, zoneinfo, subprocesses, spawned processes, ctypes, and threads that end as C's do."""
    said = evaluate(bare, "chat", BATTERY)

    assert said.pop("zoneinfo")[0] == "2026-07-01T21:30:00+05:30"
    assert said == {
        "sqlite": [2],
        "subprocess": "42\n",
        "python": "chat\n",
        "multiprocessing": [{"from": "child"}, 0],
        "ctypes": [True, True],
        "files": ["bin", "dev", "lib64", "proc", "srv", "usr", "var"],
        "user": USER,
    }


def test_semaphores_need_shared_memory_as_everywhere(bare: BareRoot) -> None:
    """Locks, queues and pools of multiprocessing are glibc's semaphores, which are files in /dev/shm."""
    (bare.root / "dev/shm").mkdir()
    (bare.root / "dev/shm").chmod(0o1777)
    code = (
        "import json, multiprocessing as m; pool = m.get_context('spawn').Pool(2);"
        "print(json.dumps(pool.map(abs, [-1, -2]))); pool.close(); pool.join()"
    )

    assert evaluate(bare, "chat", code) == [1, 2]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the certificate of an authority, and of a server on 127.0.0.1 that it vouches for."""
    place = tmp_path_factory.mktemp("authority")
    (place / "server.ext").write_text("subjectAltName=IP:127.0.0.1\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]  # which OpenSSL of Debian sid asks for
    for command in (
        ["req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA", "-days", "2", *usage],
        ["req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server"],
        [
            *[
                "x509",
                "-req",
                "-in",
                "server.csr",
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
                "-days",
                "2",
            ],
            "-extfile",
            "server.ext",
            "-out",
            "server.pem",
        ],
    ):
        subprocess.run(["openssl", *command], cwd=place, check=True, capture_output=True, timeout=30)
    return place


@contextmanager
def tls_server(authority: Path) -> Iterator[str]:
    """The address of a server that greets each caller over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # it was closed: the test is over
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.settimeout(30)
                    secured.recv(4096)
                    secured.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello")
            except OSError:
                connection.close()  # who does not trust us hangs up

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.join(30)


ASK = """
import json, sys, urllib.request
try:
    print(json.dumps(urllib.request.urlopen(sys.argv[1], timeout=30).read().decode()))
except OSError as error:
    print(json.dumps(str(error)))
"""


@pytest.mark.needs_tool("openssl", "openssl")
def test_tls_requests_are_verified(bare: BareRoot, authority: Path) -> None:
    """By the authorities that SSL_CERT_FILE names, or the host has in any usual place; with none, no server is trusted."""
    with tls_server(authority) as url:
        code = ASK.replace("sys.argv[1]", repr(url))
        nobody = evaluate(bare, "chat", code)
        shutil.copyfile(authority / "ca.pem", bare.var / "ca.pem")
        named = evaluate(bare, "chat", code, {"SSL_CERT_FILE": "/var/release/ca.pem"})
        store = bare.root / "etc/pki/tls/certs/ca-bundle.crt"
        store.parent.mkdir(parents=True)
        shutil.copyfile(authority / "ca.pem", store)
        found = evaluate(bare, "chat", code)

    assert "CERTIFICATE_VERIFY_FAILED" in nobody
    assert named == found == "hello"


def test_a_host_that_is_too_old_is_told_so(bare: BareRoot, chat: Path, tmp_path: Path) -> None:
    """The launcher compares glibc before anything of the release is loaded."""
    copy = Path(shutil.copytree(chat, tmp_path / "copy", symlinks=True, copy_function=os.link))
    [needs] = copy.glob("releases/*/glibc")
    floor, loader = needs.read_text().split()
    [manifest] = copy.glob("releases/*/manifest.json")
    assert json.loads(manifest.read_text())["glibc"] == floor
    needs.unlink()  # it is a hard link
    needs.write_text(f"2.99 {loader}\n")

    done = subprocess.run(
        bare_root(tmp_path / "other", copy).command(RELEASE / "bin/chat", "start"),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert "error: this release needs glibc 2.99 or later, and this host has 2." in done.stderr


HIGH = """
import ctypes, pathlib
answer = ctypes.CDLL(str(pathlib.Path(__file__).with_name("core.so"))).core_so()

def main():
    print(answer, flush=True)
"""


@pytest.mark.needs_tool("gcc", "gcc")
def test_wheels_that_look_for_each_other_find_each_other(tmp_path: Path) -> None:
    """A binary that is linked by a relative path with another distribution's loads it, as torch does nvidia's."""
    made = tmp_path / "made"
    low = library(made / "vendor/low/lib/liblow.so.1")
    core = library(made / "high/core.so", low, runpath="$ORIGIN/../vendor/low/lib")
    files = [
        write_wheel(
            tmp_path / "wheels",
            "vendor-low",
            {"vendor/low/lib/liblow.so.1": low.read_bytes(), "vendor/low/__init__.py": ""},
        ),
        write_wheel(tmp_path / "wheels", "high", {"high/core.so": core.read_bytes(), "high/__init__.py": HIGH}),
    ]
    project = locked_project(tmp_path / "service", files)
    with (project / "pyproject.toml").open("a") as toml:
        toml.write('[tool.underway]\nmain = "high:main"\n')
    release = build(project)
    shutil.rmtree(made)
    tmp_path.chmod(0o755)
    root = bare_root(tmp_path / "root", release.rename(tmp_path / "release"))

    [home] = (tmp_path / "release/lib").glob("high-1.0+*")
    said = evaluate(
        root,
        "service",
        "import high, json, vendor.low; from importlib import metadata as m;"
        "print(json.dumps([high.answer, high.__file__, vendor.low.__file__, m.version('vendor-low'), m.version('high')]))",
    )

    assert said == [
        2,
        f"{RELEASE}/lib/{home.name}/high/__init__.py",
        f"{RELEASE}/lib/{home.name}/vendor/low/__init__.py",
        "1.0",
        "1.0",
    ]


@pytest.mark.drill
@pytest.mark.timeout(600)
def test_science_serves(tmp_path: Path) -> None:
    """numpy, pandas and pyarrow, with the C++ library that they need, answer over HTTP."""
    release = released(ROOT / "tests/fixtures/science", tmp_path)
    root = bare_root(tmp_path / "root", release)
    port = free_port()
    command = root.command(RELEASE / "bin/science", "start", env={"SCIENCE_LISTEN": f"tcp://127.0.0.1:{port}"})
    with started(command) as process:
        means = json.loads(get(f"http://127.0.0.1:{port}/means", process))
        table = get(f"http://127.0.0.1:{port}/table", process)
        mapped = outside(node_of(process))

    assert means["means"].keys() == {"north", "south", "west"}
    assert means["blas"] == 450.0
    assert table.count("\n") == 1000
    assert not {name for name in mapped if name.startswith(("libstdc++", "libgcc_s"))}
