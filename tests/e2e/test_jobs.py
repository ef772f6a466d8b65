"""Workers that take jobs from a queue, upgraded while jobs come all the time: none is lost, none is done twice without a word."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from conftest import Count
from node_helpers import TIMEOUT, eventually
from projects import build, node_of, run, write_project
from sources import package
from test_guides import commands, says, type_in

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1_200),
    pytest.mark.needs_tool("redis-server", "redis-server"),
]

NAME = "jobs"
SECONDS = (0.2, 0.2, 0.3, 0.5, 1.0)
"""How long jobs take."""
FIRST_LONG = -60
"""A job that takes a minute when it is first done, and nothing when it is done again."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with workers of Celery and RQ, and its archive."""
    project = write_project(
        tmp_path_factory.mktemp("jobs") / "project",
        '[tool.underway]\nmain = "jobs:main"\nheart = { restarts = 100 }\n',
        {
            **{f"src/{file}": text for file, text in package(NAME, "jobs", "v1").items()},
            **of_the_page(),
            "src/jobs/version.py": 'VERSION = "1.0"\n',
            "config/runtime.py": CONFIG,
        },
        name=NAME,
        version="1.0",
        dependencies=["celery[redis]", "rq", "dramatiq[redis]", "arq", "apscheduler"],
    )
    build(project)
    return project / "build/release/jobs"


@pytest.fixture(scope="module")
def archive(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the next version."""
    project = tmp_path_factory.mktemp("next") / "project"
    shutil.copytree(built.parents[2], project, ignore=shutil.ignore_patterns("build"))
    for name in ("pyproject.toml", "src/jobs/version.py", "uv.lock"):
        text = (project / name).read_text()
        (project / name).write_text(re.sub(r'(name = "jobs"\nversion|VERSION) = "1.0"', r'\1 = "1.1"', text))
    return build(project).parent / "jobs-1.1.tar.zst"


PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/jobs.md"


def of_the_page() -> dict[str, str]:
    """The modules that the page shows, by their files."""
    blocks = re.findall(r"^```python\n# (src/\S+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    return dict(blocks)


CONFIG = """\
import os

from underway_runtime import config

config("underway_runtime", drain_timeout=float(os.environ.get("DRAIN", 30)))
config("jobs", overlap=os.environ.get("WORKER") != "apscheduler")
"""


class Workers:
    """A host where the release runs, with its queue, and jobs that come."""

    def __init__(self, root: Path, **environ: str) -> None:
        self.root = root
        self.socket = root.parent / "redis.sock"
        self.jobs = root.parent / "jobs.log"
        self.log = root.parent / "log"
        self.environ = {
            "BROKER": f"redis+socket://{self.socket}",
            "SOCKET": str(self.socket),
            "JOB_LOG": str(self.jobs),
            "HOME": str(root.parent),
            **environ,
        }
        self.kind = {"celery": "Celery", "rq": "RQ", "dramatiq": "Dramatiq"}.get(environ["WORKER"], "")
        self.put = 0

    def run(self, *arguments: str | Path, status: int = 0) -> str:
        """Run bin/NAME; what it says."""
        done = run([self.root / "bin" / NAME, *arguments], self.environ)
        assert done.returncode == status, done.stderr + done.stdout + self.output()
        return done.stdout + done.stderr

    def output(self) -> str:
        """What the release has printed."""
        return self.log.read_text() if self.log.exists() else ""

    @contextlib.contextmanager
    def started(self) -> Iterator[subprocess.Popen[str]]:
        """The keeper, while the release runs; all ends well, unless it was killed."""
        with self.log.open("a") as log:
            command = [str(self.root / "bin" / NAME), "start"]
            keeper = subprocess.Popen(command, env=self.environ, stdout=log, stderr=log, text=True, cwd="/")
        try:
            yield keeper
            if keeper.poll() is None:
                keeper.terminate()
                assert keeper.wait(60) == 0, self.output()
        finally:
            if keeper.poll() is None:
                keeper.kill()
                keeper.wait()

    @contextlib.contextmanager
    def putting(self) -> Iterator[Callable[[float], None]]:
        """Puts a job of so many seconds into the queue."""
        putting = subprocess.Popen(
            [self.root / "bin" / NAME, "run", "-m", "jobs.put"],
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
        )
        assert putting.stdin is not None
        assert putting.stdout is not None
        stdin, stdout = putting.stdin, putting.stdout

        def put(seconds: float) -> None:
            stdin.write(f"{self.put} {seconds}\n")
            stdin.flush()
            assert stdout.readline() == f"{self.put}\n"
            self.put += 1

        try:
            yield put
        finally:
            stdin.close()
            putting.wait(TIMEOUT)
            stdout.close()

    @contextlib.contextmanager
    def coming(self, pause: float = 0.6) -> Iterator[None]:
        """Put a job into the queue all the time."""
        enough, choice = threading.Event(), random.Random(1)
        with self.putting() as put:

            def put_all() -> None:
                while not enough.wait(pause):
                    put(choice.choice(SECONDS))

            thread = threading.Thread(target=put_all, daemon=True)
            thread.start()
            try:
                yield
            finally:
                enough.set()
                thread.join(TIMEOUT)

    def counted(self, what: str = "ends") -> Counter[int]:
        """How often each job has begun, or ended."""
        lines = self.jobs.read_text().splitlines() if self.jobs.exists() else []
        return Counter(int(line.split()[1]) for line in lines if line.split()[0] == what)

    def kill(self, victim: str, keeper: subprocess.Popen[str]) -> None:
        """Kill the node, the keeper or the process that does a job, while one is being done."""
        pid, node = eventually(self.at_work, "a job is being done"), node_of(keeper)
        os.kill({"node": node, "keeper": keeper.pid, "child": pid}[victim], signal.SIGKILL)
        if victim == "keeper":
            keeper.wait(TIMEOUT)
        if victim != "child":
            eventually(lambda: not Path(f"/proc/{node}").exists(), "the node has ended")

    def goes_on(self) -> None:
        """Wait for one more job that is done."""
        done = len(self.counted())
        eventually(lambda: len(self.counted()) > done, "another job is done")

    def all_done(self) -> bool:
        """Whether all that was put into the queue has ended."""
        return set(self.counted()) == set(range(self.put))

    def versions(self) -> set[str]:
        """Those that have done a job."""
        return {line.split()[3] for line in self.jobs.read_text().splitlines()}

    def at_work(self) -> int:
        """The process that does the last job, where one is being done."""
        lines = self.jobs.read_text().splitlines() if self.jobs.exists() else []
        return int(lines[-1].split()[2]) if lines and lines[-1].startswith("begins") else 0

    def repeated(self) -> list[int]:
        """The jobs that have begun more than once."""
        return sorted(number for number, times in self.counted("begins").items() if times > 1)


@pytest.fixture
def workers(built: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Workers]:
    """A host with a queue, and no release that runs yet."""
    root = tmp_path / NAME
    shutil.copytree(built, root, symlinks=True)
    environ = {"WORKER": request.param.split()[0]}
    if " " in request.param:
        environ["POOL"] = request.param.split()[1]
    made = Workers(root, **environ)
    options = ["--port", "0", "--unixsocket", str(made.socket), "--save", "", "--dir", str(tmp_path)]
    redis = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(made.socket.exists, "redis listens")
        yield made
    finally:
        redis.kill()
        redis.wait()


KINDS = pytest.mark.parametrize("workers", ["celery prefork", "celery threads", "rq"], indirect=True)


@pytest.mark.sample(most=2)
@KINDS
def test_no_job_is_lost_or_repeated(workers: Workers) -> None:
    """Jobs that were begun are finished by the version that leaves, others are done by the one that comes: each once."""
    upgrade(workers, [("restart", "--graceful")] * 2)


@pytest.mark.drill
@KINDS
def test_no_job_is_lost_or_repeated_by_fifty_upgrades(workers: Workers, archive: Path) -> None:
    """There and back between two versions."""
    workers.run("unpack", archive, "--trust", "owner")
    upgrade(workers, [("upgrade", version, "--how", "handover") for version in ("1.1", "1.0")] * 25)
    assert workers.versions() == {"1.0", "1.1"}


@pytest.mark.drill
@pytest.mark.parametrize("workers", ["dramatiq", "arq"], indirect=True)
def test_none_is_lost_or_repeated_by_others(workers: Workers, count: Count) -> None:
    """The same holds for Dramatiq, and for arq with the time that the page gives it."""
    upgrade(workers, [("restart", "--graceful")] * count(2, 20))


@pytest.mark.drill
@pytest.mark.parametrize("workers", ["apscheduler"], indirect=True)
def test_there_is_one_scheduler(workers: Workers, count: Count) -> None:
    """What runs each second is never run twice in one, and the next version goes on with it."""
    with workers.started() as keeper:
        for _ in range(count(3, 20)):
            workers.goes_on()
            before = node_of(keeper)
            workers.run("restart", "--graceful")
            assert node_of(keeper) != before
        workers.goes_on()

    assert workers.repeated() == []


def upgrade(workers: Workers, commands: Sequence[Sequence[str]]) -> None:
    """Run commands that bring another node while jobs come, and see that each job was done once."""
    with workers.started() as keeper:
        with workers.coming():
            eventually(workers.counted, "the first job is done")
            if leaves := workers.kind and f"jobs: {workers.kind}: takes no more jobs, and finishes":
                eventually(lambda: leaves in workers.run("status"), "status says what becomes of the jobs")
            for command in commands:
                before = node_of(keeper)
                workers.run(*command)
                assert node_of(keeper) != before
                workers.goes_on()
        eventually(workers.all_done, "all jobs are done")

    assert (set(workers.counted().values()), workers.repeated()) == ({1}, []), workers.output()


@pytest.mark.sample(most=1)
@KINDS
def test_a_job_that_takes_too_long_is_given_back(workers: Workers) -> None:
    """At the deadline of a drain it is ended, named, and done once more by the next version; others were done once."""
    workers.environ["DRAIN"] = "1"
    with workers.started() as keeper, workers.putting() as put:
        put(FIRST_LONG)
        eventually(lambda: workers.counted("begins"), "it is being done")
        before = node_of(keeper)
        workers.run("restart", "--graceful")
        put(0.1)
        eventually(workers.all_done, "all jobs are done")
        assert node_of(keeper) != before

    assert workers.repeated() == [0]
    assert workers.counted() == Counter([0, 1])
    assert f"jobs: jobs take longer than there is time: {workers.kind} is told to give them back" in workers.output()
    assert "job-0" in workers.output().partition("is told to give them back")[2]


NAMES = (
    r"jobs\.work job-(\d+) was held by a worker \(pid \d+\) that was killed: it is in the queue again",
    r"Task jobs\.work\[job-(\d+)\] .*",
    r"job job-(\d+) failed \(Work-horse terminated unexpectedly",
)
"""How a job is named that is done once more: by ours, by Celery for a process of its pool, by RQ for its work horse."""


@pytest.mark.parametrize(
    ("workers", "victim"),
    [
        ("celery prefork", "node"),
        *(
            pytest.param(kind, victim, marks=pytest.mark.drill)
            for kind, victim in (
                ("celery prefork", "keeper"),
                ("celery prefork", "child"),
                ("celery threads", "node"),
                ("celery threads", "keeper"),
                ("rq", "node"),
                ("rq", "keeper"),
                ("rq", "child"),
            )
        ),
    ],
    indirect=["workers"],
)
def test_what_is_killed_loses_no_job(workers: Workers, victim: str, count: Count) -> None:
    """Each job is done, and one that was begun twice is named."""
    kills = count(1, 10)
    with workers.coming():
        while kills:
            with workers.started() as keeper:
                while kills and keeper.poll() is None:
                    kills -= 1
                    workers.goes_on()
                    workers.kill(victim, keeper)
    with workers.started():
        eventually(workers.all_done, "all jobs are done")

    named = {int(number) for text in NAMES for number in re.findall(text, workers.output())}
    assert {*workers.repeated()} <= named, workers.output()


@pytest.mark.drill
@pytest.mark.parametrize("workers", ["celery prefork"], indirect=True)
def test_the_page_is_true_when_it_is_typed(workers: Workers, archive: Path) -> None:
    """Its commands succeed, and print what it shows."""
    shutil.copy(archive, workers.root)
    for each in commands(PAGE):
        status, said = type_in(each.command, workers.root, workers.environ, workers.root.parent)
        assert status == 0, said
        if each.shown:
            shown = says(each.shown, workers.root.parent, {})
            assert shown.fullmatch(said.rstrip("\n") + "\n"), (
                f"{each.command}\nprints\n{said}\nand not\n{shown.pattern}"
            )
