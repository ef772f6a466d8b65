"""A newer version comes to a host where the older one runs, is run, committed, and gone back from; all by bin/NAME."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from node_helpers import eventually
from projects import build, run, started, underway, write_project

MAIN = """\
import signal
WORD = {version!r}
def main():
    print("ready", flush=True)
    signal.sigwait([signal.SIGTERM])
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hello-1.0 and 1.1 as releases with their interpreter, the archive of 1.1, and the delta to it."""
    place = tmp_path_factory.mktemp("built")
    for version in ("1.0", "1.1"):
        project = write_project(place / version, version=version)
        (project / "src/hello/__init__.py").write_text(MAIN.format(version=version))
        shutil.move(build(project).parent, place / f"release-{version}")
    roots = (place / "release-1.0/hello", place / "release-1.1/hello")
    done = underway("delta", *roots, "--output", place / "hello-1.0-1.1.delta", cwd=place)
    assert done.returncode == 0, done.stderr
    return place


def hello(root: Path, *arguments: str, status: int = 0, env: Mapping[str, str] | None = None) -> str:
    """What a command says."""
    done = run([root / "bin/hello", *arguments], env)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def states(root: Path) -> dict[str, Any]:
    return {one["version"]: one["state"] for one in json.loads(hello(root, "releases", "--json"))}


def wait_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line == "ready\n":
            return
    raise AssertionError("it ended before it was ready")


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_there_and_back_on_a_host(built: Path, tmp_path: Path) -> None:
    """By a delta, next to the running node, which goes on; what runs uncommitted is current, and a restart forgets it."""
    root = tmp_path / "hello"
    shutil.copytree(built / "release-1.0/hello", root, symlinks=True)
    (root / "var/incoming").mkdir(parents=True)
    delta = Path(shutil.copy(built / "hello-1.0-1.1.delta", root / "var/incoming"))
    digest = hashlib.sha256(delta.read_bytes()).hexdigest()

    with started([root / "bin/hello", "start"]) as node:
        wait_ready(node)
        assert states(root) == {"1.0": "permanent"}
        assert "1.1 is unpacked" in hello(root, "unpack", "1.1", "--sha256", digest)
        assert states(root) == {"1.0": "permanent", "1.1": "unpacked"}
        assert hello(root, "check", "1.1") == (
            "1.1 would take over from 1.0 by handover\n  drains   hello within 30 s\n"
        )
        assert "install it first" in hello(root, "commit", "1.1", status=1)
        assert "it is the permanent one" in hello(root, "remove", "1.0", status=1)
        assert hello(root, "version") == "hello 1.0\n"
        hello(root, "stop")
    with started([root / "bin/hello", "start"], {"RELEASE_VSN": "1.1"}) as node:
        wait_ready(node)
        assert states(root) == {"1.0": "permanent", "1.1": "current"}
        assert "it runs" in hello(root, "remove", "1.1", status=1)
        node.kill()  # the keeper, whose node ends when it has noticed
        eventually(lambda: states(root) == {"1.0": "permanent", "1.1": "unpacked"}, "its node to end")
    with started([root / "bin/hello", "start"], {"RELEASE_VSN": "1.1"}) as node:
        wait_ready(node)
        assert hello(root, "commit") == "1.1 is permanent; 1.0 is old\n"
        assert hello(root, "version") == "hello 1.1\n"
        hello(root, "rollback")
        assert hello(root, "commit") == "1.0 is permanent already\n"
        hello(root, "install", "1.1", "--again")
        assert hello(root, "commit") == "1.1 is permanent; 1.0 is old\n"
        assert "removed" in hello(root, "remove", "1.0")
        assert hello(root, "eval", "import hello; print(hello.WORD)") == "1.1\n"
        assert ", ok" in hello(root, "verify")
        hello(root, "stop")
    [left] = (root / "lib").glob("hello-*")
    assert left.name.startswith("hello-1.1-py")
    (root / "var/start.data").write_text("")
    assert "start.data does not say what to boot" in hello(root, "version", status=1)
    hello(root, "create-releases", "--permanent", "1.1", env={"RELEASE_VSN": "1.1"})
    assert hello(root, "version") == "hello 1.1\n"


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_two_at_once_do_what_one_does(built: Path, tmp_path: Path) -> None:
    """Of several that unpack the same at the same time, none harms the other: each has done it, found it done, or ends with 75."""
    root, archive = tmp_path / "hello", built / "release-1.1/hello-1.1.tar.zst"
    shutil.copytree(built / "release-1.0/hello", root, symlinks=True)
    command = [
        str(root / "bin/hello"),
        "unpack",
        str(archive),
        "--sha256",
        hashlib.sha256(archive.read_bytes()).hexdigest(),
    ]

    several = [subprocess.Popen(command, env={}, text=True, stderr=subprocess.PIPE) for _ in range(4)]
    said = [process.communicate(timeout=120)[1] for process in several]

    statuses = sorted(process.returncode for process in several)
    assert set(statuses) <= {0, 75}, said
    assert statuses[0] == 0
    assert all(
        ("has been running for" in text or "is running" in text)
        for process, text in zip(several, said, strict=True)
        if process.returncode
    )
    assert states(root) == {"1.0": "permanent", "1.1": "unpacked"}
    assert ", ok" in hello(root, "verify", env={"RELEASE_VSN": "1.1"})


@pytest.mark.e2e
@pytest.mark.skipif(os.geteuid() != 0, reason="needs to change to another user")
@pytest.mark.needs_tool("setpriv", "util-linux")
def test_the_service_s_own_user_changes_nothing(built: Path, tmp_path: Path) -> None:
    """Who runs the code may not replace it; the message names the owner."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="underway-") as scratch:
        os.chmod(scratch, 0o755)
        root = Path(scratch, "hello")
        shutil.copytree(built / "release-1.0/hello", root, symlinks=True)
        (root / "var").mkdir()
        os.chown(root / "var", 65534, 65534)
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(root / "bin/hello")]
        path = {"PATH": os.environ["PATH"]}

        done = run([*other, "unpack", "1.1"], path)

        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"error: {root} belongs to root, who alone changes its releases; try `sudo -u root`\n"
        assert run([*other, "releases"], path).returncode == 0


@pytest.mark.sample(most=1)
@pytest.mark.e2e
@pytest.mark.parametrize(
    "closed", ["<&- >&- 2>&-", *(pytest.param(each, marks=pytest.mark.drill) for each in ("<&-", ">&-", "2>&-"))]
)
@pytest.mark.parametrize("what", ["release-1.1/hello-1.1.tar.zst", "hello-1.0-1.1.delta"])
def test_what_arrives_is_unpacked_whatever_its_caller_has_closed(
    built: Path, tmp_path: Path, what: str, closed: str
) -> None:
    """An archive and a delta, of a caller without descriptors 0 to 2: true statuses, and each file is as it was built."""
    root, file = tmp_path / "hello", built / what
    shutil.copytree(built / "release-1.0/hello", root, symlinks=True)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    def hello_closed(*words: str | Path) -> int:
        return run(["/bin/sh", "-c", f'exec "$@" {closed}', "sh", root / "bin/hello", *words]).returncode

    assert hello_closed("unpack", file, "--sha256", "0" * 64) == 1
    assert hello_closed("unpack", file, "--sha256", digest) == 0
    assert hello_closed("check", "1.1") in (0, 1)
    assert hello_closed("upgrade", "1.1") == 0
    assert hello(root, "version") == "hello 1.1\n"
    assert "ok" in hello(root, "verify")
