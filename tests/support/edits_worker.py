"""Edits of a worker, by asyncio alone."""

from __future__ import annotations

from service_edits import Edit, Service

SERVICE = Service(
    "asyncio_worker",
    {"class": "jobs.worker:Worker"},
    (),
    before=(("rpc", "from jobs.queue import queue; queue.put('mail', 'a card'); queue.put('print', 'a page')", None),),
    requests=(
        ("rpc", "from jobs.worker import about; print(about())", None),
        (
            "rpc",
            "import jobs.worker as w; print([await w.done(w.Job(k, 'x')) for k in ['mail', 'print', 'sing']])",
            None,
        ),
    ),
    kept=("from jobs.queue import queue; print(id(queue), id(queue.results), queue.results[:2])"),
)

WORKER, TASKS, QUEUE, SETTINGS = (f"jobs/{name}.py" for name in ("worker", "tasks", "queue", "settings"))
EDITS = (
    Edit("task body", ((TASKS, 'return f"{SENDER} sent {job.text}"', 'return f"{SENDER} sent {job.title()}"'),)),
    Edit(
        "task added",
        (
            (
                TASKS,
                '@task("print")',
                ('@task("sing")\nasync def sung(job: Job) -> str:\n    return f"sang {job.text}"\n\n\n@task("print")'),
            ),
        ),
    ),
    Edit(
        "task removed",
        (
            (
                TASKS,
                (
                    '@task("mail")\n'
                    "async def mail(job: Job) -> str:\n"
                    '    """Send a letter."""\n'
                    '    return f"{SENDER} sent {job.text}"\n'
                    "\n"
                    "\n"
                ),
                "",
            ),
        ),
    ),
    Edit("task renamed", ((TASKS, '@task("mail")', '@task("sing")'),)),
    Edit(
        "task gets a default",
        (
            (TASKS, "async def mail(job: Job)", "async def mail(job: Job, by: str = 'post')"),
            (TASKS, "sent {job.text}", "sent {job.text} by {by}"),
        ),
        up="RESTART",
        down="RESTART",
    ),
    Edit("what is done with a job", ((WORKER, 'f"nobody does {job.kind}"', 'f"nobody can {job.kind}"'),)),
    Edit(
        "body of the loop",
        (
            (
                WORKER,
                "        queue.results.append(await done(job))\n",
                ("        result = await done(job)\n        queue.results.append(result)\n"),
            ),
        ),
    ),
    Edit(
        "method of a class of state",
        (
            (QUEUE, 'f"{self.kind}: {self.text}"', 'f"{self.kind}, {self.text}"'),
            (TASKS, "sent {job.text}", "sent {job.title()}"),
        ),
    ),
    Edit(
        "method of a class of state added",
        (
            (QUEUE, "    def title", ("    def loud(self) -> str:\n        return self.text.upper()\n\n    def title")),
            (TASKS, "sent {job.text}", "sent {job.loud()}"),
        ),
    ),
    Edit(
        "field of a class of state",
        (
            (QUEUE, "    tries: int = 0\n", "    tries: int = 0\n    by: str = 'nobody'\n"),
            (TASKS, "sent {job.text}", "sent {job.text} by {job.by}"),
        ),
        up="RESTART",
        down="RESTART",
    ),
    Edit(
        "attribute of a class of state",
        (
            (
                QUEUE,
                "        self.results: list[Any] = []\n",
                ("        self.results: list[Any] = []\n        self.failed = 0\n"),
            ),
            (WORKER, '"kinds": sorted(tasks)', '"kinds": sorted(tasks), "failed": queue.failed'),
        ),
        up="MIGRATE",
        down="MIGRATE",
    ),
    Edit("constant", ((SETTINGS, 'SENDER = "robot"', 'SENDER = "the robot"'),)),
    Edit("setting in a table", ((SETTINGS, '"print": 1', '"print": 2'),)),
    Edit("number", ((SETTINGS, "TRIES = 2", "TRIES = 3"), (WORKER, '"kinds": sorted(tasks)', '"tries": TRIES'))),
    Edit(
        "decorator's body", ((TASKS, "        tasks[kind] = function\n", "        tasks[kind.lower()] = function\n"),)
    ),
    Edit("log line", ((TASKS, '    logger.debug("printing', '    logger.info("now printing'),)),
    Edit(
        "logger",
        (
            (QUEUE, "import asyncio\n", "import asyncio\nimport logging\n"),
            (QUEUE, "@dataclass\n", "log = logging.getLogger(__name__)\n\n\n@dataclass\n"),
            (
                QUEUE,
                '        return f"{self.kind}: {self.text}"\n',
                ('        log.debug("shown")\n        return f"{self.kind}, {self.text}"\n'),
            ),
        ),
    ),
    Edit(
        "new module",
        (
            ("jobs/words.py", "", "def loud(text: str) -> str:\n    return f'{text}!'\n"),
            (
                TASKS,
                "from .settings import RATES, SENDER\n",
                ("from .settings import RATES, SENDER\nfrom .words import loud\n"),
            ),
            (TASKS, 'return f"{SENDER} sent', 'return f"{loud(SENDER)} sent'),
        ),
    ),
    Edit(
        "new module of tasks",
        (
            (
                "jobs/more.py",
                "",
                (
                    "from .queue import Job\n"
                    "from .tasks import task\n"
                    "\n"
                    "\n"
                    "@task('sing')\n"
                    "async def sung(job: Job) -> str:\n"
                    "    return f'sang {job.text}'\n"
                ),
            ),
            (WORKER, "from . import __version__\n", "from . import __version__, more\n"),
            (WORKER, '"kinds": sorted(tasks)', '"kinds": sorted(tasks), "more": more.__name__'),
        ),
        down="RESTART",
    ),
    Edit(
        "new dependency",
        (
            (TASKS, "from .queue import Job\n", "from extra_words import plural\n\nfrom .queue import Job\n"),
            (TASKS, "sent {job.text}", "sent {plural(job.text)}"),
        ),
        library={"extra_words/__init__.py": "def plural(word: str) -> str:\n    return f'{word}s'\n"},
    ),
    Edit("version", (("jobs/__init__.py", "5.2", "5.3"),)),
    Edit(
        "body of start",
        ((WORKER, 'self.task = looping(work, name="work")', 'self.task = looping(work, name="worker")'),),
    ),
)
