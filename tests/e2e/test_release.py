"""Real services become releases, are moved, and run as somebody else in an empty environment."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from ports import free_port
from projects import build, get, node_of, run, started

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534

GLIBC = re.compile(
    r"/(ld-linux[\w.-]*|ld-[\d.]+\.so|lib(c|m|dl|pthread|rt|util|resolv|anl|mvec|BrokenLocale|nss_\w+)(-[\d.]+)?\.so[\d.]*)$"
)
"""glibc's own libraries, which stay outside of a release."""

GLIBC_DATA = re.compile(r"^/usr/(lib|lib64)/(locale|[\w-]+/gconv)/")
"""Files that glibc itself maps: locales, and the cache of character set modules."""

MEMORY = re.compile("^/memfd:")
"""No file: memory that has a name, as newer versions of libffi have it."""


def copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("build", ".venv", "__pycache__", "*_cache"))
    return target


def moved(release: Path, home: Path) -> Path:
    """The release elsewhere, on a path with a space, its var/ owned by nobody, the rest by root."""
    home.parent.mkdir(parents=True)
    release.rename(home)
    (home / "var").mkdir()
    if os.geteuid() == 0:
        os.chown(home / "var", NOBODY, NOBODY)
    for directory in home.parents:
        if directory.stat().st_uid == os.geteuid() and directory != Path("/tmp"):
            directory.chmod(directory.stat().st_mode | 0o055)
    return home


def as_somebody_else(*command: str | Path) -> list[str | Path]:
    """The command as nobody, where we may change to that user."""
    if os.geteuid() != 0:
        return list(command)
    setpriv = shutil.which("setpriv")
    assert setpriv is not None
    return [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]


def mapped_outside(pid: int, home: Path) -> set[str]:
    """The files that a process has mapped and that are neither in the release nor glibc's."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    files = {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6}
    return {
        file
        for file in files
        if file.startswith("/")
        and not file.startswith(f"{home}/")
        and not GLIBC.search(file)
        and not GLIBC_DATA.search(file)
        and not MEMORY.search(file)
    }


def children(pid: int) -> list[int]:
    done = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False, timeout=30)
    return [int(line) for line in done.stdout.split()]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """examples/chat as a release that was moved."""
    scratch = tmp_path_factory.mktemp("chat")
    release = build(copied(ROOT / "examples/chat", scratch / "project"))
    home = moved(release, scratch / "else where/chat")
    shutil.rmtree(scratch / "project")
    return home


@pytest.fixture(scope="module")
def datasette(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int, Path]]:
    """datasette with its plugin as a release that was moved, running: its address, pid and place."""
    scratch = tmp_path_factory.mktemp("datasette")
    project = copied(ROOT / "tests/fixtures/datasette", scratch / "project")
    port = free_port()
    text = (project / "pyproject.toml").read_text()
    assert '"8001"' in text
    (project / "pyproject.toml").write_text(text.replace('"8001"', f'"{port}"'))
    home = moved(build(project), scratch / "else where/datasette")
    shutil.rmtree(project)
    with started(as_somebody_else(home / "bin/datasette-service", "start")) as process:
        url = f"http://127.0.0.1:{port}"
        get(f"{url}/-/versions.json", process)
        yield url, node_of(process), home


def chat_environment(port: int) -> dict[str, str]:
    return {"CHAT_LISTEN": f"tcp://127.0.0.1:{port}"}


@pytest.mark.e2e
@pytest.mark.needs_tool("setpriv", "util-linux")
def test_chat_serves_from_elsewhere_as_somebody_else(chat: Path) -> None:
    """A moved release serves HTTP and WebSockets in an empty environment and stops when told to."""
    port = free_port()
    with started(as_somebody_else(chat / "bin/chat", "start"), chat_environment(port)) as process:
        health = json.loads(get(f"http://127.0.0.1:{port}/health", process))
        node = node_of(process)
        with connect(f"ws://127.0.0.1:{port}/ws/lobby?name=ann", proxy=None) as socket:
            socket.send(json.dumps({"text": "hello"}))
            received = [json.loads(socket.recv(timeout=30))]
            while received[-1].get("text") != "hello":
                received.append(json.loads(socket.recv(timeout=30)))
        pid = run(as_somebody_else(chat / "bin/chat", "pid"))
        stopped = run(as_somebody_else(chat / "bin/chat", "stop"))

        assert health["pid"] == node
        assert pid.stdout.strip() == str(process.pid)
        assert stopped.returncode == 0, stopped.stderr
        assert process.wait(30) == 0


@pytest.mark.e2e
@pytest.mark.needs_tool("setpriv", "util-linux")
def test_a_release_that_serves_can_be_asked(chat: Path) -> None:
    """rpc and status, with the release's own interpreter and the loop that it serves with; what loops is interrupted."""
    port = free_port()
    command = chat / "bin/chat"
    with started(as_somebody_else(command, "start"), chat_environment(port)) as process:
        get(f"http://127.0.0.1:{port}/health", process)

        status = json.loads(run(as_somebody_else(command, "status", "--json")).stdout)
        loop = run(as_somebody_else(command, "rpc", "import asyncio; type(asyncio.get_running_loop()).__module__"))
        with started(as_somebody_else(command, "rpc", "print('in it')\nwhile True: pass")) as endless:
            assert endless.stdout is not None
            assert "in it" in str(endless.stdout.readline())
            endless.send_signal(signal.SIGINT)
            assert endless.wait(30) == 130
        health = json.loads(get(f"http://127.0.0.1:{port}/health", process))

        [manifest] = chat.glob("releases/*/manifest.json")
        assert status["release_id"] == json.loads(manifest.read_text())["release_id"]
        assert (status["pid"], status["keeper"]) == (health["pid"], process.pid)
        assert {app["name"]: app["state"] for app in status["applications"]}["chat"] == "running"
        assert loop.stdout == "'uvloop'\n", loop.stderr


@pytest.mark.e2e
@pytest.mark.needs_tool("setpriv", "util-linux")
def test_the_node_and_its_children_map_nothing_from_outside(chat: Path) -> None:
    """Every file that the node or a spawned child has mapped is in the release, but glibc's own."""
    port = free_port()
    code = (
        "import multiprocessing, os, ssl, sqlite3, ctypes, lzma, bz2, zlib, readline, uuid, hashlib, decimal\n"
        "child = multiprocessing.get_context('spawn').Process(target=input, args=())\n"
        "from multiprocessing import spawn\n"
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import ssl, sqlite3, chat.web; print(open(\"/proc/self/maps\").read())'],"
        " stdout=subprocess.PIPE, text=True)\n"
        "print(p.communicate()[0]); print(open('/proc/self/maps').read())\n"
    )
    with started(as_somebody_else(chat / "bin/chat", "start"), chat_environment(port)) as process:
        get(f"http://127.0.0.1:{port}/health", process)

        assert mapped_outside(node_of(process), chat) == set()
        assert mapped_outside(process.pid, chat) == set()

    maps = run(as_somebody_else(chat / "bin/chat", "eval", code))
    assert maps.returncode == 0, maps.stderr
    files = {line.split(maxsplit=5)[5] for line in maps.stdout.splitlines() if len(line.split(maxsplit=5)) == 6}
    outside = {
        f
        for f in files
        if f.startswith("/")
        and not f.startswith(f"{chat}/")
        and not any(allowed.search(f) for allowed in (GLIBC, GLIBC_DATA, MEMORY))
    }
    assert outside == set()
    assert any("libssl" in f for f in files), "the test looked at something"


@pytest.mark.e2e
@pytest.mark.needs_tool("setpriv", "util-linux")
def test_modules_are_found_through_the_listing(chat: Path) -> None:
    """Applications and the standard library are imported from the pycs that the build listed."""
    code = "import asyncio, chat.web, fastapi, json; print([type(m.__loader__).__name__ for m in (asyncio, chat.web, fastapi, json)])"

    told = run(as_somebody_else(chat / "bin/chat", "eval", code))

    assert (told.stdout, told.stderr) == (f"{['ListedLoader'] * 4}\n", "")


@pytest.mark.e2e
@pytest.mark.needs_tool("setpriv", "util-linux")
def test_datasette_lists_its_plugin(datasette: tuple[str, int, Path]) -> None:
    """A plugin that is found by entry point is in the release; PyInstaller loses it silently."""
    url, pid, home = datasette

    assert [plugin["name"] for plugin in json.loads(get(f"{url}/-/plugins.json"))] == ["datasette-vega"]
    assert mapped_outside(pid, home) == set()


def script(home: Path) -> tuple[Path, dict[str, Any]]:
    [file] = home.glob("releases/*/start.script")
    return file, json.loads(file.read_text())


@pytest.fixture
def own_copy(chat: Path, tmp_path: Path) -> Path:
    """A copy of chat whose boot script a test may edit."""
    return Path(shutil.copytree(chat, tmp_path / "chat", symlinks=True, copy_function=os.link))


def edit(home: Path, document: dict[str, Any]) -> None:
    file, _ = script(home)
    file.unlink()  # it is a hard link
    file.write_text(json.dumps(document))


@pytest.mark.e2e
def test_an_application_whose_mode_is_edited_away_does_not_start(own_copy: Path) -> None:
    """The boot obeys start.script: without its start instruction chat does not listen, and the node is idle."""
    _, document = script(own_copy)
    document["instructions"] = [i for i in document["instructions"] if i.get("start") != "chat"]
    edit(own_copy, document)
    port = free_port()

    done = run(["/usr/bin/timeout", "-s", "TERM", "5", own_copy / "bin/chat", "start"], chat_environment(port))

    assert f":{port}" not in done.stderr + done.stdout


@pytest.mark.e2e
def test_an_order_that_can_not_work_stops_the_boot(own_copy: Path) -> None:
    """An application before what it requires is an error that names both."""
    _, document = script(own_copy)
    starts = [i for i in document["instructions"] if "start" in i and "load" not in i]
    rest = [i for i in document["instructions"] if i not in starts]
    document["instructions"] = [*starts, *rest]
    edit(own_copy, document)

    done = run([own_copy / "bin/chat", "start"], chat_environment(free_port()))

    assert done.returncode == 1
    assert "Traceback" not in done.stderr


@pytest.mark.e2e
def test_a_deleted_boot_script_stops_the_boot(own_copy: Path) -> None:
    """Without start.script nothing starts, and the error names it and the way out."""
    file, _ = script(own_copy)
    file.unlink()

    done = run([own_copy / "bin/chat", "start"], chat_environment(free_port()))

    assert done.returncode == 1
    assert "start.script is missing" in done.stderr
    assert "Traceback" not in done.stderr
