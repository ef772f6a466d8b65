"""appup.py: what an application says of its own upgrades, compiled into its release and obeyed by `underway relup`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from projects import build, underway, write_project
from underway_runtime import appup as a
from underway_runtime.release import instructions as i
from underway_runtime.release import relup

STEPS: list[a.Step] = [
    a.Update("m", a.Advanced({"by": (1, 2)}), deps=("n",), timeout=3.0, static=True),
    a.Update("n", "supervisor", post="soft"),
    a.LoadModule("o", pre="soft"),
    a.AddModule("p"),
    a.DeleteModule("q", ("p",)),
    a.AddApplication("r", "transient"),
    a.RemoveApplication("s"),
    a.RestartApplication("t"),
    a.Keep("m", "X"),
    a.Reset("m", "Y"),
    a.Pin("u"),
    a.LoadObjectCode("m", "2", ("m",)),
    a.PointOfNoReturn(),
    a.Load("m"),
    a.Remove("q"),
    a.Purge(("q",)),
    a.Suspend((("m", "infinity"),)),
    a.Resume(("m",)),
    a.CodeChange("up", (("m", {"by": 1}),)),
    a.Stop(("m",)),
    a.Start(("m",)),
    a.SyncNodes("here", ("one", "two")),
    a.Apply("m", "f", (1, "x")),
    a.ApplicationLoad("r"),
    a.ApplicationStart("r"),
    a.ApplicationStop("r"),
    a.ApplicationUnload("r"),
    a.RestartNewEmulator(),
    a.RestartEmulator(),
]


def test_an_appup_is_read_as_it_was_compiled() -> None:
    """Every instruction, with whatever is in it; versions as such and as patterns."""
    made = a.Appup("2", up={"1": STEPS, re.compile(r"0\..*"): []}, down={"1": STEPS[:3]})
    read = a.parse(a.dump(made))

    assert a.problems_of(made) == []
    assert a.dump(read) == a.dump(made)
    assert read.steps("up", "1") == tuple(STEPS)


@pytest.mark.parametrize(
    ("version", "found"),
    [("1.0", "exact"), ("1.0.1", "pattern"), ("11.0", None), ("1x0", "pattern"), ("2.0", None)],
)
def test_a_version_is_itself_and_a_pattern_matches_all_of_one(version: str, found: str | None) -> None:
    """The first that fits is taken; a pattern that matches a part only does not fit."""
    made = a.Appup("3", up={"1.0": [a.Pin("exact")], re.compile("1.0(.1)?"): [a.Pin("pattern")]})

    assert made.steps("up", version) == (None if found is None else (a.Pin(found),))
    assert made.steps("down", version) is None


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (3, "appup is an Appup, not 3"),
        (a.Appup(3), "version is a string, not 3"),  # type: ignore[arg-type]
        (a.Appup("1", up={3: []}), "up: 3 is neither a version nor a pattern"),  # type: ignore[dict-item]
        (a.Appup("1", up={"0": ["x"]}), "up 0: 'x' is not an instruction"),  # type: ignore[list-item]
        (a.Appup("1", up={"0": [a.Update(3)]}), "module is a string, not 3"),  # type: ignore[arg-type]
        (a.Appup("1", up={"0": [a.Update("m", "hard")]}), "a change is soft, supervisor or Advanced"),  # type: ignore[arg-type]
        (a.Appup("1", up={"0": [a.Update("m", a.Advanced(object()))]}), "<class 'object'> is not plain"),
        (a.Appup("1", down={"0": [a.LoadModule("m", pre="x")]}), "pre is one of soft, brutal"),  # type: ignore[arg-type]
        (a.Appup("1", up={"0": [a.Suspend((("m", -1),))]}), "-1 is not a time to wait"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_appup_is_told(made: object, problem: str) -> None:
    """The problem says for which way and version it is."""
    assert any(problem in each for each in a.problems_of(made)), a.problems_of(made)


HELLO = """\
import logging
log = logging.Logger("{0}")

def hello():
    return {0}

def main():
    print("hello", flush=True)
"""

APPUP = """\
from importlib.metadata import version
from underway_runtime.appup import Apply, Appup, Keep, Reset, Update
import re

appup = Appup(
    version("hello"),
    up={re.compile(r"0[.]1[.].*"): [Keep("hello", "log"), Keep("hello", "page.html"), Update("hello", timeout=1.5)]},
    down={"0.1.0": [Reset("hello", "log"), Keep("hello", "page.html"), Apply("hello", "hello")]},
)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of which two versions are built; the second has an appup.py, and a file and a logger that are others."""
    tool = '[tool.underway]\nmain = "hello:main"\nappup = "appup.py"\n'
    files = {"src/hello/__init__.py": HELLO.format(1), "src/hello/page.html": "1"}
    root = write_project(
        tmp_path_factory.mktemp("appup") / "hello",
        tool,
        {**files, "appup.py": "from underway_runtime.appup import Appup\nappup = Appup('0.1.0')\n"},
    )
    build(root)
    for file in ("pyproject.toml", "uv.lock"):
        (root / file).write_text((root / file).read_text().replace('version = "0.1.0"', 'version = "0.2.0"'))
    for name, source in {"__init__.py": HELLO.format(2), "page.html": "2"}.items():
        (root / "src/hello" / name).write_text(source)
    (root / "appup.py").write_text(APPUP)
    build(root)
    return root


@pytest.mark.in_place
def test_relup_does_what_the_appup_says(project: Path) -> None:
    """What no rule proves safe is decided by the application: kept one way, made again the other; its own update is taken."""
    places = project / "build/release/hello/releases"
    done = underway(
        "relup", "--target", places / "0.2.0", "--fromto", places / "0.1.0", "--json", "--dry-run", cwd=project
    )

    assert done.returncode == 0, done.stderr
    made = relup.parse(done.stdout)
    [up], [down] = made.up, made.down
    assert {(row.definition, row.verdict) for row in up.changes} == {("log", "HOT"), ("hello", "HOT")}
    assert i.Suspend((("hello", 1.5),)) in up.instructions
    [load] = [each for each in down.instructions if isinstance(each, i.Load)]
    assert load.replaced == ("log",)
    assert i.Apply("hello", "hello") in down.instructions


def test_a_wheel_may_bring_the_notes_of_its_library(project: Path) -> None:
    """By an entry point; and notes that are for another version, or raise, stop the build with what is wrong."""
    text = (project / "pyproject.toml").read_text()
    points = '[project.entry-points."underway.appup"]\nhello = "hello.notes:make"\n'
    notes = project / "src/hello/notes.py"
    without = text.replace('appup = "appup.py"\n', "")
    (project / "pyproject.toml").write_text(without.replace("[build-system]", f"{points}\n[build-system]"))
    for source, said in (
        ("from underway_runtime import appup as a\ndef make():\n    return a.Appup('0.2.0', up={'0.1.0': []})\n", ""),
        (
            "from underway_runtime import appup as a\ndef make():\n    return a.Appup('9')\n",
            "hello.notes:make is for hello 9",
        ),
        ("def make():\n    raise OSError('no')\n", "hello.notes:make raised OSError: no"),
        ("def make():\n    return 3\n", "hello.notes:make makes no appup:\n  - appup is an Appup, not 3"),
    ):
        notes.write_text(source)
        done = underway("release", "--overwrite", cwd=project)

        assert (done.returncode, said in done.stderr) == (1 if said else 0, True), done.stderr
    [compiled] = (project / "build/release/hello/lib").glob("hello-0.2.0-py*/hello.appup")
    assert a.parse(compiled.read_text()).steps("up", "0.1.0") == ()
