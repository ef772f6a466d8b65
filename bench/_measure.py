"""What all measurements share: the example in a scratch directory, interleaved rounds, a ratio, a plot."""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from pathlib import Path
from statistics import median
from urllib.request import ProxyHandler, build_opener

REPOSITORY = Path(__file__).resolve().parents[1]
TOOLS = Path(sys.executable).parent
PLOTS = REPOSITORY / "build/bench"


def rounds(default: int = 5) -> int:
    """How many rounds were asked for on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=default)
    return int(parser.parse_known_args()[0].rounds)  # other arguments are for other benches


@contextmanager
def scratch_project() -> Iterator[Path]:
    """A copy of examples/chat, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="underway-bench-") as scratch:
        project = Path(scratch, "chat")
        ignored = shutil.ignore_patterns("build", ".venv", "__pycache__", ".pytest_cache")
        shutil.copytree(REPOSITORY / "examples/chat", project, ignore=ignored)
        yield project


def run(*command: str | Path, cwd: Path, **env: str) -> None:
    """Run a command that must succeed; it is silent unless it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environment |= {"UV_PYTHON_DOWNLOADS": "never", **env}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with status {done.returncode}\n{done.stdout}{done.stderr}")


def make_venv(project: Path, python: str = sys.executable) -> Path:
    """The project in a virtual environment next to it, byte-compiled, by uv; the baseline."""
    run(
        TOOLS / "uv",
        *("sync", "--quiet", "--locked", "--no-dev", "--no-editable", "--compile-bytecode", "--python", python),
        cwd=project,
    )
    return project / ".venv"


def make_release(project: Path) -> Path:
    """The project as a release, with the interpreter that measures."""
    run(TOOLS / "underway", "release", "--quiet", "--overwrite", "--python", sys.executable, cwd=project)
    return project / "build/release/chat"


def seconds_to_answer(command: list[str | Path], port: int, env: Mapping[str, str]) -> float:
    """From launching a server to its first answer; the server is ended."""
    ask = build_opener(ProxyHandler({})).open
    began = time.perf_counter()
    with subprocess.Popen(command, env=dict(env), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while time.perf_counter() - began < 60:
                if server.poll() is not None:
                    sys.exit(f"{command[0]} ended with status {server.returncode} before it answered")
                try:
                    with ask(f"http://127.0.0.1:{port}/health", timeout=5):
                        return time.perf_counter() - began
                except OSError:
                    time.sleep(0.002)
            sys.exit(f"{command[0]} did not answer within a minute")
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def timed(action: Callable[[], object]) -> float:
    """How many seconds an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def compare(title: str, ways: Mapping[str, Callable[[], float]], count: int) -> None:
    """Measure each way in each round, one after the other, print medians and the ratio to the first, and plot them.

    The ratio is the median of the rounds' own ratios, so that what slows a whole round down cancels out.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(count):
        for name, measure in ways.items():
            seconds[name].append(measure())
    baseline = next(iter(ways))
    print(f"\n{title} ({count} rounds, {os.cpu_count()} processors, Python {sys.version.split()[0]})")
    width = max(map(len, ways))
    ratios = {}
    for name, values in seconds.items():
        ratios[name] = median(value / base for value, base in zip(values, seconds[baseline], strict=True))
        print(f"  {name:{width}}  {median(values):7.3f} s   ratio {ratios[name]:5.2f}")
    file = PLOTS / f"{Path(sys.argv[0]).stem}.svg"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(plot(title, seconds), encoding="utf-8")
    print(f"  {file.relative_to(REPOSITORY)}")


def plot(title: str, seconds: Mapping[str, list[float]]) -> str:
    """A picture, in SVG: a bar to the median of each way, a dot for each round."""
    left, right, row = 220, 480, 34
    scale = right / max(value for values in seconds.values() for value in values)
    height = 50 + row * len(seconds)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right + 90}" height="{height}">',
        "<style>text { font: 13px sans-serif } text:first-of-type { font-size: 15px }</style>",
        f'<text x="10" y="22">{escape(title)}</text>',
    ]
    for number, (name, values) in enumerate(seconds.items()):
        y = 40 + row * number
        length = median(values) * scale
        parts += [
            f'<text x="{left - 8}" y="{y + 16}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{left}" y="{y + 4}" width="{length:.1f}" height="16" fill="#8ab"/>',
            *(f'<circle cx="{left + value * scale:.1f}" cy="{y + 12}" r="2.5" fill="#234"/>' for value in values),
            f'<text x="{left + right + 10}" y="{y + 16}">{median(values):.3f} s</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
