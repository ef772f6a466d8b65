"""The tasks. Bare ``nox`` is the gate that ``make test`` and ``.ci/run`` run; all sessions share ``.venv``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.11"
nox.options.sessions = ["lint", "types", "imports", "tests"]

BIN = Path(sys.executable).parent
TYPED = [
    "src",
    "runtime/src",
    "tests/support",
    "tests/e2e",
    "tests",
    "bench",
    "examples/demo.py",
    "examples/demo_cluster.py",
    "noxfile.py",
]


def run(session: nox.Session, tool: str, *args: str, **env: str) -> None:
    """Run a tool of ``.venv``, with ``.venv`` first on PATH, as if it were activated.

    What the caller's environment tells interpreters is not passed on: the gate finds the same everywhere.
    """
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    unset = dict.fromkeys(name for name in os.environ if name.startswith("PYTHON"))
    session.run(str(BIN / tool), *args, env={**unset, "PATH": path, **env}, external=True)


def shell_scripts() -> list[str]:
    """All POSIX shell of ours; templates have no first line, so ShellCheck is told the dialect."""
    places = ["src/underway/templates", "runtime/src", "scripts", "examples", "tests"]
    return sorted(str(path) for place in places for path in Path(place).rglob("*.sh"))


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Style and likely mistakes: Python by ruff, shell by ShellCheck, plain words and the map of the house by our own."""
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")
    run(session, "shellcheck", "--shell=sh", "--external-sources", "--source-path=SCRIPTDIR", *shell_scripts())
    run(session, "shellcheck", ".ci/run")
    run(session, "python", "scripts/plain_words.py")
    run(session, "python", "scripts/house.py", "--check", "docs/how-to/develop.md")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """The types hold, strictly."""
    run(session, "mypy", *TYPED)


@nox.session(venv_backend="none")
def imports(session: nox.Session) -> None:
    """Who may import whom: the contracts of [tool.importlinter] in pyproject.toml."""
    run(session, "lint-imports", "--no-cache")


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """The promises, with every interpreter that is installed here; more at a time than a small machine has cores, since most wait."""
    run(session, "pytest", "-n", "4", *session.posargs)


@nox.session(venv_backend="none")
def drills(session: nox.Session) -> None:
    """The full counts of what the gate runs as a sample, as many at a time as there; the end of it says which took longest."""
    run(session, "pytest", "-m", "drill", "-v", "-n", "4", "--durations=40", *session.posargs, UNDERWAY_DRILLS="1")


@nox.session(venv_backend="none")
def pythons(session: nox.Session) -> None:
    """The suite with each Python of Debian 12, 13 and sid, in a fresh tree of each; takes root and debootstrap."""
    run(session, "python", "tests/support/pythons.py", *session.posargs)


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """Side-by-side measurements; each prints a ratio and draws a plot under build/bench."""
    for script in sorted(Path("bench").glob("[!_]*.py")):
        run(session, "python", str(script), *session.posargs)


@nox.session(venv_backend="none")
def conformance(session: nox.Session) -> None:
    """Pairs of releases of well-known packages, upgraded and judged by their own tests; fetches what it needs once."""
    run(session, "python", "bench/conformance", *session.posargs)


@nox.session(venv_backend="none")
def demo(session: nox.Session) -> None:
    """Build examples/chat as a release, start it, call it, show the answers, stop it; then the word count on three hosts."""
    run(session, "python", "examples/demo.py", *session.posargs)
    run(session, "python", "examples/demo_cluster.py", *session.posargs)
