"""underway rehearse, with real releases that serve."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from projects import build, underway, write_project
from underway_runtime.observation.node import digest_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

TOOL = """\
[tool.underway]
wsgi = "hello.web:app"
listen = ["tcp://127.0.0.1:1"]
include-interpreter = false
upgrade-from = []
"""
WEB = """\
import json
import os

LIMIT = max(1, 0)
seen = []

def answer(path):
    return {"path": path, "pid": os.getpid(), "times": len(seen), "limit": LIMIT}

def app(environ, start_response):
    seen.append(environ["PATH_INFO"])
    body = json.dumps(answer(environ["PATH_INFO"])).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]
"""
KEEPS = """\
from underway_runtime.appup import Appup, Keep

appup = Appup("0.3.0", up={"0.1.0": [Keep("hello.web", "LIMIT")]}, down={"0.1.0": [Keep("hello.web", "LIMIT")]})
"""
TRAFFIC = '{"method": "GET", "path": "/one"}\n{"method": "POST", "path": "/two", "body": "x"}\n'
ASK = """\
import json
from urllib.request import urlopen

def ask(url):
    with urlopen(f"{url}/function", timeout=10) as answer:
        return json.load(answer)
"""


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with traffic and four releases next to it: 1, 2 with another answer, 3 whose appup has it count otherwise than a
    fresh start, 4 that takes a fresh interpreter."""
    place = tmp_path_factory.mktemp("rehearse")
    sources = {
        "0.1.0": WEB,
        "0.2.0": WEB.replace('"path": path', '"path": path, "new": True'),
        "0.3.0": WEB.replace("max(1, 0)", "max(2, 0)"),
        "0.4.0": f"import signal\n{WEB}signal.signal(signal.SIGUSR2, signal.SIG_IGN)\n",
    }
    root = place / "hello"
    for version, source in sources.items():
        tool = f'{TOOL}appup = "appup.py"\n' if version == "0.3.0" else TOOL
        files = {"src/hello/web.py": source, "appup.py": KEEPS}
        write_project(root, tool, files, version=version, dependencies=["waitress"], lock=version == "0.1.0")
        lock = (root / "uv.lock").read_text()
        (root / "uv.lock").write_text(
            lock.replace('name = "hello"\nversion = "0.1.0"', f'name = "hello"\nversion = "{version}"')
        )
        build(root, "--path", place / version)
        (root / "uv.lock").write_text(lock)
    (root / "traffic.jsonl").write_text(TRAFFIC)
    (root / "asking.py").write_text(ASK)
    return place


def rehearsed(
    releases: Path, new: str, *arguments: str, traffic: str = "traffic.jsonl"
) -> tuple[int, dict[str, Any], str]:
    sides = (releases / "0.1.0", releases / new)
    done = underway(
        "rehearse", *sides, "--traffic", traffic, "--json", *arguments, cwd=releases / "hello", env=scratch(releases)
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def scratch(releases: Path) -> dict[str, str]:
    """Where these rehearsals are, and no others."""
    (releases / "scratch").mkdir(exist_ok=True)
    return {"TMPDIR": str(releases / "scratch")}


def running_below(place: Path) -> list[int]:
    """Processes whose command line names it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                found += [int(entry.name)] if os.fsencode(place) in (entry / "cmdline").read_bytes() else []
            except OSError:
                continue
    return found


def test_an_upgrade_that_holds_is_as_fresh_starts_before_and_after_and_back(releases: Path) -> None:
    """In the process that ran, with what it has counted; a pid does not count; nothing runs afterwards, nor is left in the project."""
    before = sorted(os.listdir(releases / "hello"))

    status, outcome, said = rehearsed(releases, "0.2.0", "--at-least", "hot")

    assert (status, outcome["ok"], outcome["in_place"], outcome["verdict"]) == (0, True, True, "HOT"), said
    assert [each["objects"] for each in outcome["phases"]] == [[], [], []]
    assert [(each["name"], each["exchanges"], each["differences"]) for each in outcome["phases"]] == [
        ("before", 2, []),
        ("upgraded", 2, []),
        ("rolled back", 2, []),
    ]
    assert sorted(os.listdir(releases / "hello")) == before
    assert running_below(releases / "scratch") == []


@pytest.mark.drill
def test_a_fresh_interpreter_may_have_forgotten(releases: Path) -> None:
    """What took over by a handover is as a fresh start that nobody has asked before, and that does not count as a difference."""
    status, outcome, said = rehearsed(releases, "0.4.0")

    assert (status, outcome["ok"], outcome["in_place"], outcome["verdict"]) == (0, True, False, "RESTART"), said


SHOWN_1, SHOWN_2 = (f"int #{digest_of(text)[:8]}" for text in ("1", "2"))


def test_what_is_not_as_after_a_fresh_start_is_told(releases: Path) -> None:
    """A value that the appup keeps is the old one: the status is 1, and each answer is named with the place; it may be ignored."""
    status, outcome, said = rehearsed(releases, "0.3.0", "--at-least", "hot")

    assert (status, outcome["ok"], outcome["in_place"]) == (1, False, True), said
    upgraded = {each["name"]: each["differences"] for each in outcome["phases"]}
    assert upgraded["before"] == upgraded["rolled back"] == []
    assert upgraded["upgraded"] == [
        {"exchange": "GET /one", "place": "body.limit", "found": "1", "wanted": "2"},
        {"exchange": "POST /two", "place": "body.limit", "found": "1", "wanted": "2"},
    ]
    assert [each["objects"] for each in outcome["phases"]] == [
        [],
        [{"exchange": "picture", "place": "hello.web.LIMIT", "found": SHOWN_1, "wanted": SHOWN_2}],
        [],
    ]
    assert rehearsed(releases, "0.3.0", "--ignore", "* body.limit", "--ignore", "picture *.LIMIT")[0] == 0


@pytest.mark.drill
def test_a_function_asks_too(releases: Path) -> None:
    """One of the project's, which is given the URL, and returns what is compared."""
    status, outcome, said = rehearsed(releases, "0.2.0", traffic="asking:ask")

    assert (status, outcome["ok"]) == (0, True), said
    assert [each["exchanges"] for each in outcome["phases"]] == [1, 1, 1]


def test_more_than_was_asked_for_is_not_even_begun(releases: Path) -> None:
    """The status is 3, and nothing has run."""
    status, outcome, said = rehearsed(releases, "0.4.0", "--at-least", "hot")

    assert (status, outcome) == (3, {})
    assert "the change is RESTART" in said
    assert "asking" not in said


def test_what_asks_must_be_there(releases: Path) -> None:
    """A file or a function: the error says how one gets a file; and it is bounded in time."""
    status, _, said = rehearsed(releases, "0.2.0", traffic="nothing.jsonl")
    assert status == 1
    assert "nothing.jsonl is not a file of traffic" in said

    status, _, said = rehearsed(releases, "0.2.0", "--timeout", "1.5")
    assert status == 1
    assert "--timeout gives it more" in said or "takes too long" in said
    assert running_below(releases / "scratch") == []
