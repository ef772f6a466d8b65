"""A service of Starlette, built and planned as a user does, becomes its next version in the process that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ports import free_port
from projects import build, get, run, underway, uv, write_project
from sources import source
from underway_runtime.release import relup


@pytest.mark.e2e
def test_a_built_service_gets_a_route_while_it_runs(tmp_path: Path) -> None:
    """`release`, `relup` and `release` again, then `install`: HOT without an appup, from archives too, and back."""
    port = free_port()
    tool = f'[tool.underway]\nasgi = "hello.web:app"\nlisten = ["tcp://127.0.0.1:{port}"]\n'
    files = {"src/hello/__init__.py": "", "src/hello/web.py": source("starlette_service/v1/web.py")}
    root = write_project(tmp_path / "hello", tool, files, dependencies=["starlette", "uvicorn"])
    build(root)
    (root / "src/hello/web.py").write_text(source("starlette_service/v2/web.py"))
    project = (root / "pyproject.toml").read_text()
    (root / "pyproject.toml").write_text(project.replace('version = "0.1.0"', 'version = "0.2.0"'))
    uv("lock", "--quiet", cwd=root)
    release = build(root)

    archives = [root / f"build/release/hello-{version}.tar.zst" for version in ("0.2.0", "0.1.0")]
    planned = underway("relup", "--target", archives[0], "--fromto", archives[1], cwd=root)
    assert planned.returncode == 0, planned.stderr
    made = relup.read(root / "relup")
    assert [entry.verdict for entry in (*made.up, *made.down)] == ["HOT", "HOT"], planned.stdout
    build(root, "--overwrite")

    def hello(*arguments: str) -> str:
        done = run([release / "bin/hello", *arguments], {"RELEASE_VSN": "0.1.0"})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    hello("daemon")
    try:
        assert get(f"http://127.0.0.1:{port}/") == "hello"
        assert "would become the code of the process" in hello("check", "0.2.0")
        hello("install", "0.2.0", "--at-least", "hot")
        assert (get(f"http://127.0.0.1:{port}/"), get(f"http://127.0.0.1:{port}/count")) == ("good day", "0")
        hello("install", "0.1.0", "--at-least", "hot")
        assert get(f"http://127.0.0.1:{port}/") == "hello"
    finally:
        hello("stop")
