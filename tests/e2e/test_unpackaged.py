"""A project that nothing builds, as `uv init` makes it, is released and run with its sources as they lie."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from projects import TIMEOUT, UNDERWAY, build, run, underway, uv

pytestmark = pytest.mark.e2e

MAIN = {
    "flat": (
        "main:main",
        {"main.py": "from helpers.text import greet\ndef main(): print(greet(__file__), flush=True)\n"},
    ),
    "in src": (
        "web.app:main",
        {"src/web/app.py": "from helpers.text import greet\ndef main(): print(greet(__file__))\n"},
    ),
    "a package next to": (
        "web:main",
        {"web/__init__.py": "from helpers.text import greet\ndef main():\n    print(greet(__file__))\n"},
    ),
}
MAIN["in src, by that name"] = (
    "src.web:main",
    {
        "src/web.py": "from helpers.text import greet\nfrom src.other import X\ndef main(): print(greet(__file__))\n",
        "src/other.py": "X = 1\n",
    },
)
HELPERS = """
from pathlib import Path
import iniconfig

def greet(file):
    there = Path(file).parent.name, Path(__file__).with_name("words.txt").read_text()
    return f"good day, {there[1]}"
"""


def project(root: Path, kind: str) -> Path:
    """What a person makes of it: a dependency, a package with data, scripts, tests, configuration, an environment."""
    start, files = MAIN[kind]
    root.mkdir()
    every = {
        **files,
        "helpers/text.py": HELPERS,
        "helpers/words.txt": "everybody",
        "seed.py": "raise SystemExit('it is a script')\n",
        "templates/page.html": "<p>",
        "tests/test_it.py": "raise SystemExit\n",
        "conftest.py": "raise SystemExit\n",
        "config/config.py": "from underway_runtime import config\nconfig('shop', colour='red')\n",
        ".env": "SECRET=1\n",
        "notes.txt": "of nobody's concern\n",
        "pyproject.toml": f"""\
[project]
name = "shop"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["iniconfig"]

[tool.underway]
main = "{start}"
include-interpreter = false
""",
    }
    for name, text in every.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    uv("lock", "--quiet", cwd=root)
    return root


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("kind", MAIN)
def test_sources_are_released_as_they_lie(tmp_path: Path, kind: str) -> None:
    """Modules and packages with their data, from the project and its src; no secret, no test, nothing of the release itself."""
    root = project(tmp_path / "shop", kind)
    for _ in range(2):  # the second time with a release in the project
        release = build(root, "--overwrite", "--path", root / "A")
    done = run([release / "bin/shop", "start"])
    assert (done.returncode, done.stdout) == (0, "good day, everybody\n"), done.stderr

    [home] = (release / "lib").glob("shop-0.1.0*")
    files = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    files = {file for file in files if "__pycache__" not in file and "dist-info" not in file}
    own = {name if MAIN[kind][0].startswith("src.") else name.removeprefix("src/") for name in MAIN[kind][1]}
    assert files == own | {"helpers/text.py", "helpers/words.txt", "seed.py", "templates/page.html"}
    code = "from underway_runtime import config; print(config.get('shop', 'colour'))"
    assert run([release / "bin/shop", "eval", code]).stdout == "red\n"
    assert run([release / "bin/shop", "verify"]).returncode == 0


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("kind", MAIN)
def test_it_is_run_from_where_it_lies(tmp_path: Path, kind: str) -> None:
    """By `underway run`, with its configuration; nothing is installed of it."""
    root = project(tmp_path / "shop", kind)

    done = subprocess.run([UNDERWAY, "run"], cwd=root, capture_output=True, text=True, timeout=TIMEOUT)

    assert done.returncode == 0, done.stderr
    assert "good day, everybody\n" in done.stdout


def test_what_does_not_lie_there_is_named(tmp_path: Path) -> None:
    """With what does, and the likely one; and where nothing is said to start, main.py is offered."""
    root = project(tmp_path / "shop", "flat")
    text = (root / "pyproject.toml").read_text()

    (root / "pyproject.toml").write_text(text.replace("main:main", "mian:main"))
    done = underway("release", cwd=root)
    assert done.returncode == 1
    assert "'mian'" in done.stderr
    assert (
        "has no [build-system], so its modules are taken as they lie, in it and in its src: helpers, main, seed"
        in done.stderr
    )
    assert "did you mean 'main'?" in done.stderr

    (root / "pyproject.toml").write_text(text.replace('main = "main:main"\n', ""))
    done = underway("release", cwd=root)
    assert done.returncode == 1
    assert 'main.py of the project starts with main = "main:main"' in done.stderr
