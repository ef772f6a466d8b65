"""underway next to uv venv, PyInstaller, PEX and shiv: what a service costs to build, weighs, and takes to start.

    python bench/compare.py [--rounds N] [--apps chat,datasette,science] [--tools uv,pex,...] [--python PYTHON]
                            [--json FILE] [--markdown FILE]

All in one run, the tools in turn within each round. Builds with empty caches include the network and are done once, as are
first starts, the count of files, and rebuilds of slow tools. A tool that fails is a line with its reason.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from _apps import APPS, change_line, prepare
from _deltas import deltas
from _measure import PLOTS, REPOSITORY, free_port
from _observe import Failed, Server, Started, ask, files_opened, packed_size, start, tree_size
from _peers import ALL, Place, make_peers
from _report import BASELINE, Report, document, markdown, picture, text

PEERS = ("pyinstaller", "pex", "shiv")
VAR = "var"
"""What a release writes when it runs, and so no part of it."""
BRACKETS = f"In brackets: the ratio to {ALL[BASELINE].label}, the median of the rounds' own."

_numbers = count(1000)
"""For changed lines: never the same twice."""


def main() -> int:
    """Measure what was asked for, print it, draw it; 1 when underway itself failed at something."""
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the scratch directory goes then, too
    began = time.monotonic()
    python = Path(os.path.realpath(given.python))
    machine = f"{_machine(python)}; {given.rounds} rounds"
    print(machine, flush=True)
    reports = {}
    with tempfile.TemporaryDirectory(prefix="underway-bench-") as name:
        scratch = Path(name)
        missing = _missing_peers(scratch / "peers", python) if {*given.tools} & {*PEERS} else ""
        for app in given.apps:
            reports[app] = report = _measure(app, given.tools, given.rounds, scratch, python, missing)
            shutil.rmtree(scratch / app)
            print(f"\n{text(report)}")
            file = PLOTS / f"compare-{app}.svg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(picture(report, f"{machine}. {BRACKETS}"), encoding="utf-8")
            print(file.relative_to(REPOSITORY), flush=True)
    print(
        f"\nIn brackets: to {ALL[BASELINE].label}, the median of the rounds' own ratios. {time.monotonic() - began:.0f} s"
    )
    if given.json:
        told = {"machine": machine, "apps": {app: document(report) for app, report in reports.items()}}
        given.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if given.markdown:
        given.markdown.write_text("\n".join(map(markdown, reports.values())), encoding="utf-8")
    # Files are counted where strace is there; that it is not is not for underway to answer for.
    failed = {
        tool
        for report in reports.values()
        for name in report.failed
        if name != "opened"
        for tool in report.failed[name]
    }
    return int(any(tool.startswith("underway") for tool in failed))


def _measure(app: str, tools: list[str], rounds: int, scratch: Path, python: Path, missing: str) -> Report:
    """All of one service. `missing` says why there are no peers. Raises Failed when not even the service can be prepared."""
    report, root = Report(app), scratch / app
    root.mkdir()
    prepare(APPS[app], root / "project", python)
    places = {tool: Place(APPS[app], root / tool, python, scratch / "peers", root / tool / "caches") for tool in tools}
    for tool, place in places.items():
        shutil.copytree(root / "project", place.project)
        _build(report, tool, place, missing if tool in PEERS else "")
    places = {tool: place for tool, place in places.items() if tool not in report.failed["cold"]}
    servers = {tool: place for tool, place in places.items() if ALL[tool].server is not None}
    for tool, place in servers.items():
        _first_start(report, tool, place)
    servers = {tool: place for tool, place in servers.items() if report.has("first", tool)}
    for number in range(rounds):
        for tool, place in places.items():
            if number == 0 or not ALL[tool].slow:
                _rebuild(report, tool, place, number)
    # Once unmeasured, as a rebuilt file unpacks itself again.
    for number in range(rounds + 1):
        for tool, place in servers.items():
            _start(report, tool, place, number)
    for tool, place in servers.items():
        _trace(report, tool, place)
    if "underway" in places:
        _say(f"{app}: deltas")
        report.deltas = deltas(places["underway"], next(_numbers))
    return report


def _build(report: Report, tool: str, place: Place, missing: str) -> None:
    _say(f"{report.app}: {ALL[tool].label} builds with empty caches")
    with report.attempt("cold", tool) as found:
        if missing:
            raise Failed(missing)
        ALL[tool].prepare(place)
        cost = ALL[tool].build(place)
        if ALL[tool].cold:
            found.append((cost.wall, cost.cpu))


def _first_start(report: Report, tool: str, place: Place) -> None:
    """Starts what was built for the first time, checks that it is whole, and then weighs it."""
    _say(f"{report.app}: {ALL[tool].label} starts for the first time")
    path, wanted = place.app.check

    def check(port: int) -> None:
        status, answer = ask(port, path)
        if status != 200 or wanted not in answer:
            raise Failed(f"it starts, but {path} answers {status} without {wanted}")

    with report.attempt("first", tool) as found:
        started = _started(tool, place, check)
        found.append((started.wall, started.cpu))
    with report.attempt("archive", tool) as found:
        artefact = ALL[tool].artefact(place)
        found.append((artefact.stat().st_size if artefact.is_file() else packed_size(artefact, VAR), None))
    with report.attempt("tree", tool) as found:
        found.append((sum(tree_size(root, VAR) for root in ALL[tool].tree(place)), None))


def _rebuild(report: Report, tool: str, place: Place, number: int) -> None:
    _say(f"{report.app}: {ALL[tool].label} rebuilds, {number + 1}")
    if tool in report.failed["rebuild"]:
        return
    with report.attempt("rebuild", tool) as found:
        change_line(place.app, place.project, next(_numbers))
        cost = ALL[tool].rebuild(place)
        found.append((cost.wall, cost.cpu))


def _start(report: Report, tool: str, place: Place, number: int) -> None:
    """One warm start; that number 0 is none that counts."""
    _say(f"{report.app}: {ALL[tool].label} starts, {number}")
    if tool in report.failed["start"]:
        return
    with report.attempt("start", tool) as found:
        started = _started(tool, place)
        if number:
            found.append((started.wall, started.cpu))
            report.figures["rss"].setdefault(tool, []).append((started.rss, None))


def _trace(report: Report, tool: str, place: Place) -> None:
    _say(f"{report.app}: {ALL[tool].label} is traced")
    with report.attempt("opened", tool) as found:
        found.append(files_opened(_server(tool, place), place.log))


def _server(tool: str, place: Place) -> Server:
    make = ALL[tool].server
    assert make is not None
    return make(place, free_port())


def _started(tool: str, place: Place, then: Callable[[int], None] = lambda _: None) -> Started:
    return start(_server(tool, place), place.log, then)


def _missing_peers(place: Path, python: Path) -> str:
    """Make the peers ready; why they are missing, if they are."""
    _say("making PEX and shiv ready")
    try:
        make_peers(place, python)
    except (Failed, OSError) as error:
        return f"the peers could not be installed: {error}"
    return ""


def _machine(python: Path) -> str:
    """What all figures depend on."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    ask_it = "import sys, sysconfig as s; print(sys.version.split()[0], s.get_config_var('CONFIG_ARGS') or '')"
    said = subprocess.run([python, "-c", ask_it], capture_output=True, text=True, timeout=30, check=True).stdout
    version, _, options = said.partition(" ")
    tuned = f"{'with' if '--enable-optimizations' in options else 'without'} --enable-optimizations"
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{date}; {os.cpu_count()} x {cpu}, Linux {platform.release()}; load {load}; Python {version}, {tuned} ({python})"


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often to start, and to rebuild what is quick (3)")
    parser.add_argument("--apps", type=_names([*APPS]), default=[*APPS], help="of chat,datasette,science")
    parser.add_argument(
        "--tools", type=_names([*ALL]), default=[*ALL], help=f"of {','.join(ALL)}; uv is always among them"
    )
    parser.add_argument(
        "--python", default=sys.executable, help="the interpreter for all; default the one that measures"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found there, too")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the tables of docs/reference/measurements.md there"
    )
    given = parser.parse_args()
    given.tools = [tool for tool in ALL if tool in {BASELINE, *given.tools}]
    return given


def _names(known: list[str]) -> Callable[[str], list[str]]:
    def names(given: str) -> list[str]:
        wanted = given.split(",")
        if unknown := [name for name in wanted if name not in known]:
            raise argparse.ArgumentTypeError(f"no {', '.join(unknown)} here, but {', '.join(known)}")
        return wanted

    return names


def _say(what: str) -> None:
    print(f"* {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
