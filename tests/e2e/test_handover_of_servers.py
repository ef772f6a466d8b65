"""Services as they are, built and upgraded for real under clients that never retry: servers of their own, a C extension
that changes, an interpreter that changes."""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from code_server_helpers import installed
from conftest import Count
from handover_helpers import LONGER, PAUSES, Served, clients
from node_helpers import TIMEOUT, eventually
from ports import free_port
from projects import build, get, node_of, run, write_project
from sources import source
from underway_runtime.process.process_table import children

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1_200)]

NAME = "shop"


class Builder:
    """Versions of one service, built with their archives."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.port = free_port()

    def add(
        self,
        version: str,
        module: str,
        *dependencies: str,
        tool: str = 'main = "shop:main"\nlisten = ["tcp://127.0.0.1:PORT"]\n',
        config: str = "",
        python: Path | None = None,
    ) -> None:
        """Build a version of a module of tests/projects/shop, which is told its version and the port."""
        project = write_project(
            self.place / version,
            f"[tool.underway]\n{tool}".replace("PORT", str(self.port)),
            {
                "src/shop/__init__.py": source(f"shop/v1/{module}.py"),
                "src/shop/version.py": f'VERSION = "{version}"\nPORT = {self.port}\n',
                **({"config/config.py": config.replace("PORT", str(self.port))} if config else {}),
            },
            name=NAME,
            version=version,
            dependencies=dependencies,
        )
        build(project, *(("--python", python) if python else ()))

    def host(self, place: Path, first: str, *others: str) -> Host:
        """A host where the first version is installed, and the others have been unpacked."""
        host = Host(place / NAME, self.port)
        shutil.copytree(self.place / first / "build/release" / NAME, host.root, symlinks=True)
        for version in others:
            archive = self.place / version / f"build/release/{NAME}-{version}.tar.zst"
            host.run("unpack", archive, "--sha256", hashlib.sha256(archive.read_bytes()).hexdigest())
        return host


class Host:
    """Where a service runs."""

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        self.port = port
        self.log = root.parent / "log"

    def run(self, *arguments: str | Path, status: int = 0, env: Mapping[str, str] | None = None) -> str:
        """Run bin/NAME; what it says."""
        done = run([self.root / "bin" / NAME, *arguments], env)
        assert done.returncode == status, (
            done.stderr + done.stdout + (self.log.read_text() if self.log.exists() else "")
        )
        return done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status", "--json"))
        return found

    @contextmanager
    def started(self, **environ: str) -> Iterator[subprocess.Popen[str]]:
        """The keeper, while the service runs; it ends well."""
        with self.log.open("w") as log:
            command = [str(self.root / "bin" / NAME), "start"]
            process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, text=True, cwd="/")
        try:
            eventually(lambda: process.poll() is not None or self.answers(), "it listens")
            yield process
            process.terminate()
            assert process.wait(60) == 0, self.log.read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def upgrade(self, keeper: subprocess.Popen[str], version: str, served: Served) -> None:
        """Upgrade, see that the version answers, and that of the one before no process is left."""
        before = [node_of(keeper), *self.status()["children"]]
        said = self.run("upgrade", version)
        assert f"{version} runs (pid {node_of(keeper)})" in said
        eventually(lambda: served.answers[-1:] and served.answers[-1].split()[0] == version, f"{version} answers")
        assert [pid for pid in before if Path(f"/proc/{pid}").exists()] == []


def there_and_back(
    host: Host, versions: Sequence[str], upgrades: int, *, pauses: Sequence[float] = LONGER, **environ: str
) -> set[str]:
    """Upgrade from version to version, from the first on, while clients ask; all that was answered."""
    with host.started(**environ) as keeper, clients(host.port, 6, short=2, pauses=pauses) as served:
        for number in range(1, upgrades + 1):
            host.upgrade(keeper, versions[number % len(versions)], served)
    assert served.failures == [], host.log.read_text()
    return set(served.answers)


# ------------------------------------------------------------------------------------- servers that bind by themselves


@pytest.fixture(scope="module")
def gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Flask in gunicorn with two workers; between the versions a dependency with a C extension changes too."""
    builder = Builder(tmp_path_factory.mktemp("gunicorn"))
    for version, extension in (("1.0", "3.0.2"), ("1.1", "3.0.3")):
        builder.add(version, "gunicorn_workers", "flask", "gunicorn", f"markupsafe=={extension}")
    return builder


@pytest.mark.parametrize(
    ("worker", "pauses"),
    [
        ("sync", LONGER),
        # A worker that stops keeps idle connections for 2 s, see docs/reference/applications.md.
        pytest.param("gthread", PAUSES, marks=pytest.mark.drill),
    ],
    ids=["sync", "gthread"],
)
def test_gunicorn_and_a_c_extension(
    gunicorn: Builder, tmp_path: Path, count: Count, worker: str, pauses: Sequence[float]
) -> None:
    """Each answer is of the old or the new version, with the C code that this version has, and none fails."""
    host = gunicorn.host(tmp_path, "1.0", "1.1")
    answers = there_and_back(host, ["1.0", "1.1"], count(3, 20), pauses=pauses, WORKER=worker)

    assert answers == {"1.0 markupsafe-3.0.2 &lt;", "1.1 markupsafe-3.0.3 &lt;"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """A server made with asyncio.start_server."""
    builder = Builder(tmp_path_factory.mktemp("asyncio"))
    for version in ("1.0", "1.1"):
        builder.add(version, "asyncio_streams", "uvloop")
    return builder


@pytest.mark.drill
@pytest.mark.parametrize(
    "style", [*(pytest.param(each, marks=pytest.mark.drill) for each in ("plain", "graceful")), "uvloop"]
)
def test_an_asyncio_server(plain: Builder, tmp_path: Path, count: Count, style: str) -> None:
    """One that was never told how to stop, one that keeps connections and ends well at SIGTERM, the same in uvloop."""
    answers = there_and_back(plain.host(tmp_path, "1.0", "1.1"), ["1.0", "1.1"], count(2, 20), STYLE=style)

    assert answers == {"1.0", "1.1"}


@pytest.fixture(scope="module")
def undeclared(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """A server that binds an address and declares none."""
    builder = Builder(tmp_path_factory.mktemp("undeclared"))
    for version in ("1.0", "1.1"):
        builder.add(version, "undeclared", tool='main = "shop:main"\n')
    return builder


def test_what_is_not_declared_is_closed_for_a_moment(undeclared: Builder, tmp_path: Path) -> None:
    """status and check name the address, of a socket file too; the next version binds it when the one before has let go."""
    host = undeclared.host(tmp_path, "1.0", "1.1")
    here = f"tcp://127.0.0.1:{host.port}"
    file = tmp_path / "a.sock"
    with host.started(SOCKET=str(file)) as keeper:
        for version in ("1.1", "1.0"):
            assert host.status()["not_handed_over"] == [here, f"unix://{file}"]
            assert f"not handed over: {here}, unix://{file}\n" in host.run("status")
            assert f"{here} is not handed over: it would be closed for a moment\n" in host.run("check", version)
            said = host.run("upgrade", version)
            assert f"{version} runs (pid {node_of(keeper)})" in said
            assert eventually(lambda: served_by(host.port), "it listens again") == version
            assert file.exists()


def served_by(port: int) -> str:
    """What a server answers; nothing while it is not there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except OSError:
        return ""
    finally:
        connection.close()


# ------------------------------------------------------------------------------------------- another interpreter follows

ENTRY = """
[project.entry-points."underway.application"]
shop = "shop:App"
"""

INTERPRETERS = [each.values[0] for each in installed() if each.values[0] is not None]


@pytest.mark.skipif(len(INTERPRETERS) < 2, reason="there is one interpreter here")
@pytest.mark.parametrize(
    "other",
    [
        *INTERPRETERS[-1:],
        *(pytest.param(each, marks=pytest.mark.drill) for each in INTERPRETERS[1:-1]),
    ],
)
def test_the_interpreter_changes(tmp_path: Path, count: Count, other: Path) -> None:
    """No request fails, state is carried; the keeper stays what it was, and what it runs from can't be removed."""
    builder = Builder(tmp_path / "built")
    for version, python in (("1.0", INTERPRETERS[0]), ("1.1", other)):
        builder.add(
            version,
            "tally",
            tool=ENTRY,
            python=python,
            config='from underway_runtime import config\nconfig("shop", listen=["tcp://127.0.0.1:PORT"])\n',
        )
    host = builder.host(tmp_path, "1.0", "1.1")
    first, second = (host.run("eval", VERSION_OF, env={"RELEASE_VSN": each}).strip() for each in ("1.0", "1.1"))
    assert first != second
    history = []
    with host.started() as keeper:
        of_keeper = Path(f"/proc/{keeper.pid}/exe").readlink()
        with clients(host.port, 6, short=2, pauses=LONGER) as served:
            for number in range(1, count(2, 20) + 1):
                history.append(f"1.{1 - number % 2} {(first, second)[1 - number % 2]}")
                host.upgrade(keeper, f"1.{number % 2}", served)
                assert get(f"http://127.0.0.1:{host.port}/before") == ", ".join(history)
        assert (served.failures, set(served.answers)) == ([], {f"1.0 {first}", f"1.1 {second}"}), host.log.read_text()
        host.run("upgrade", "1.1")
        assert Path(f"/proc/{keeper.pid}/exe").readlink() == of_keeper
        refused = host.run("remove", "1.0", status=1)
        assert "the keeper, which was started with it, runs from lib/underway_runtime-" in refused
        assert f" and python-{first}; stop and start once" in refused
        before = node_of(keeper)
        keeper.send_signal(signal.SIGHUP)
        eventually(lambda: before not in children(keeper.pid), "a handover to the same version")
        assert host.status()["version"] == "1.1"
    with host.started():
        assert "removed" in host.run("remove", "1.0")
        assert served_by(host.port) == f"1.1 {second}"
    assert [each.name for each in host.root.glob("python-*")] == [f"python-{second}"]


VERSION_OF = "import platform; print(platform.python_version())"
