"""`underway run`: the project from its virtual environment, as its release would run."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node_helpers import eventually
from ports import free_port
from projects import ENVIRONMENT, TIMEOUT, UNDERWAY, get, underway, write_project

WEB = """\
import socket
from underway_runtime import config

ANSWER = "one"

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    said = f"{ANSWER} {config.get('web', 'greeting')}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]})
    await send({"type": "http.response.body", "body": said})
"""


@pytest.fixture
def project(tmp_path: Path) -> tuple[Path, int]:
    """A web service, locked and not installed, and its port."""
    port = free_port()
    tool = f'[tool.underway]\nasgi = "web:app"\nlisten = ["tcp://127.0.0.1:{port}"]\n'
    files = {
        "src/web/__init__.py": WEB,
        "config/config.py": 'from underway_runtime import config\nconfig("web", greeting="hello")\n',
    }
    root = write_project(tmp_path / "web", tool, files, name="web", dependencies=["uvicorn"])
    return root, port


@contextmanager
def running(root: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`underway run`, ended with all that it started when the block is left."""
    process = subprocess.Popen(
        [UNDERWAY, "run", *arguments],
        cwd=root,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        stdin=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()


def said_until(process: subprocess.Popen[str], words: str) -> str:
    """What the process says up to the line with these words."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError(f"it ended without saying {words!r}:\n{''.join(lines)}")


def test_it_serves_from_the_virtual_environment_with_the_configuration_of_the_release(
    project: tuple[Path, int],
) -> None:
    """The project answers at its address, with its configuration, from its source and not from a copy."""
    root, port = project
    with running(root) as process:
        assert get(f"http://127.0.0.1:{port}/", process) == "one hello"
        where = subprocess.run(
            [root / "build/run/web/bin/web", "eval", "import web; print(web.__file__)"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert where.stdout.strip() == str(root / "src/web/__init__.py")
        program = subprocess.run(
            [root / "build/run/web/bin/web", "run", "uvicorn", "--version"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert (program.returncode, program.stderr) == (0, "")
        assert program.stdout.startswith("Running uvicorn ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0


def test_what_its_web_server_would_not_take_is_refused_before_it_starts(project: tuple[Path, int]) -> None:
    """By `run` and by `release`: one error lists all, with options of underway's that stand in the wrong application."""
    root, _ = project
    server = {"interface": "wsgi", "ssl_keyfile": "no.key", "timeout_keep_alive": "x", "timeout_keepalive": 3}
    config = f'from underway_runtime import config\nconfig("web", server={server})\n'
    (root / "config/config.py").write_text(config + 'config("underway_runtime", server={}, stop_timeout="x")\n')
    run = underway("run", cwd=root)
    release = underway("release", cwd=root)
    assert (run.returncode, release.returncode) == (1, 1)
    for part in (
        "can't set interface: `wsgi` in [tool.underway] says",
        "ssl_keyfile is 'no.key', which is not there",
        "ssl_keyfile is set, and ssl_certfile is not",
        "timeout_keep_alive is 'x'; uvicorn",
        "has no option 'timeout_keepalive'; did you mean 'timeout_keep_alive'?",
        "underway_runtime.server (config/config.py:3) is not in its schema; it belongs to an application",
        'underway_runtime.stop_timeout is "x", str (config/config.py:3)',
    ):
        assert part in run.stderr, run.stderr
        assert part in release.stderr, release.stderr
    assert "Traceback" not in run.stderr + release.stderr
    assert not (root / "build/run/web/bin").exists()
    assert not [*root.glob("build/rel/web*/**/bin/web")]


def test_reload_shows_what_was_edited_and_outlives_code_that_cannot_start(project: tuple[Path, int]) -> None:
    """An edit is served; a syntax error is told and does not end the command; the next good edit is served again."""
    root, port = project
    source = root / "src/web/__init__.py"
    with running(root, "--reload") as process:
        assert get(f"http://127.0.0.1:{port}/", process) == "one hello"
        source.write_text(WEB.replace('"one"', '"two"'), encoding="utf-8")
        said_until(process, "listening on")
        said_until(process, "listening on")
        assert get(f"http://127.0.0.1:{port}/", process) == "two hello"

        source.write_text("def broken(:\n", encoding="utf-8")
        said_until(process, "SyntaxError")
        said_until(process, "starts again")
        source.write_text(WEB.replace('"one"', '"three"'), encoding="utf-8")
        assert get(f"http://127.0.0.1:{port}/", process) == "three hello"

        (root / "config/config.py").write_text(
            'from underway_runtime import config\nconfig("web", greeting="good day")\n', encoding="utf-8"
        )
        said_until(process, "changed: config.py")
        said_until(process, "listening on")
        assert get(f"http://127.0.0.1:{port}/", process) == "three good day"


def eventually_says(port: int, words: str) -> None:
    """Wait until the project, which is started again, answers so."""
    eventually(lambda: get(f"http://127.0.0.1:{port}/") == words, f"it answers {words!r}")


def test_reload_shows_an_edit_of_the_same_size_and_date(project: tuple[Path, int]) -> None:
    """Of a package, of a module in it and of what was compiled before: no pyc stands for source that is being edited."""
    root, port = project
    package, module = root / "src/web/__init__.py", root / "src/web/words.py"
    package.write_text(WEB.replace('ANSWER = "one"', "from .words import ANSWER"), encoding="utf-8")
    module.write_text('ANSWER = "one"\n', encoding="utf-8")
    date = module.stat().st_mtime_ns
    cached = Path(importlib.util.cache_from_source(str(module)))
    subprocess.run([sys.executable, "-m", "compileall", "-q", root / "src"], check=True, timeout=TIMEOUT)
    with running(root, "--reload") as process:
        assert get(f"http://127.0.0.1:{port}/", process) == "one hello"
        for word in ("two", "six"):
            module.write_text(f'ANSWER = "{word}"\n', encoding="utf-8")
            os.utime(module, ns=(date, date))
            eventually_says(port, f"{word} hello")

        date = package.stat().st_mtime_ns
        package.write_text(package.read_text().replace("{ANSWER} {", "{ANSWER}-{"), encoding="utf-8")
        os.utime(package, ns=(date, date))
        eventually_says(port, "six-hello")
    assert cached.exists()


def test_a_second_one_is_refused_by_name_and_pid(project: tuple[Path, int]) -> None:
    """What runs already is not prepared again under itself."""
    root, port = project
    with running(root) as process:
        get(f"http://127.0.0.1:{port}/", process)
        second = underway("run", cwd=root)
        assert second.returncode == 1
        assert "is running (pid" in second.stderr


def test_a_stale_lock_and_a_missing_environment_are_refused_with_the_next_command(project: tuple[Path, int]) -> None:
    """Nothing is made, and the message says what to type."""
    root, _ = project
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    (root / "pyproject.toml").write_text(text.replace("['uvicorn']", "['uvicorn', 'click']"), encoding="utf-8")
    stale = underway("run", cwd=root)
    assert stale.returncode == 1
    assert "uv lock" in stale.stderr or "needs to be updated" in stale.stderr
    assert not (root / "build").exists()

    (root / "pyproject.toml").write_text(text, encoding="utf-8")
    missing = underway("run", "--no-sync", cwd=root)
    assert missing.returncode == 1
    assert "uv sync" in missing.stderr
    assert not os.path.lexists(root / "build")
