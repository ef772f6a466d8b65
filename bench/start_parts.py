"""What makes a release start fast: each part alone, all together, and what was tried and not taken.

    python bench/start_parts.py [--rounds N] [--python PYTHON] [--cold]

From launch to the first answer of examples/chat, the whole process, all ways in turn within each round. Times are wall and
processor; a ratio is the median of the rounds' own ratios. On a machine with other load trust those of the processor. With
--cold nothing of a release or environment is in the page cache before a start; it is read from the disk.
"""

from __future__ import annotations

import argparse
import json
import marshal
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median

from _measure import PLOTS, REPOSITORY, TOOLS, free_port, make_venv, plot, run, scratch_project

ANSWER_WITHIN = 60.0
STOP_WITHIN = 20.0

VENV, NONE, ALL = "uvicorn in a venv", "release, no part", "release, all parts"


@dataclass(frozen=True)
class Tree:
    """A release to measure."""

    root: Path

    @property
    def version(self) -> Path:
        return next(path for path in (self.root / "releases").iterdir() if path.is_dir())

    @property
    def python(self) -> Path:
        return self.version / "bin/python"

    @property
    def site_packages(self) -> Path:
        return next(self.version.glob("lib/python3.*/site-packages"))

    @property
    def runtime(self) -> Path:
        return next(self.root.glob("lib/underway_runtime-*/underway_runtime"))

    def copy(self, name: str) -> Tree:
        """The same release again. No links: what shares its files with the start before finds them in a faster cache."""
        target = self.root.with_name(name)
        shutil.copytree(self.root, target, symlinks=True, ignore=shutil.ignore_patterns("var"))
        return Tree(target)

    def compile(self, *places: Path, options: tuple[str, ...] = ()) -> None:
        """Compile files and directories as a build does."""
        how = ("-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash")
        subprocess.run(
            [self.python, "-I", "-S", *options, *how, *places], stdout=subprocess.DEVNULL, timeout=300, check=False
        )

    def add(self, source: str) -> None:
        """Run a piece of code in each process, as soon as the code server is started."""
        (self.site_packages / "zz_bench.pth").write_text("import bench_part\n", encoding="utf-8")
        (self.site_packages / "bench_part.py").write_text(source, encoding="utf-8")
        self.compile(self.site_packages / "bench_part.py")


# ------------------------------------------------------------------------------------------------- parts, taken away


def without_listing(tree: Tree) -> None:
    """Directories are searched, pycs read, as importlib does it."""
    index = tree.version / "code.index"
    document = json.loads(index.read_text(encoding="utf-8"))
    document.pop("code", None)
    index.write_text(json.dumps(document), encoding="utf-8")


def without_collector(tree: Tree) -> None:
    """The collector works as often as ever, on all there is."""
    functions = ("postpone", "set_aside", "settle", "thaw", "set_aside_again")
    _replace(tree, "process/garbage_collector.py", "".join(f"def {name}(): pass\n" for name in functions))


def without_stack(tree: Tree) -> None:
    """Frames get chunks of 16 KiB."""
    _replace(tree, "process/interpreter_stack.py", "def with_room(function): return function\n")


PARTS: Mapping[str, Callable[[Tree], None]] = {
    "modules listed in code.index": without_listing,
    "collector postponed, then frozen": without_collector,
    "room on the frame stack": without_stack,
}


def _replace(tree: Tree, name: str, source: str) -> None:
    file = tree.runtime / name
    if not file.exists():
        sys.exit(f"the runtime has no {name} to take away")
    file.write_text(source, encoding="utf-8")
    tree.compile(file)


# ----------------------------------------------------------------------------------------------------- tried, not taken


def one_file(tree: Tree) -> None:
    """All code in one file, read by pread."""
    offset, places = 0, {}
    with (tree.site_packages / "code.store").open("wb") as store:
        for pyc in sorted(tree.root.rglob("__pycache__/*.pyc")):
            data = pyc.read_bytes()
            places[str(pyc.relative_to(tree.root))] = (offset, len(data))
            offset += store.write(data)
    (tree.site_packages / "code.places").write_bytes(marshal.dumps(places))
    tree.add(f"""
import marshal, os
from underway_runtime.code_server import loader as modules
here = os.path.dirname(__file__)
with open(here + "/code.places", "rb") as file:
    places = marshal.load(file)
store = os.open(here + "/code.store", os.O_RDONLY)
def read(path, pread=os.pread, root=len({str(tree.root)!r}) + 1):
    place = places.get(path[root:])
    return pread(store, place[1], place[0]) if place else b""
modules._read = read
""")


def imports_in_threads(tree: Tree) -> None:
    """A second thread imports the server while the main thread imports the application."""
    tree.add("""
import sys, threading
def work():
    import uvicorn, uvicorn.lifespan.on, uvicorn.protocols.http.auto, uvicorn.protocols.websockets.auto, uvloop
if "underway_runtime.boot" in sys.orig_argv:
    threading.Thread(target=work, daemon=True).start()
""")


def read_ahead(tree: Tree) -> None:
    """A second thread asks for all files that the last start has read."""
    kept = tree.site_packages / "read"
    tree.add(f"""
import atexit, sys
def keep():
    files = [getattr(m, a, None) for m in list(sys.modules.values()) for a in ("__file__", "__cached__")]
    with open({str(kept)!r}, "w") as file:
        file.write("\\n".join(f for f in files if isinstance(f, str) and f.endswith((".pyc", ".so"))))
atexit.register(keep)
""")
    launch(from_release(tree))
    if not kept.exists():
        sys.exit("the release did not end in order; what it has read is not known")
    tree.add(f"""
import os, sys, threading
def work():
    with open({str(kept)!r}) as file:
        names = file.read().split("\\n")
    for name in names:
        descriptor = os.open(name, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
        os.close(descriptor)
if "underway_runtime.boot" in sys.orig_argv:
    threading.Thread(target=work, daemon=True).start()
""")


def no_columns(tree: Tree) -> None:
    """Code that knows its lines and not its columns: tracebacks without the marks below each line."""
    library = next(tree.root.glob("python-*/lib/python3.*"))
    tree.compile(tree.root / "lib", library, options=("-X", "no_debug_ranges"))


NOT_TAKEN: Mapping[str, Callable[[Tree], None]] = {
    "and one file of code, pread": one_file,
    "and imports in two threads": imports_in_threads,
    "and files read ahead in a thread": read_ahead,
    "and no columns in code": no_columns,
}


# ------------------------------------------------------------------------------------------------------------ measuring


@dataclass(frozen=True)
class Way:
    """A way to start the service."""

    command: Callable[[int], tuple[list[str], dict[str, str]]]
    """For a port, what is run in which environment."""
    places: tuple[Path, ...]
    """What it reads its code from."""


@dataclass(frozen=True)
class Took:
    """Seconds until the first answer."""

    wall: float
    cpu: float


def from_venv(venv: Path, python: Path) -> Way:
    # The interpreter's own files are shared with others and stay where they are, but for its library.
    library = subprocess.run(
        [python, "-I", "-c", "import os; print(os.path.dirname(os.__file__))"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.strip()
    return Way(
        lambda port: ([str(venv / "bin/uvicorn"), "--port", str(port), "chat.web:app"], {"PATH": os.defpath}),
        (venv, Path(library)),
    )


def from_release(tree: Tree) -> Way:
    return Way(
        lambda port: (
            [str(tree.root / "bin/chat"), "start"],
            {"PATH": os.defpath, "CHAT_LISTEN": f"tcp://127.0.0.1:{port}"},
        ),
        (tree.root,),
    )


def launch(way: Way, *, cold: bool = False) -> Took:
    """Start the service, wait for its first answer, stop it."""
    if cold:
        for place in way.places:
            _evict(place)
    port = free_port()
    command, env = way.command(port)
    began = time.perf_counter()
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while not _answers(port):
                if server.poll() is not None or time.perf_counter() - began > ANSWER_WITHIN:
                    sys.exit(f"{command[0]} did not answer; status {server.returncode}")
                time.sleep(0.001)
            return Took(time.perf_counter() - began, _cpu(server.pid))
        finally:
            server.terminate()
            try:
                server.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                server.kill()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return b" 200 " in connection.recv(4096)
    except OSError:
        return False


def _cpu(pid: int) -> float:
    """What a process has taken, with threads that are gone, and its children; the shells before it were the same process."""
    own = time.clock_gettime(~pid << 3 | 2)  # clock_getcpuclockid(3), which Python does not have
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return own + sum(_cpu(int(child)) for child in children)


def _evict(place: Path) -> None:
    for directory, _, names in os.walk(place):
        for name in names:
            with suppress(OSError):
                descriptor = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NOFOLLOW)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)


def measure(ways: Mapping[str, Way], rounds: int, *, cold: bool = False) -> dict[str, list[Took]]:
    """Each way in each round; the page cache is warmed first, where it is to be warm."""
    taken: dict[str, list[Took]] = {name: [] for name in ways}
    os.sync()  # what is not written yet can't be evicted
    for way in ways.values():
        launch(way)
    order, shuffle = list(ways), Random(1).shuffle
    for _ in range(rounds):
        shuffle(order)  # who comes after whom matters to caches
        for name in order:
            taken[name].append(launch(ways[name], cold=cold))
    return taken


def table(taken: Mapping[str, list[Took]], bases: Mapping[str, str]) -> Iterator[str]:
    """Lines of Markdown; ``bases`` says what each way is compared with, next to the environment."""
    yield "| | wall, ms | cpu, ms | to the venv: wall | cpu | to what it changes: wall | cpu |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for name, values in taken.items():
        cells = [f"{median(v.wall for v in values) * 1e3:.0f}", f"{median(v.cpu for v in values) * 1e3:.0f}"]
        for base in (VENV, bases.get(name)):
            cells += [f"{_ratio(values, taken[base], kind):.2f}" if base else "" for kind in ("wall", "cpu")]
        yield f"| {name} | {' | '.join(cells)} |"


def _ratio(values: list[Took], base: list[Took], kind: str) -> float:
    ratios: list[float] = [
        getattr(value, kind) / getattr(other, kind) for value, other in zip(values, base, strict=True)
    ]
    return median(ratios)


def main() -> None:
    """Build one environment and one release, make the variants, measure, print, draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--cold", action="store_true")
    given = parser.parse_known_args()[0]  # other arguments are for other benches
    python = Path(os.path.realpath(given.python))
    with scratch_project() as project:
        venv = make_venv(project, str(python))
        run(TOOLS / "underway", "release", "--quiet", "--overwrite", "--python", python, cwd=project)
        built = Tree(project / "build/release/chat")
        ways, bases = {VENV: from_venv(venv, python)}, {ALL: NONE}

        none = built.copy("none")
        for take_away in PARTS.values():
            take_away(none)
        ways[NONE] = from_release(none)
        for number, part in enumerate(PARTS):
            alone = built.copy(f"part-{number}")
            for other, take_away in PARTS.items():
                if other != part:
                    take_away(alone)
            ways[f"only {part}"], bases[f"only {part}"] = from_release(alone), NONE
        ways[ALL] = from_release(built)
        for number, (name, change) in enumerate(NOT_TAKEN.items()):
            changed = built.copy(f"other-{number}")
            change(changed)
            ways[name], bases[name] = from_release(changed), ALL

        version = built.root.glob("python-*").__next__().name.removeprefix("python-")
        state = "cold" if given.cold else "warm"
        title = f"Starting examples/chat, {state}, until its first answer"
        taken = measure(ways, given.rounds, cold=given.cold)
        about = f"{title} ({given.rounds} rounds, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, Python {version})"
        print("\n".join([about, "", *table(taken, bases)]))
        file = PLOTS / f"start_parts-{state}.svg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(plot(f"{title}: processor time", {n: [v.cpu for v in vs] for n, vs in taken.items()}))
        print(f"  {file.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
