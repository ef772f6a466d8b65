"""underway init: what starts a project is found in its files, shown with its lines, and written once."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from underway import cli
from underway.discovery import command_lines, servers, table
from underway.discovery.findings import DEPLOYED, Place
from underway.errors import BuildError, ProjectError

PROJECT = '[project]\nname = "shop"\nversion = "1.0"\ndependencies = ["fastapi", "uvicorn"]\n'
BUILT = f'{PROJECT}[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n'
FASTAPI = "from fastapi import FastAPI\n\napp = FastAPI()\n"
FLASK = "from flask import Flask\n\napp = Flask(__name__)\n"
UNIX = "FROM x\nCMD exec gunicorn -k uvicorn.workers.UvicornWorker \\\n  --bind unix:/run/a.sock shop:app\n"
FACTORY = "def make():\n    from flask import Flask\n    a = Flask(__name__)\n    return a\n"

Init = Callable[..., Result]


@pytest.fixture
def init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Init:
    """Write a project and run `underway init` in it, in this process."""

    def run(files: Mapping[str, str], *words: str) -> Result:
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text, encoding="utf-8", newline="")
        monkeypatch.chdir(tmp_path)
        return CliRunner().invoke(cli.underway, ["init", *words], prog_name="underway")

    return run


def printed(done: Result) -> Any:
    """What --json has printed, whether anything was written or not."""
    return json.JSONDecoder().raw_decode(done.stdout)[0]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"shop.py": FASTAPI}, {"asgi": "shop:app", "listen": ["tcp://127.0.0.1:8000"]}),
        ({"src/shop/web.py": FASTAPI}, {"asgi": "shop.web:app", "listen": ["tcp://127.0.0.1:8000"]}),
        (
            {"shop.py": FLASK, "Procfile": "web: gunicorn -w 3 -b 0.0.0.0:5000 shop:app\n"},
            {"wsgi": "shop:app", "listen": ["tcp://0.0.0.0:5000"]},
        ),
        (
            {"shop.py": FASTAPI, "Dockerfile": 'FROM x\nCMD ["uvicorn", "shop:app", "--port", "81", "--host", "::"]\n'},
            {"asgi": "shop:app", "listen": ["tcp://[::]:81"]},
        ),
        (
            {"shop.py": FASTAPI, "Dockerfile": UNIX},
            {"asgi": "shop:app", "listen": ["unix:///run/a.sock"]},
        ),
        (
            {
                "shop.py": FASTAPI,
                "compose.yaml": "services:\n  web:\n    command:\n      - uvicorn\n      - shop:app\n      - --port=82\n",
            },
            {"asgi": "shop:app", "listen": ["tcp://127.0.0.1:82"]},
        ),
        (
            {"shop.py": FASTAPI, "shop.service": "[Service]\nExecStart=/opt/bin/uvicorn shop:app --uds /run/b.sock\n"},
            {"asgi": "shop:app", "listen": ["unix:///run/b.sock"]},
        ),
        (
            {
                "manage.py": "",
                "site1/wsgi.py": "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
                "Procfile": "release: python manage.py migrate\nweb: gunicorn site1.wsgi\n",
            },
            {"wsgi": "site1.wsgi:application", "listen": ["tcp://127.0.0.1:8000"]},
        ),
        (
            {
                "chat.py": "from aiohttp import web\n\ndef main():\n    web.run_app(web.Application(), host='127.0.0.1', port=8081)\n"
            },
            {"main": "chat:main", "listen": ["tcp://127.0.0.1:8081"]},
        ),
        (
            {
                "tasks.py": "from celery import Celery\napp = Celery()\n",
                "Procfile": "worker: celery -A tasks worker -l info\n",
            },
            {"main": "celery.__main__:main", "args": ["-A", "tasks", "worker", "-l", "info"]},
        ),
        (
            {"core.py": FACTORY, "wsgi.py": "from core import make\napp = make()\n"},
            {"wsgi": "wsgi:app", "listen": ["tcp://127.0.0.1:8000"]},
        ),
        (
            {
                "shop/core.py": FLASK,
                "shop/__init__.py": "from .core import *\n",
                "Procfile": "web: gunicorn shop:app\n",
            },
            {"wsgi": "shop:app", "listen": ["tcp://127.0.0.1:8000"]},
        ),
    ],
)
def test_what_starts_is_written(
    init: Init, tmp_path: Path, files: Mapping[str, str], expected: Mapping[str, object]
) -> None:
    """From command lines and code, with where it listens; all that was in the file stays as it was."""
    project = BUILT if "celery" in files.get("Procfile", "") else PROJECT
    before = f"# mine\n{project}\n[tool.black]  # stays\nline-length = 100\n"
    done = init({"pyproject.toml": before, **files})

    assert done.exit_code == 0, (done.output, done.exception)
    text = (tmp_path / "pyproject.toml").read_text()
    assert text.startswith(before)
    assert tomllib.loads(text)["tool"]["underway"] == expected
    assert done.output.rstrip().endswith("underway release")


@pytest.mark.parametrize(
    ("files", "reason", "references"),
    [
        ({"a.py": FASTAPI, "b.py": FLASK}, "several may be meant", {"a:app", "b:app"}),
        (
            {"a.py": FASTAPI, "b.py": FASTAPI, "Procfile": "web: uvicorn a:app\nadmin: uvicorn b:app\n"},
            "the project's files start several things",
            {"a:app", "b:app"},
        ),
        (
            {
                "a.py": "from fastapi import FastAPI\ndef make():\n    return FastAPI()\n",
                "Procfile": "web: uvicorn --factory a:make\n",
            },
            "it is a factory",
            {"a:make"},
        ),
        ({"a.py": FASTAPI, "Procfile": "web: uvicorn a:other\n"}, "a.py has no 'other'", {"a:app", "a:other"}),
        ({"a.py": "x = 1\n"}, "nothing was found that starts", set()),
        ({"a.py": "", "Procfile": "w: celery -A a worker\n"}, "has no [build-system]", {"celery.__main__:main"}),
        (
            {"a.py": "async def main():\n    from aiohttp import web\n    web.run_app(1)\n"},
            "can be started as it is",
            {"a:main"},
        ),
    ],
)
def test_none_is_taken_where_it_is_not_clear(
    init: Init, tmp_path: Path, files: Mapping[str, str], reason: str, references: set[str]
) -> None:
    """All are listed, the reason is told, and nothing is written."""
    done = init({"pyproject.toml": PROJECT, **files}, "--json")

    assert isinstance(done.exception, ProjectError)
    assert reason in str(done.exception)
    assert {candidate["reference"] for candidate in printed(done)["candidates"]} == references
    assert printed(done)["table"] == {}
    assert (tmp_path / "pyproject.toml").read_text() == PROJECT


def test_start_picks_one(init: Init, tmp_path: Path) -> None:
    """By its reference; one that was not found is refused with those that were, unless its kind is said too."""
    files = {"pyproject.toml": PROJECT, "admin.py": FASTAPI, "shop.py": FASTAPI}
    refused = init(files, "--start", "shpo:app")
    assert "did you mean 'shop:app'?" in str(refused.exception)
    assert (tmp_path / "pyproject.toml").read_text() == PROJECT

    assert init(files, "--start", "shop:app", "--listen", "tcp://[::1]:9").exit_code == 0
    assert tomllib.loads((tmp_path / "pyproject.toml").read_text())["tool"]["underway"] == {
        "asgi": "shop:app",
        "listen": ["tcp://[::1]:9"],
    }
    assert init(files, "--start", "wsgi=elsewhere:app").exit_code == 0


def test_start_picks_the_one_that_a_line_starts(init: Init, tmp_path: Path) -> None:
    """Of two workers with the same program, each is told by its line."""
    files = {"pyproject.toml": BUILT, "Procfile": "a: celery -A x worker\nb: celery -A x beat\n"}
    commands = printed(init(files, "--json"))["next"]
    assert commands == ["underway init --start Procfile:1", "underway init --start Procfile:2"]

    assert init(files, "--start", "Procfile:2").exit_code == 0
    assert tomllib.loads((tmp_path / "pyproject.toml").read_text())["tool"]["underway"]["args"] == ["-A", "x", "beat"]


def test_what_is_not_of_the_project_is_not_taken(init: Init) -> None:
    """A tool that a Makefile runs is none of the candidates; a file is the module that it is, whatever its path."""
    files = {
        "pyproject.toml": PROJECT,
        "Makefile": "dist:\n\tpython -m build\n",
        "lib/py/shop/run.py": "def main(): pass\n",
        "Dockerfile": "FROM x\nCMD python /app/shop/run.py\n",
    }
    layout = f'{PROJECT}[tool.hatch.build.targets.wheel]\npackages = ["lib/py/shop"]\n'
    done = printed(init({**files, "pyproject.toml": layout}, "--json", "--dry-run"))

    assert [candidate["reference"] for candidate in done["candidates"]] == ["shop.run:main"]
    assert done["table"] == {"main": "shop.run:main"}


def test_a_table_that_is_there_is_not_changed(init: Init, tmp_path: Path) -> None:
    """What differs is told, and that nothing does."""
    other = f'{PROJECT}\n[tool.underway]\nasgi = "old:app"\nlisten = ["tcp://127.0.0.1:8000"]\n'
    done = init({"pyproject.toml": other, "shop.py": FASTAPI})
    assert done.exit_code == 0
    assert "asgi is 'old:app', and 'shop:app' was found (shop.py:3" in done.output
    assert (tmp_path / "pyproject.toml").read_text() == other

    again = init({"pyproject.toml": other.replace("old", "shop")})
    assert "says this; nothing is changed" in again.output


@pytest.mark.parametrize(
    ("files", "error", "commands"),
    [
        (
            {"requirements.txt": "flask\n", "shop.py": FLASK},
            "there is no pyproject.toml",
            ["uv init --bare", "uv add -r requirements.txt", "underway init"],
        ),
        (
            {"pyproject.toml": '[tool.poetry]\nname = "shop"\n', "shop.py": FLASK},
            "has no [project]",
            ["uvx migrate-to-uv", "underway init"],
        ),
        (
            {
                "pyproject.toml": '[tool.uv.workspace]\nmembers = ["a"]\n',
                "a/pyproject.toml": PROJECT,
                "a/shop.py": FASTAPI,
            },
            "root of a workspace",
            ["cd a && underway init"],
        ),
        (
            {"services/a/pyproject.toml": PROJECT, "services/a/shop.py": FASTAPI},
            "the projects are below",
            ["cd services/a && underway init"],
        ),
    ],
)
def test_what_is_not_yet_a_project_is_told_what_comes_first(
    init: Init, tmp_path: Path, files: Mapping[str, str], error: str, commands: list[str]
) -> None:
    """Without pyproject.toml, with Poetry's table only, and with projects below; nothing is written."""
    done = init(files, "--json")

    assert error in str(done.exception)
    assert printed(done)["next"] == commands
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == {*files}


def test_nothing_of_the_project_is_run_and_no_value_is_shown(init: Init, tmp_path: Path) -> None:
    """Modules are read, not imported; of variables and files that set them only the names are told."""
    files = {
        "pyproject.toml": PROJECT,
        "shop.py": f"open('ran', 'w')\nimport os\n{FASTAPI}KEY = os.environ['SHOP_KEY']\nHOST = os.getenv('SHOP_HOST')\n",
        "settings.py": "from pydantic_settings import BaseSettings\nclass S(BaseSettings):\n    token: str\n    size: int = 3\n",
        ".env": "SHOP_KEY=hunter2\nexport TOKEN='hunter2'\n",
        "alembic.ini": "[alembic]\nscript_location = migrations\n",
        "broken.py": "def (:\n",
        "Procfile": "web: env DB_PASSWORD=hunter2 uvicorn shop:app\n",
    }
    done = init(files, "--json", "--dry-run")

    assert done.exit_code == 0, done.exception
    assert "hunter2" not in done.stdout + init(files, "--dry-run").output
    assert not (tmp_path / "ran").exists()
    settings = {setting["name"]: setting["required"] for setting in printed(done)["settings"]}
    assert settings == {"SHOP_KEY": True, "TOKEN": True, "SHOP_HOST": False, "SIZE": False}
    assert printed(done)["env_files"] == {".env": ["SHOP_KEY", "TOKEN"]}
    assert [migration["tool"] for migration in printed(done)["migrations"]] == ["alembic"]
    assert any("broken.py" in reason for reason in printed(done)["not_read"])
    assert printed(done)["written"] is None
    assert (tmp_path / "pyproject.toml").read_text() == PROJECT


def test_a_path_that_depends_on_the_directory_is_told(init: Init) -> None:
    """A release runs elsewhere than in the project, so that it would not be found."""
    shop = f"from starlette.staticfiles import StaticFiles\n{FASTAPI}a = StaticFiles(directory='web')\nb = StaticFiles(directory='/srv')\n"
    done = init({"pyproject.toml": PROJECT, "shop.py": shop}, "--dry-run")

    assert "depend on the working directory: shop.py:5 (web);" in done.output


def test_a_missing_server_and_lock_come_first(init: Init) -> None:
    """The commands that come next are those that the release needs."""
    files = {"pyproject.toml": PROJECT, "shop.py": FLASK}
    assert printed(init(files, "--json", "--dry-run"))["next"] == ["uv add waitress", "underway release"]

    files = {"pyproject.toml": PROJECT, "shop.py": FASTAPI}
    assert printed(init(files, "--json", "--dry-run"))["next"] == ["uv lock", "underway release"]

    lock = (
        'version = 1\n[[package]]\nname = "shop"\ndependencies = [{ name = "fastapi", extra = ["standard"] }]\n'
        '[[package]]\nname = "fastapi"\n[package.optional-dependencies]\nstandard = [{ name = "uvicorn" }]\n'
    )
    assert printed(init({**files, "uv.lock": lock}, "--json", "--dry-run"))["next"] == ["underway release"]


@pytest.mark.parametrize(
    "before",
    [
        "[project]\r\nname = 'a'\r\n",
        '[project]\nname = "a"',
        'tool.black.line-length = 1\n[project]\nname = "a"\n',
        '[project]\nname = "a"\n[tool]\n[tool.uv]\n',
    ],
)
def test_a_table_is_added_and_nothing_else_is_changed(tmp_path: Path, before: str) -> None:
    """Ends of lines, permissions and a link to the file stay; what results says what was meant."""
    real = tmp_path / "real.toml"
    real.write_text(before, newline="")
    real.chmod(0o640)
    (tmp_path / "pyproject.toml").symlink_to(real)

    table.add(tmp_path, {"asgi": 'a"\\é:b', "listen": ["x", "y"]})

    after = real.read_bytes().decode()
    assert after.startswith(before)
    assert tomllib.loads(after)["tool"]["underway"] == {"asgi": 'a"\\é:b', "listen": ["x", "y"]}
    assert ("\r\n" in before) == ("]\r\n" in after)
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["pyproject.toml", "real.toml"]


@pytest.mark.parametrize("before", ["tool = {}\n", "[tool.underway]\n", "[tool.underway.releases]\n"])
def test_a_file_that_can_t_take_the_table_stays(tmp_path: Path, before: str) -> None:
    """A table of that name, or one that can't be added to, is an error that shows what to write."""
    (tmp_path / "pyproject.toml").write_text(before)

    with pytest.raises(ProjectError):
        table.add(tmp_path, {"asgi": "a:b"})

    assert (tmp_path / "pyproject.toml").read_text() == before


def test_a_directory_that_can_t_be_written_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves the file as it was."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "pyproject.toml")

    monkeypatch.setattr(table, "replace", full)
    with pytest.raises(BuildError, match="can't be written: No space left on device"):
        table.add(tmp_path, {"asgi": "a:b"})
    assert (tmp_path / "pyproject.toml").read_text() == PROJECT


@pytest.mark.parametrize(
    ("text", "reference", "listen"),
    [
        ("exec opentelemetry-instrument gunicorn -w4 -b :80 a.b:c", "a.b:c", ("tcp://0.0.0.0:80",)),
        ("uv run uvicorn --host=0.0.0.0 a:b --log-level info", "a:b", ("tcp://0.0.0.0:8000",)),
        ("gunicorn --bind 0.0.0.0:${PORT:-8080} a:b", "a:b", ("tcp://0.0.0.0:8080",)),
        ("gunicorn -b 0.0.0.0:$PORT a:b", "a:b", ()),
        ("python -m uvicorn a:b --port 1 --proxy-headers", "a:b", ("tcp://127.0.0.1:1",)),
        ("waitress-serve --listen=*:8041 a:b", "a:b", ("tcp://0.0.0.0:8041",)),
        ("hypercorn a:b --bind 127.0.0.1:5", "a:b", ("tcp://127.0.0.1:5",)),
        ("flask --app a:b run -p 7 -h ::1", "a:b", ("tcp://[::1]:7",)),
        ("daphne -b 0.0.0.0 -p 9 a.asgi:b", "a.asgi:b", ("tcp://0.0.0.0:9",)),
        ("granian --interface asgi a:b --port 3", "a:b", ("tcp://127.0.0.1:3",)),
    ],
)
def test_the_command_lines_of_servers(text: str, reference: str, listen: tuple[str, ...]) -> None:
    """What is served, and where, whatever stands before the program."""
    [words] = command_lines.split(text)
    [start] = servers.starts(command_lines.CommandLine(words, Place("Procfile", 1), DEPLOYED), {})

    assert (start.reference, start.listen) == (reference, listen)
