"""Pages of the docs, typed as they stand: each command succeeds, and prints what the page shows, line by line.

A command with nothing below it may print what it likes; `...` stands for any number of lines.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ports import free_port
from projects import ENVIRONMENT, UNDERWAY

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    pytest.param(("tutorial/first-release.md",), id="tutorial"),
    pytest.param(("how-to/upgrade.md", "reference/relup.md"), id="upgrade", marks=pytest.mark.drill),
)
"""Those of a row are typed one after the other."""


@dataclass(frozen=True)
class Typed:
    """A command of a page, and the lines that the page shows after it."""

    command: str
    shown: tuple[str, ...]


def commands(page: Path) -> Iterator[Typed]:
    """Those of its console blocks, in order."""
    for block in re.findall(r"^```console\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *shown = text.splitlines()
            yield Typed(command, tuple(shown))


def elsewhere(text: str, place: Path, ports: dict[str, str]) -> str:
    """The same with directories and ports of this test alone."""
    text = text.replace("/tmp", str(place))
    for port, other in ports.items():
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{other}")
    return text


def says(shown: tuple[str, ...], place: Path, ports: dict[str, str]) -> re.Pattern[str]:
    """Lines as a pattern: other numbers will do, and the interpreter of this machine."""
    lines = (r"(?:.*\n)*?" if line == "..." else re.escape(elsewhere(line, place, ports)) + r"\n" for line in shown)
    pattern = "".join(lines)
    pattern = re.sub(r"py3\\\.\d+\\\.\d+", r"py[\\d.]+", pattern)
    pattern = re.sub(r"\\\"pid\\\":\d+|\"pid\":\d+", r'"pid":\\d+', pattern)
    pattern = re.sub(r"(pid|keeper)\\ \d+", r"\1\\ \\d+", pattern)
    pattern = re.sub(r"for\\ \d+\\ (ms|s)\b", r"for\\ \\d+\\ \1", pattern)
    pattern = re.sub(r"20\d\d\\-\d\d\\-\d\d\\ \d\d:\d\d:\d\d\\ \\\+0000", r"20[-\\d: ]+\\+0000", pattern)
    return re.compile(re.sub(r"20\d\d\\-\d\d\\-\d\dT\d\d:\d\d:\d\dZ", r"[-\\dT:]+Z", pattern))


@pytest.mark.e2e
@pytest.mark.timeout(400)
@pytest.mark.parametrize("pages", PAGES)
def test_a_page_is_true_when_it_is_typed(pages: tuple[str, ...], tmp_path: Path) -> None:
    """In a fresh directory, from the first command to the last, which stops what was started."""
    place = tmp_path / "t"
    place.mkdir(mode=0o755)
    ports = {"8000": str(free_port()), "9000": str(free_port())}
    examples = place / "clone/examples"
    examples.mkdir(parents=True)
    for name in ("chat", "chat-0.2.0"):
        subprocess.run(["cp", "-r", str(ROOT / "examples" / name), str(examples)], check=True, timeout=60)
    project = examples / "chat/pyproject.toml"
    project.write_text(elsewhere(project.read_text(), place, ports))
    environ = {**ENVIRONMENT, "PATH": f"{UNDERWAY.parent}:{os.environ['PATH']}"}
    directory = examples.parent
    try:
        typed = [command for page in pages for command in commands(ROOT / "docs" / page)]
        assert len(typed) > 10
        for each in typed:
            status, said = type_in(elsewhere(each.command, place, ports), directory, environ, place)
            assert status == 0, f"{each.command}\n{said}"
            if each.shown:
                shown = says(each.shown, place, ports)
                assert shown.fullmatch(said.rstrip("\n") + "\n"), (
                    f"{each.command}\nprints\n{said}\nand not\n{shown.pattern}"
                )
            directory = Path((place / "pwd").read_text().rstrip("\n"))
        assert not running(place)
    finally:
        for pid in running(place):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def type_in(command: str, directory: Path, environ: dict[str, str], place: Path) -> tuple[int, str]:
    """Status and words of a command; where it leaves the shell is in ``pwd``. What it starts in the background may go on."""
    script = f'{command}; status=$?; pwd >"$0"; exit $status'
    with (place / "out").open("w") as out:
        done = subprocess.run(
            ["bash", "-c", script, str(place / "pwd")],
            cwd=directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=200,
        )
    return done.returncode, (place / "out").read_text()


def running(place: Path) -> list[int]:
    """Processes whose command line names this directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if f"{place}/".encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found
