"""The services that are measured, and what is done to a copy of one: prepared, changed by a line, locked again."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from _measure import REPOSITORY, TOOLS
from _observe import Failed, run


@dataclass(frozen=True)
class App:
    """A service to measure."""

    name: str
    """The project's, and so the release's."""
    source: str
    entry: str
    """The function behind the script that all but the release start; the script has the name of its first part."""
    args: tuple[str, ...]
    """What the script is given; ``--port`` follows."""
    path: str
    """What is asked first."""
    check: tuple[str, str]
    """A path, and what its answer must hold, lest a part was lost on the way."""
    edit: tuple[str, str]
    """A file and a part of a line of it, ``{}`` for a number that is changed."""
    collect: tuple[str, ...]
    """Packages that PyInstaller must be told to take whole, as it finds only what is imported by name."""
    dependencies: tuple[str, ...]
    """What is exchanged for the version before it to measure a delta: one of Python alone, one compiled."""
    variable: str
    """What tells the release where to listen, or with which arguments."""
    runtime: str = ""
    """The runtime configuration of the release, where the project has none."""
    package: str = ""
    """A plugin of datasette's to add to a project that has no code, so that there is a line to change."""

    @property
    def script(self) -> str:
        return self.entry.partition(".")[0]

    def settings(self, port: int) -> dict[str, str]:
        """The environment that makes the release listen on a port."""
        if self.variable.endswith("ARGS"):
            return {self.variable: " ".join([*self.args, "--port", str(port)])}
        return {self.variable: f"tcp://127.0.0.1:{port}"}


_IMPORT = "from underway_runtime import config, env\n\n"
_PLUGIN = '''"""A plugin of datasette's."""

from datasette import hookimpl

LIMIT = 100


@hookimpl
def extra_template_vars():
    return {"limit": LIMIT}
'''

APPS = {
    "chat": App(
        name="chat",
        source="examples/chat",
        entry="uvicorn.main:main",
        args=("chat.web:app",),
        path="/health",
        check=("/health", '"status":"ok"'),
        edit=("src/chat/limits.py", "HISTORY = {}"),
        collect=("chat",),
        dependencies=("starlette", "uvloop"),
        variable="CHAT_LISTEN",
    ),
    "datasette": App(
        name="datasette-service",
        source="tests/fixtures/datasette",
        entry="datasette.cli:cli",
        args=("serve", "--memory", "--setting", "sql_time_limit_ms", "5000"),
        path="/",
        check=("/-/plugins.json", "datasette-vega"),
        edit=("src/datasette_service/__init__.py", "LIMIT = {}"),
        collect=("datasette", "datasette_vega", "datasette_service"),
        dependencies=("httpx", "pyyaml"),
        variable="BENCH_ARGS",
        runtime=_IMPORT + 'config("datasette", args=env("BENCH_ARGS").split())\n',
        package="datasette_service",
    ),
    "science": App(
        name="science",
        source="tests/fixtures/science",
        entry="uvicorn.main:main",
        args=("science:app",),
        path="/means",
        check=("/means", '"blas"'),
        edit=("src/science/__init__.py", 'get("rows", "{}")'),
        collect=("science",),
        dependencies=("starlette", "pandas"),
        variable="BENCH_LISTEN",
        runtime=_IMPORT + 'config("science", listen=env("BENCH_LISTEN").split())\n',
    ),
}


def environment(**own: str) -> dict[str, str]:
    """What builds get of our environment: not what would make interpreters or uv behave in another way."""
    ours = re.compile(
        r"PYTHON|VIRTUAL_ENV$|RELEASE_|UNDERWAY_|UV_(PROJECT|PYTHON|FROZEN|LOCKED|COMPILE|LINK|NO_|OFFLINE)"
    )
    kept = {name: value for name, value in os.environ.items() if not ours.match(name)}
    return {**kept, "UV_PYTHON_DOWNLOADS": "never", **own}


def prepare(app: App, project: Path, python: Path) -> None:
    """Copy a service into the new directory `project`, add what it lacks to be measured, and list what its lock holds.

    The list is requirements.txt; the project itself is not in it. Raises Failed when uv fails.
    """
    ignored = shutil.ignore_patterns("build", ".venv", "__pycache__", ".pytest_cache")
    shutil.copytree(REPOSITORY / app.source, project, ignore=ignored)
    if app.runtime:
        (project / "config").mkdir(exist_ok=True)
        (project / "config/runtime.py").write_text(app.runtime, encoding="utf-8")
    if app.package:
        _add_package(app.package, project)
        lock(project, python)
    options = ("--no-dev", "--no-emit-project", "--no-hashes", "--no-header", "--no-annotate")
    _uv(project, "export", "--locked", *options, "--output-file", "requirements.txt", "--python", str(python))


def lock(project: Path, python: Path, *options: str) -> None:
    """Bring uv.lock up to date. Raises Failed when uv fails."""
    _uv(project, "lock", "--python", str(python), *options)


def locked_version(project: Path, name: str) -> str:
    """Which version of a distribution the lock holds. Raises Failed for one that it does not hold."""
    text = (project / "uv.lock").read_text(encoding="utf-8")
    found = re.search(rf'^name = "{re.escape(name)}"\nversion = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise Failed(f"the lock does not hold {name}")
    return found[1]


def change_line(app: App, project: Path, number: int) -> None:
    """Change one line of the service's own code. Raises Failed where it is not found."""
    name, part = app.edit
    pattern = re.escape(part).replace(re.escape("{}"), r"\d+")
    _substitute(project / name, pattern, part.format(number))


def set_version(project: Path, python: Path, version: str) -> None:
    """Give the service another version, as whoever releases a change does."""
    _substitute(project / "pyproject.toml", r'(?m)^version = ".+"$', f'version = "{version}"')
    lock(project, python)


def _substitute(file: Path, pattern: str, new: str) -> None:
    text, count = re.subn(pattern, lambda _: new, file.read_text(encoding="utf-8"))
    if count != 1:
        raise Failed(f"{file.name} holds {new!r} {count} times")
    file.write_text(text, encoding="utf-8")


def _add_package(name: str, project: Path) -> None:
    file = project / "pyproject.toml"
    text = file.read_text(encoding="utf-8").replace("package = false\n", "")
    file.write_text(
        f'{text}\n[project.entry-points.datasette]\nservice = "{name}"\n'
        '\n[build-system]\nrequires = ["hatchling>=1.26"]\nbuild-backend = "hatchling.build"\n'
        f'\n[tool.hatch.build.targets.wheel]\npackages = ["src/{name}"]\n',
        encoding="utf-8",
    )
    package = project / "src" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(_PLUGIN, encoding="utf-8")


def _uv(project: Path, *arguments: str) -> None:
    run([TOOLS / "uv", "--quiet", *arguments], project, environment(), project.with_name("preparation.log"))
