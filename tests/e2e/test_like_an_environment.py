"""Packages that do unusual things when they are imported find in a release what they find in a virtual environment."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ports import free_port
from projects import ENVIRONMENT, TIMEOUT, build, get, run, started, underway, uv, write_project
from sources import source

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

NEEDS = [
    *("setuptools<81", "pluggy", "stevedore", "pbr", "py", "sh", "six", "apipkg", "lazy-loader", "certifi", "pytz"),
    *("babel", "jsonschema", "repoze.lru", "zope.interface", "zope.event", "sqlalchemy", "importlib-metadata"),
    *("importlib-resources", "gevent", "gunicorn", "requests"),
]

SERVE = """
from gevent import monkey
monkey.patch_all()
import os, sys
from gevent.pywsgi import WSGIServer

def app(environ, start):
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"patched"]

if __name__ == "__main__":
    WSGIServer(("127.0.0.1", int(os.environ["PORT"])), app, log=None).serve_forever()
"""

ZOO = source("zoo/v1/zoo.py")

APPLICATION = """
def app(environ, start):
    import threading
    from gevent import monkey
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"patched" if monkey.is_module_patched("threading") else b"plain"]
"""

RUNTIME = """
import os, sys
from underway_runtime import config

if "ZOO_LISTEN" in os.environ:
    config("zoo", listen=[os.environ["ZOO_LISTEN"]])
for place in filter(None, os.environ.get("ZOO_PLUGINS", "").split(":")):
    if place not in sys.path:
        sys.path.append(place)
"""

PROBE = source("zoo/v1/probe.py")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project with its virtual environment, and its release."""
    files = {
        "src/zoo/__init__.py": ZOO,
        "src/zoo/serve.py": SERVE,
        "src/zoo/application.py": APPLICATION,
        "config/runtime.py": RUNTIME,
        "probe.py": PROBE,
    }
    tool = '[tool.underway]\nmain = "zoo:main"\nlazy = ["zoo.serve"]\n'
    root = write_project(tmp_path_factory.mktemp("zoo") / "zoo", tool, files, name="zoo", dependencies=NEEDS)
    uv("sync", "--quiet", cwd=root)
    return root, build(root)


def asked(python: Path, root: Path) -> dict[str, Any]:
    done = subprocess.run([python, root / "probe.py"], capture_output=True, text=True, timeout=TIMEOUT, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_packages_find_is_the_same(zoo: tuple[Path, Path]) -> None:
    """Distributions, entry points, data, lazy modules, namespaces, children: one answer from both."""
    root, release = zoo

    assert asked(release / "releases/0.1.0/bin/python", root) == asked(root / ".venv/bin/python", root)


@pytest.mark.parametrize("how", ["import", "here"])
def test_a_node_that_would_be_patched_says_so_at_once(zoo: tuple[Path, Path], tmp_path: Path, how: str) -> None:
    """gevent would hang it or leave locks that nobody can release; it ends with the reason and the way out."""
    done = run([zoo[1] / "bin/zoo", "start"], {"HOW": how, "RELEASE_VAR": str(tmp_path)})

    assert done.returncode == 1
    assert "gevent can't patch the process of a node" in done.stderr
    assert "as a child process" in done.stderr


@pytest.mark.parametrize("how", ["import", "here"])
def test_the_project_that_would_be_patched_says_so_too(zoo: tuple[Path, Path], how: str) -> None:
    """`underway run` runs a node."""
    done = underway("run", "--no-sync", cwd=zoo[0], env={"HOW": how})

    assert done.returncode == 1
    assert "gevent can't patch the process of a node" in done.stderr


@pytest.mark.parametrize("how", ["child", "gunicorn"])
def test_what_is_patched_runs_in_a_child(zoo: tuple[Path, Path], tmp_path: Path, how: str) -> None:
    """As the guide has it, or as a server has its workers; it is stopped with the node."""
    port = free_port()
    environ = {"HOW": how, "PORT": str(port), "RELEASE_VAR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    with started([zoo[1] / "bin/zoo", "start"], environ) as process:
        assert get(f"http://127.0.0.1:{port}/", process) == "patched"
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0


def test_an_address_that_gevent_can_not_be_given_is_explained(zoo: tuple[Path, Path], tmp_path: Path) -> None:
    """Its sockets bind below Python's; without `listen` it serves."""
    port = free_port()
    environ = {"HOW": "unpatched", "PORT": str(port), "RELEASE_VAR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    with started([zoo[1] / "bin/zoo", "start"], environ) as process:
        assert get(f"http://127.0.0.1:{port}/", process) == "plain"

    done = run([zoo[1] / "bin/zoo", "start"], {**environ, "ZOO_LISTEN": f"tcp://127.0.0.1:{port}"})
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "leave that address out of `listen`" in done.stderr


def test_code_of_the_host_is_added_by_configuration(zoo: tuple[Path, Path], tmp_path: Path) -> None:
    """PYTHONPATH is not read; what the release's own configuration puts on the path is imported."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/of_the_host.py").write_text("name = 'a plugin'\n")
    command: list[str | Path] = [zoo[1] / "bin/zoo", "eval", "import of_the_host; print(of_the_host.name)"]
    environ = {"RELEASE_VAR": str(tmp_path / "var")}

    assert run(command, {**environ, "ZOO_PLUGINS": str(tmp_path / "plugins")}).stdout == "a plugin\n"
    assert run(command, {**environ, "PYTHONPATH": str(tmp_path / "plugins")}).returncode == 7
