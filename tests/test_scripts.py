"""Scripts of wheels run in a release as they do in a virtual environment, whatever their first lines say."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from projects import TIMEOUT
from stages import stage_of
from underway.steps import scripts
from underway.toolchain import interpreters
from wheels import locked_project, write_wheel

SCRIPTS: dict[str, tuple[str, str]] = {
    "docstring and future": ('"""What I am."""\nfrom __future__ import annotations\nprint(__doc__)\n', "What I am."),
    "future alone": ("# a comment\n\nfrom __future__ import annotations\nprint(__doc__)\n", "None"),
    "docstring alone": ("'''Usage:\n  me [-v]\n'''\nprint(__doc__)\n", "Usage:\n  me [-v]\n"),
    "neither": ("print(__doc__, 1)\n", "None 1"),
    "several futures": (
        (
            '("What " "I am.")\nfrom __future__ import (\n  annotations,\n  division as d,\n)\n'
            "from __future__ import generator_stop; import sys\nprint(__doc__, d.optional[0], sys._getframe().f_lineno)\n"
        ),
        "What I am. 2 10",
    ),
    "another encoding": (
        "# -*- coding: latin-1 -*-\n'''Gr\xfc\xdfe'''\nfrom __future__ import annotations\nprint(ascii(__doc__))\n",
        "'Gr\\xfc\\xdfe'",
    ),
    "an encoding with a mark": (
        "# coding: utf-8-sig\n'''Gr\xfc\xdfe'''\nfrom __future__ import annotations\nprint(ascii(__doc__))\n",
        "'Gr\\xfc\\xdfe'",
    ),
    "what is not a docstring": ("from __future__ import annotations\nf'{1}'\nprint(__doc__)\n", "None"),
    "names that are annotations": (
        "from __future__ import annotations\ndef f(x: nowhere): pass\nprint(f.__annotations__)\n",
        "{'x': 'nowhere'}",
    ),
}


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the scripts of a wheel as a release has them, and an interpreter."""
    root = tmp_path_factory.mktemp("project")
    python = interpreters.describe(Path(sys.executable))
    files = {
        f"scripts/{name}": f"#!python\n{text}".encode("latin-1" if "latin-1" in text else "utf-8")
        for name, (text, _) in SCRIPTS.items()
    }
    wheel = write_wheel(
        root, "kit", {"kit.py": "", **files}, entry_points="[console_scripts]\nkit = kit:__name__.upper\n"
    )
    [application] = [
        each
        for name, each in stage_of(locked_project(root / "kit-user", [wheel]), root / "stage", python).items()
        if name == "kit"
    ]
    place = application.source.parents[2] / "bin"
    (place / "python").symlink_to(python.executable)
    return place


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_what_its_wheel_says(placed: Path, name: str) -> None:
    """Its docstring, what it takes from the future are those in the wheel, and no line has moved since uv wrote it."""
    done = subprocess.run([placed / name], capture_output=True, text=True, timeout=TIMEOUT, check=False)

    assert (done.stdout.rstrip("\n"), done.stderr) == (SCRIPTS[name][1].rstrip("\n"), "")


@pytest.mark.parametrize(
    "content",
    [
        b"#!/bin/sh\necho hello\n",
        b"#!/bin/sh\n'''exec' x \"$0\" \"$@\"\n' '''\nprint(1)\n",
        b"#!/bin/sh\n'''exec' x \"$0\" \"$@\"\n' '''\nnot ( Python __doc__\n",
        b"#!/bin/sh\n# coding: nowhere\n'''exec' x \"$0\" \"$@\"\n' '''\n'''doc'''\n",
        b"\x7fELF",
        b"",
    ],
)
def test_what_needs_nothing_is_not_touched(content: bytes) -> None:
    """Shell scripts, scripts without first words, what is not Python."""
    assert scripts.settled(content) == content


def test_scripts_are_settled_in_several_threads() -> None:
    """What each of two threads makes of a long script is what one alone makes, wherever the collector lets the other go on.

    Without a turn for each, Python 3.11 raises SystemError: "AST constructor recursion depth mismatch".
    """
    names = ", ".join(f"a{number} + b.c({number})" for number in range(300))
    script = f"#!/bin/sh\n'''exec' python \"$0\" \"$@\"\n' '''\n'''Usage'''\nx = [{names}]\n".encode()
    expected, threshold = scripts.settled(script), gc.get_threshold()

    def let_others_go_on(*_: object) -> None:
        time.sleep(0)

    gc.callbacks.append(let_others_go_on)
    gc.set_threshold(5)
    try:
        with ThreadPoolExecutor(2) as pool:
            made = list(pool.map(scripts.settled, [script] * 40))
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(let_others_go_on)

    assert expected != script
    assert made == [expected] * 40
