"""Who has asked whether there is a module that comes or goes: in a process that runs the answer is that of before."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from handover_helpers import asgi
from hot_helpers import compiled, write_rel
from node_helpers import App, MakeNode
from projects import build, underway
from test_release_difference import release
from underway.planner.diff import difference
from underway.planner.plan import plan
from underway.planner.releases import open_release
from underway.review.next_version import as_next
from versions import seal
from wheels import locked_project, write_wheel

ASKS = {
    "an import that is tried": "try:\n    import store\nexcept ImportError:\n    store = None",
    "something of it": "try:\n    from store import thing\nexcept ImportError:\n    thing = None",
    "an import in a function": "def has():\n    import store",
    "by its name": "from importlib.util import find_spec\nHAS = find_spec('store') is not None",
    "through somebody else": "HAS = other.is_there('store:main')",
    "what was imported": "import sys\nHAS = 'store' in sys.modules",
    "the version of a distribution": "from importlib.metadata import version\nV = version('Store')",
    "all distributions": "from importlib.metadata import distributions\nALL = [*distributions()]",
}
NOT = {
    "another": "try:\n    import stores\nexcept ImportError:\n    stores = None",
    "a longer text": "HAS = 'is it in store?'",
    "versions of others": "from importlib.metadata import version\nV = version('chat')",
    "nothing": "",
}


@pytest.mark.parametrize("text", [*ASKS, *NOT])
def test_who_may_have_asked_for_what_comes_or_goes_is_told_by_its_text(tmp_path: Path, text: str) -> None:
    """A row for the module, up and down, until somebody looks; none for a module that does not name what comes."""
    files = {"lib/other-7/other.py": {**ASKS, **NOT}[text]}
    without, having = release(tmp_path, "1", files, without="store"), release(tmp_path, "2", files)

    expected = ["other"] if text in ASKS else []
    assert difference(without, having).asking == expected
    assert difference(having, without).asking == expected
    assert not difference(having, release(tmp_path, "3", files)).asking


def test_names_that_are_put_together_count(tmp_path: Path) -> None:
    """`import_module(f".{name}", __package__)` names a module by its last part."""
    files = {
        "lib/chat-V/chat/a.py": "from importlib import import_module\nfor name in ('b', 'c'): import_module('.' + name)"
    }
    old = release(tmp_path, "1", files)

    assert difference(old, release(tmp_path, "2", {**files, "lib/chat-V/chat/b.py": ""})).asking == ["chat.a"]
    assert not difference(old, release(tmp_path, "3", {**files, "lib/chat-V/chat/d.py": ""})).asking


SHOP = "import bench_desk\nLIMIT = {limit}\ndef main() -> None: ...\n"
KEEPS = "try:\n    import bench_extra\nexcept ImportError:\n    bench_extra = None\n"
LATER = "def show():\n    import bench_extra\n    return bench_extra\n"


@pytest.mark.e2e
@pytest.mark.parametrize(("desk", "verdict"), [(KEEPS, "RESTART"), (LATER, "HOT")], ids=["kept", "asked when called"])
@pytest.mark.in_place
def test_a_library_that_finds_another_at_its_import_takes_a_fresh_interpreter(
    tmp_path: Path, desk: str, verdict: str
) -> None:
    """As Starlette finds python-multipart; a library that asks each time, or keeps nothing of it, stays in place."""
    releases = []
    for limit in (7, 8):
        place = tmp_path / str(limit)
        wheels = [
            write_wheel(place / "w", "bench_desk", {"bench_desk.py": desk}),
            write_wheel(place / "w", "bench_shop", {"bench_shop.py": SHOP.format(limit=limit)}, version=str(limit)),
            *([write_wheel(place / "w", "bench_extra", {"bench_extra.py": ""})] if limit == 8 else []),
        ]
        project = locked_project(place / "shop", wheels)
        text = (project / "pyproject.toml").read_text().replace('version = "1"', f'version = "{limit}"')
        tool = 'main = "bench_shop:main"\ninclude-interpreter = false\nsteps = ["underway.steps:assemble"]\n'
        (project / "pyproject.toml").write_text(f"{text}\n[tool.underway]\n{tool}")
        releases.append(build(project, "--path", place / "release"))

    planned = json.loads(underway("plan", *releases, "--json", cwd=tmp_path).stdout)

    assert planned["verdict"] == verdict, planned
    assert "whether there is bench_extra, which comes" in json.dumps(planned) or verdict == "HOT"


@pytest.mark.in_place
def test_an_application_that_comes_is_imported_where_the_release_has_it(make: MakeNode) -> None:
    """Each of the two releases has a root of its own; the look finds in the newer one what only that has."""
    text = "N = 1\nX = [N + each for each in (1, 2)]\ndef f(): return 1\n"
    newer = "import extra\n" + text.replace("return 1", "return extra.N").replace("N = 1", "N = 2")
    old_node, new_node = make(asgi(text), at="old"), make(asgi(newer), App("extra", "N = 2\n", {}), at="new")
    for node in (old_node, new_node):
        compiled(node, "1")
        write_rel(node, "1")
        seal(node)
    with ExitStack() as cleanup:
        old, built = (open_release(node.root / "releases/1", cleanup) for node in (old_node, new_node))
        new, _ = as_next(old, built)
        [entry] = plan(new, [old], []).up

    assert entry.verdict == "HOT", entry.changes
