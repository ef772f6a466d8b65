"""Two releases: what is another between them besides their modules, and what that takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from underway.planner.diff import compared, difference
from underway.planner.releases import Opened
from underway_runtime.release import boot_script, manifest
from underway_runtime.release.boot_script import BootScript, Load, Start

FILES = {
    "python-3.11.7/bin/python3.11": "python",
    "lib/underway_runtime-1/underway_runtime/__init__.py": "",
    "lib/chat-V/chat/__init__.py": "",
    "lib/chat-V/chat/page.html": "page",
    "lib/chat-V/chat/_fast.so": "elf",
    "lib/chat-V/chat/a.py": "",
    "lib/chat-V/chat/pages/a.txt": "",
    "lib/chat-V/tool.py": "",
    "lib/chat-V/pack/__init__.py": "",
    "lib/chat-V/space/inner.py": "",
    "lib/chat-V/deep/__init__.py": "",
    "lib/chat-V/deep/inner.py": "",
    "lib/chat-V/chat-V.dist-info/METADATA": "Version: V",
    "lib/chat-V/chat-V.dist-info/entry_points.txt": "[console_scripts]",
    "lib/store-7/store.py": "",
    "lib/other-7/other.py": "import store",
    "releases/V/python.args": "-B",
    "releases/V/env.sh": "",
    "releases/V/sys.config": "{}",
    "releases/V/share/chat/a": "",
    "data/list": "",
}
CHAT = ["chat", "chat.a", "deep", "deep.inner", "pack", "space.inner", "tool"]
"""Its modules."""
ASGI = {"asgi": "chat:app", "listen": ["tcp://127.0.0.1:80"]}


def release(
    root: Path,
    version: str,
    files: Mapping[str, str | None] = {},
    starts: Mapping[str, Any] = {},
    *,
    interpreter: str = "3.11.7",
    target: str = "here",
    without: str = "",
    store: str = "7",
    schema: str | None = None,
) -> Opened:
    """A release of chat: `files` are put over those that it has, None for gone; `without` is an application less."""
    versions = {"underway_runtime": "1", "store": store, "other": "7", "chat": version}
    versions.pop(without, "")
    place = root / version / "releases" / version
    place.mkdir(parents=True)
    entries = {}
    for pattern, text in {**FILES, **files}.items():
        path = pattern.replace("-V", f"-{version}").replace("/V/", f"/{version}/").replace("store-7", f"store-{store}")
        if text is not None:
            data = text.replace("V", version).encode()
            (root / version / path).parent.mkdir(parents=True, exist_ok=True)
            (root / version / path).write_bytes(data)
            entries[path] = manifest.ManifestEntry(hashlib.sha256(data).hexdigest(), len(data))
    homes = {name: f"{name}-{number}/{name}-{number}.dist-info" for name, number in versions.items()}
    (place / "code.index").write_text(
        json.dumps({"distributions": {name.replace("_", "-"): home for name, home in homes.items()}})
    )
    rel = [
        {"name": name, "version": number, "mode": starts.get("mode", "permanent")} for name, number in versions.items()
    ]
    (place / "chat.rel").write_text(json.dumps({"applications": rel}))
    requires = {"chat": ("store",), "other": ("store",)}
    started = {"chat": starts.get("chat", ASGI)}
    loads = [
        Load(name, number, requires.get(name, ()), started.get(name), schema if name == "chat" else None)
        for name, number in versions.items()
    ]
    script = BootScript("start", "chat", version, (*loads, *(Start(name, "permanent") for name in versions)))
    (place / "start.script").write_text(boot_script.dump(script))
    return Opened(root / version, manifest.Manifest("chat", version, target, interpreter, entries), 0, root)


HOOKED = {"class": "tool:Hooked"}
INHERITS = {"class": "chat.a:Late"}
CLASSES = {
    "lib/chat-V/tool.py": "class Plain: pass\nclass Hooked:\n    def config_change(self, *a): pass\n",
    "lib/chat-V/chat/a.py": "from tool import Hooked as Early\nclass Late(Early): pass\n",
}
"""Modules with classes that start."""


def sys_config(values: Mapping[str, Any] = {}, **fields: Any) -> str:
    return json.dumps({"format": 1, "config": values, **fields})


def configured(application: str, before: str, after: str, start: Mapping[str, Any] = ASGI) -> dict[str, Any]:
    """Two releases of one application whose configuration, as built, becomes another."""
    old, new = (sys_config({application: eval(f"dict({text})")}) for text in (before, after))
    name = "releases/V/sys.config"
    return {"starts": {"chat": start}, "before": {**CLASSES, name: old}, "files": {**CLASSES, name: new}}


def at_boot(before: str, after: str, start: Mapping[str, Any] = ASGI) -> dict[str, Any]:
    """The same for what is stated at the boot."""
    name = "releases/V/runtime.py"
    return {"starts": {"chat": start}, "before": {**CLASSES, name: before}, "files": {**CLASSES, name: after}}


RUNTIME_PY = {"runtime.py": "RESTART"}

CHANGES: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("nothing but the version", {}, {}),
    ("the interpreter", {"interpreter": "3.12.1"}, {"interpreter": "RESTART"}),
    ("a patched interpreter", {"files": {"python-3.11.7/bin/python3.11": "x"}}, {"interpreter": "RESTART"}),
    ("the platform", {"target": "there"}, {"target": "REFUSE"}),
    ("the runtime", {"files": {"lib/underway_runtime-1/underway_runtime/__init__.py": "1"}}, {"underway_runtime": "RESTART"}),
    ("the arguments", {"files": {"releases/V/python.args": "-O"}}, {"python.args": "RESTART"}),
    ("the environment", {"files": {"releases/V/env.sh": "A=1"}}, {"env.sh": "RESTART"}),
    ("configuration", {"files": {"releases/V/sys.config": "1", "releases/V/runtime.py": "1"}}, {"sys.config": "HOT", "runtime.py": "HOT"}),
    ("a key that the node reads", configured("chat", "drain_timeout=1", "drain_timeout=2"), {"sys.config": "RESTART"}),
    ("a key of a web application", configured("chat", "word='a'", "word='b'"), {"sys.config": "RESTART"}),
    ("a key of underway's", configured("underway_runtime", "stop_timeout=1", "stop_timeout=2"), {"sys.config": "RESTART"}),
    ("a key of a library", configured("store", "", "size=1"), {"sys.config": "RESTART"}),
    ("a key of a class with a hook", configured("chat", "word='a'", "word='b'", HOOKED), {"sys.config": "HOT"}),
    ("a key that such a one reads at its start", configured("chat", "", "listen=['x']", HOOKED), {"sys.config": "RESTART"}),
    ("a key of a class that inherits a hook", configured("chat", "a=1", "", INHERITS), {"sys.config": "HOT"}),
    ("a key of a class without", configured("chat", "a=1", "", {"class": "tool:Plain"}), {"sys.config": "RESTART"}),
    ("a value that is the same", configured("chat", "a=1", "a=1.0", HOOKED), {"sys.config": "HOT"}),
    ("a key at boot", at_boot("config('chat', drain_timeout=1)", "config('chat', drain_timeout=2)"), {"runtime.py": "RESTART"}),
    ("a key at boot of a class with a hook", at_boot("config('chat', a=1)", "config('chat', a=env('A'))", HOOKED), {"runtime.py": "HOT"}),
    ("what a key at boot is made of", at_boot("N = 1\nconfig('chat', args=N)", "N = 2\nconfig('chat', args=N)", HOOKED), RUNTIME_PY),
    ("a key at boot that is computed", at_boot("config(A, b=1)", "config(A, b=2)", HOOKED), {"runtime.py": "RESTART"}),
    ("a comment at boot", at_boot("config('chat', listen=['x'])", "# one\nconfig('chat', listen=['x'])"), {"runtime.py": "HOT"}),
    ("a provider", {"files": {"releases/V/sys.config": sys_config(providers=[["a:B", 1]])}}, {"sys.config": "RESTART"}),
    ("a gate that asks for a path", {"files": {"releases/V/gates.json": '[{"http": "/"}]'}}, {"gates.json": "RESTART"}),
    ("a gate that does not", {"files": {"releases/V/gates.json": '[{"tcp": "a:1"}]'}}, {}),
    ("compiled code", {"files": {"lib/chat-V/chat/_fast.so": "1"}}, {"chat/_fast.so": "RESTART"}),
    ("a file", {"files": {"lib/chat-V/chat/page.html": "1"}}, {"chat/page.html": "RESTART"}),
    ("a new file", {"files": {"lib/chat-V/chat/new.html": "1"}}, {"chat/new.html": "HOT"}),
    ("a new file in a kept place", {"files": {"lib/chat-V/new.html": "", "lib/chat-V/chat/a.py": "Flask()"}}, {"new.html": "RESTART"}),
    ("a file less", {"files": {"lib/chat-V/chat/page.html": None}}, {"chat/page.html": "RESTART"}),
    ("a path file", {"files": {"lib/chat-V/chat.pth": "1"}}, {"chat.pth": "RESTART"}),
    ("what Python calls when it starts", {"files": {"lib/chat-V/chat.start": "1"}}, {"chat.start": "RESTART"}),
    ("entry points", {"files": {"lib/chat-V/chat-V.dist-info/entry_points.txt": "1"}}, {"entry_points.txt": "RESTART"}),
    ("an address", {"starts": {"chat": {**ASGI, "listen": ["tcp://127.0.0.1:81"]}}}, {"start": "RESTART"}),
    ("a script that is not a module", {"files": {"lib/chat-V/chat/01-first.py": "1"}}, {"chat/01-first.py": "HOT"}),
    ("what a wheel put into the prefix", {"files": {"releases/V/share/chat/a": "1"}}, {"share/chat/a": "RESTART"}),
    ("an overlay", {"files": {"data/list": "1"}}, {"data/list": "RESTART"}),
    ("an application less", {"without": "other"}, {"other": "HOT"}),
    ("a module that becomes a package", {"files": {"lib/chat-V/tool.py": None, "lib/chat-V/tool/__init__.py": ""}}, {"tool": "HOT"}),
    ("a package that becomes a module", {"files": {"lib/chat-V/pack.py": "", "lib/chat-V/pack/__init__.py": None}}, {"pack": "HOT"}),
    ("a module next to a package of its name", {"files": {"lib/chat-V/pack.py": ""}}, {}),
    ("the same within", {"files": {"lib/chat-V/chat/a.py": None, "lib/chat-V/chat/a/__init__.py": ""}}, {"chat.a": "HOT"}),
    ("a package in the place of a namespace", {"files": {"lib/chat-V/space/__init__.py": ""}}, {"space": "RESTART"}),
    ("a module in the place of a namespace", {"files": {"lib/chat-V/space.py": ""}}, {"space": "RESTART"}),
    ("a module in the place of a directory of data", {"files": {"lib/chat-V/chat/pages.py": ""}}, {"chat.pages": "RESTART"}),
    ("a namespace that a package leaves", {"files": {"lib/chat-V/deep/__init__.py": None}}, {"deep": "RESTART"}),
    ("a namespace that another fills", {"files": {"lib/other-7/space/__init__.py": ""}}, {"space": "RESTART", "other": "REFUSE"}),
    ("one version with two contents", {"files": {"lib/store-7/store.py": "X = 1"}}, {"store": "REFUSE"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("3.14.4", "Python 3.14 is upgraded in place from 3.14.5 on, and not 3.14.4"),
        ("3.15.1", "Python 3.15 is upgraded in place from 3.15.2 on, and not 3.15.1"),
        ("3.16.0rc1", "an upgrade in place was never tried with Python 3.16"),
    ],
)
def test_with_a_python_that_it_was_not_tried_with_nothing_is_in_place(
    tmp_path: Path, version: str, reason: str
) -> None:
    """The plan is a fresh interpreter, with the reason by name, however small the edit is."""
    found = difference(release(tmp_path, "1", interpreter=version), release(tmp_path, "2", interpreter=version))

    assert not found.in_place
    assert [(row.verdict, row.reason) for row in found.rows] == [("RESTART", reason)]


@pytest.mark.parametrize("version", ["3.11.0", "3.13.5", "3.14.5", "3.14.10", "3.15.2"])
def test_with_a_python_that_it_was_tried_with_an_edit_is_in_place(tmp_path: Path, version: str) -> None:
    """Each minor version from its first micro version on."""
    assert difference(release(tmp_path, "1", interpreter=version), release(tmp_path, "2", interpreter=version)).in_place


@pytest.mark.parametrize(("change", "expected"), [pytest.param(*case[1:], id=case[0]) for case in CHANGES])
def test_what_is_another_has_its_verdict(tmp_path: Path, change: dict[str, Any], expected: dict[str, str]) -> None:
    """A process can't exchange what it was started with; what it may have read already takes a fresh one, or the appup's word."""
    how = {key: value for key, value in change.items() if key != "before"}
    old = release(tmp_path, "1", change["before"], how["starts"]) if "before" in change else release(tmp_path, "1")
    found = difference(old, release(tmp_path, "2", **how))

    assert {row.definition or row.module: row.verdict for row in found.rows} == expected
    assert all(row.reason for row in found.rows)
    assert found.changed == ("chat",)


SCHEMA = "LIMIT = 1\nclass Part:\n    size: int = LIMIT\nclass Settings(Part):\n    word: str = 'a'\n"


@pytest.mark.parametrize(
    ("edit", "verdicts"),
    [
        (("'a'", "'b'"), ["RESTART"]),
        (("LIMIT = 1", "LIMIT = 2"), ["RESTART"]),
        (("class Settings", "class Other:\n    size = 1\nclass Settings"), []),
    ],
)
def test_another_default_of_a_schema_is_another_configuration(
    tmp_path: Path, edit: tuple[str, str], verdicts: list[str]
) -> None:
    """Of the class, of what it inherits from and of what it is made of; what else is in its module does not count."""
    texts = SCHEMA, SCHEMA.replace(*edit)
    old, new = (
        release(tmp_path, str(number), {"lib/chat-V/chat/a.py": text}, schema="chat.a:Settings")
        for number, text in enumerate(texts, 1)
    )
    assert [row.verdict for row in difference(old, new).rows] == verdicts


@pytest.mark.parametrize(
    ("source", "asked"), [("Flask()", True), ("StaticFiles()\nTemplateLookup()", False), ("Flasks()", False)]
)
def test_of_a_new_file_it_is_asked_whether_who_keeps_its_place_looks_in_the_new_one(
    tmp_path: Path, source: str, asked: bool
) -> None:
    """Of those that the process tells where that is; one of them that it does not tell is enough for RESTART."""
    old = release(tmp_path, "1", {"lib/chat-V/chat/a.py": source})
    new = release(tmp_path, "2", {"lib/chat-V/chat/a.py": source, "lib/chat-V/chat/new.html": ""})

    found = difference(old, new)

    assert [row.definition for row in found.asked] == ["chat/new.html"] * asked
    assert [row.verdict for row in found.rows] == ["HOT" if source == "Flasks()" else "RESTART"]


def test_a_file_may_change_where_the_appup_says_so(tmp_path: Path) -> None:
    """It is named as it is in its package."""
    old, new = release(tmp_path, "1"), release(tmp_path, "2", {"lib/chat-V/chat/page.html": "2"})

    assert difference(old, new, frozenset({("chat", "page.html")})).rows == ()


def test_who_may_hold_what_changes_is_compared_too(tmp_path: Path) -> None:
    """The modules of an application that changes, and those of others that require it and import of it."""
    old, new = release(tmp_path, "1"), release(tmp_path, "2", store="8")

    assert compared(old, new, difference(old, new)) == sorted([*CHAT, "other", "store"])
    assert compared(old, release(tmp_path, "3"), difference(old, release(tmp_path, "4"))) == CHAT


def test_modules_that_import_by_way_of_others_are_compared(tmp_path: Path) -> None:
    """What a library in between has imported, others may have from it; over several lines, and with dots."""
    files = {
        "lib/other-7/other/__init__.py": "",
        "lib/other-7/other.py": None,
        "lib/other-7/other/a.py": "from store import (\n    x,\n    y)",
        "lib/other-7/other/b.py": "from . import (a,\n  c)",
        "lib/other-7/other/c.py": "import json",
        "lib/other-7/other/d.py": "from .b import x as z",
    }
    old, new = release(tmp_path, "1", files), release(tmp_path, "2", files, store="8")

    found = compared(old, new, difference(old, new))

    assert [name for name in found if name.startswith("other")] == ["other.a", "other.b", "other.d"]


def test_applications_come_and_go(tmp_path: Path) -> None:
    """In the order of the start."""
    old, new = release(tmp_path, "1", without="other"), release(tmp_path, "2", without="store")
    found = difference(old, new)

    assert (found.added, found.changed, found.removed) == (("other",), ("chat",), ("store",))


def test_a_main_that_forks_its_workers_is_told(tmp_path: Path) -> None:
    """A known server of that kind: what is planned in place is handed over while there is a worker."""
    starts = {"chat": {"main": "gunicorn.app.wsgiapp:run", "args": ["chat:app"]}}
    found = difference(release(tmp_path, "1", starts=starts), release(tmp_path, "2", starts=starts))

    [row] = found.rows
    assert (row.module, row.definition, row.change, row.verdict) == ("chat", "start", "processes", "HOT")
