"""What a command line starts: the servers and workers that are known, and what each is told.

===================================================  =============================================================
command                                              starts
===================================================  =============================================================
uvicorn, hypercorn, daphne, granian, fastapi run     ``asgi``
gunicorn, waitress-serve, flask run, uwsgi           ``wsgi``; gunicorn with a worker for ASGI ``asgi``
manage.py runserver                                  the project's own asgi or wsgi: for development
celery worker, celery beat, rq worker, dramatiq      ``main`` of that program, with its arguments
python -m MODULE, python FILE                        ``main`` of that module, where it has one
a command of [project.scripts]                       ``main`` as stated there
===================================================  =============================================================
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .command_lines import CommandLine
from .findings import HELPER, Start

SERVERS = ("daphne", "fastapi", "flask", "granian", "gunicorn", "hypercorn", "uvicorn", "uwsgi", "waitress-serve")
WORKERS: Mapping[str, tuple[str, str]] = {
    "celery": ("celery.__main__:main", "Celery"),
    "dramatiq": ("dramatiq.cli:main", "Dramatiq"),
    "rq": ("rq.cli:main", "RQ"),
}
"""Programs of workers: the function, and the framework."""
DEFAULTS = {
    "granian": "127.0.0.1:8000",
    "uvicorn": "127.0.0.1:8000",
    "gunicorn": "127.0.0.1:8000",
    "hypercorn": "127.0.0.1:8000",
    "daphne": "127.0.0.1:8000",
    "flask": "127.0.0.1:5000",
    "fastapi": "0.0.0.0:8000",
    "waitress-serve": "0.0.0.0:8080",
}
"""Where each listens that is not told."""
_FLAGS = frozenset(
    (
        "--reload",
        "--debug",
        "--preload",
        "--proxy-headers",
        "--no-proxy-headers",
        "--no-access-log",
        "--access-log",
        "--factory",
        "--call",
        "--no-reload",
        "--no-debugger",
        "--with-threads",
        "--without-threads",
        "--no-server-header",
        "--no-date-header",
        "--version",
        "--daemon",
        "-D",
        "--use-colors",
        "--no-use-colors",
        "--capture-output",
        "--reuse-port",
        "--no-sendfile",
        "--enable-stdio-inheritance",
        "--emit-access-log",
        "--no-ws",
        "-R",
        "--no-lifespan",
        "--dev",
        "--no-control-socket",
        "--expose-tracebacks",
        "--ident",
        "--clear-untrusted-proxy-headers",
    )
)
"""Options of servers that take no value."""
_REFERENCE = re.compile(r"[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*(\(.*\))?)?")


@dataclass
class Words:
    """The words after a program: its options, and the rest."""

    options: dict[str, list[str]] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)

    def get(self, *names: str) -> str:
        """Find the last value that one of these options has; empty where none was given."""
        return next((self.options[name][-1] for name in names if self.options.get(name)), "")


def starts(line: CommandLine, scripts: Mapping[str, str]) -> Iterator[Start]:
    """What a command line starts. `scripts` are the project's own commands."""
    for index, word in enumerate(line.words):
        program = word.rpartition("/")[2]
        after = line.words[index + 1 :]
        if word == "-m" and after and index and "python" in line.words[index - 1]:
            if after[0] in (*SERVERS, *WORKERS):
                continue
            if after[0] == "gunicorn.app.wsgiapp":
                yield from _served(line, "gunicorn", after[1:])
                return
            yield _main(line, after[0], after[1:], "python -m")
            return
        if program in SERVERS:
            yield from _served(line, program, after)
            return
        if program in WORKERS and (program != "celery" or {"worker", "beat"} & {*after}) and after:
            reference, framework = WORKERS[program]
            yield Start("main", reference, line.place, shown(line.words), line.rank, framework, args=tuple(after))
            return
        if program in scripts and index == _first(line.words):
            yield _script(line, program, scripts[program], after)
            return
        if re.fullmatch(r"python[\d.]*", program) and after and after[0].endswith(".py"):
            if after[0].endswith("manage.py"):
                return
            yield _main(line, after[0].removeprefix("./").removesuffix(".py").replace("/", "."), after[1:], "python")
            return


def shown(words: Sequence[str]) -> str:
    """Words as they would be typed, not too long; values of what looks like a secret are left out."""
    masked = (re.sub(r"(?i)((?:password|secret|token|key)\w*=).+", r"\1...", word) for word in words)
    text = re.sub(r"://[^/@\s]*@", "://...@", " ".join(masked))
    return text if len(text) <= 100 else f"{text[:97]}..."


def _first(words: Sequence[str]) -> int:
    """The place of the program, behind what only runs it."""
    for index, word in enumerate(words):
        if word in ("exec", "uv", "run", "poetry", "pipenv", "env", "nohup") or (
            "=" in word and not word.startswith("-")
        ):
            continue
        return index
    return 0


def _main(line: CommandLine, module: str, args: Sequence[str], how: str) -> Start:
    return Start("main", f"{module}:main", line.place, shown(line.words), line.rank, how, args=tuple(args))


def _script(line: CommandLine, program: str, target: str, args: Sequence[str]) -> Start:
    return Start(
        "main", target, line.place, shown(line.words), line.rank, f"[project.scripts] {program}", args=tuple(args)
    )


def parse(words: Sequence[str]) -> Words:
    """Read options with their values, ``--name value``, ``--name=value``, ``-n value``, ``-nvalue``, and what is left."""
    parsed = Words()
    index = 0
    while index < len(words):
        word = words[index]
        name, equals, value = word.partition("=")
        if word.startswith("-") and len(word) > 1 and not equals:
            name, value = word, ""
            if not word.startswith("--") and len(word) > 2 and word not in _FLAGS:
                name, value = word[:2], word[2:]
            elif word not in _FLAGS and index + 1 < len(words) and not words[index + 1].startswith("--"):
                index += 1
                value = words[index]
        if word.startswith("-"):
            parsed.options.setdefault(name, []).append(value)
        else:
            parsed.rest.append(word)
        index += 1
    return parsed


def _served(line: CommandLine, program: str, after: Sequence[str]) -> Iterator[Start]:
    if program in ("flask", "fastapi"):
        command = next((word for word in after if word in ("run", "dev")), None)
        if command is None:
            return  # another command of it, as flask db upgrade
    else:
        command = ""
    words = parse(after)
    is_asgi = program in ("uvicorn", "hypercorn", "daphne", "fastapi") or (
        program == "granian" and words.get("--interface") in ("asgi", "asginl")
    )
    if program == "gunicorn" and re.search(r"uvicorn|asgi", words.get("-k", "--worker-class"), re.IGNORECASE):
        is_asgi = True
    rest = [word for word in words.rest if word != command]
    if program == "flask":
        reference = words.get("--app", "-A")
    elif program == "uwsgi":
        reference = words.get("--module", "-w") or words.get("--wsgi-file")
        if reference and ":" not in reference:
            reference = f"{reference}:{words.get('--callable') or 'application'}"
    elif program == "fastapi":
        reference = words.get("-e", "--entrypoint") or next(iter(rest), "")
    else:
        reference = next((word for word in reversed(rest) if _REFERENCE.fullmatch(word)), "")
    is_development = "--reload" in words.options or "--debug" in words.options or command == "dev"
    rank = HELPER if is_development else line.rank
    problem = ""
    if "--factory" in words.options or "--call" in words.options or "(" in reference:
        reference = reference.partition("(")[0]
        problem = (
            "it is a factory; a release takes the object that it makes: app = {0}() in a module, and that module:app"
        )
        problem = problem.format(reference.partition(":")[2] or "create_app")
    if reference and ":" not in reference and program == "gunicorn":
        reference = f"{reference}:application"
    chdir = words.get("--chdir", "--app-dir").strip("./")
    listen, notes = _listen(program, words, dict(line.environment))
    yield Start(
        kind="asgi" if is_asgi else "wsgi",
        reference=f"{chdir}!{reference}" if chdir and chdir != "src" else reference,
        place=line.place,
        how=shown(line.words),
        rank=rank,
        framework=program,
        server=program,
        listen=listen,
        workers=words.get("-p", "--processes") if program == "uwsgi" else words.get("-w", "--workers"),
        problem=problem,
        notes=notes,
    )


def _listen(program: str, words: Words, environment: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find the addresses that a server is told to listen on, and what to say of them."""
    notes: list[str] = []
    texts: list[str] = []
    if program in ("gunicorn", "hypercorn"):
        texts = [*words.options.get("-b", []), *words.options.get("--bind", [])]
    elif program == "uwsgi":
        texts = [*words.options.get("--http", []), *words.options.get("--http-socket", [])]
    elif program == "waitress-serve":
        texts = list(words.options.get("--listen", []))
    socket = words.get("--uds", "-u", "--unix-socket") if program not in ("hypercorn", "gunicorn", "uwsgi") else ""
    if socket:
        texts = [f"unix:{socket}"]
    host = words.get("--host", "-h") if program != "daphne" else words.get("-b", "--bind")
    port = words.get("--port", "-p")
    if not texts and (host or port) and program != "uwsgi":
        default_host, _, default_port = DEFAULTS[program].rpartition(":")
        texts = [f"{host or default_host}:{port or default_port}"]
    if not texts and environment.get("PORT"):
        texts = [f"0.0.0.0:{environment['PORT']}"] if program == "gunicorn" else []
    addresses = []
    for text in texts:
        filled = _filled(text, environment)
        if filled != text:
            notes.append(
                f"{text} is of the environment: config/runtime.py may say listen, or [tool.underway] a fixed one"
            )
        if address := address_of(filled):
            addresses.append(address)
    return tuple(addresses), tuple(notes)


def _filled(text: str, environment: Mapping[str, str]) -> str:
    """Variables by the values that the file gives them, or by their defaults."""

    def value(match: re.Match[str]) -> str:
        return environment.get(match[1] or match[3], match[2] or "$")

    return re.sub(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))", value, text)


def address_of(text: str) -> str:
    """``tcp://HOST:PORT`` or ``unix:///PATH`` for what servers take; empty for anything else.

    >>> [address_of(text) for text in (":5000", "0.0.0.0:80", "unix:/run/a.sock", "localhost", "$:1", "[::]:80")]
    ['tcp://0.0.0.0:5000', 'tcp://0.0.0.0:80', 'unix:///run/a.sock', '', '', 'tcp://[::]:80']
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        path = "/" + path.lstrip("/")
        return (
            f"unix://{os.path.normpath(path)}" if text.removeprefix("unix:").startswith("/") and "$" not in path else ""
        )
    text = text.removeprefix("tcp://").removeprefix("http://")
    if text.isdecimal():
        text = f"127.0.0.1:{text}"
    host, colon, port = text.rpartition(":")
    host = (host or "0.0.0.0").replace("*", "0.0.0.0")
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"tcp://{host}:{port}" if colon and port.isdecimal() and re.fullmatch(r"[\w.:\[\]-]+", host) else ""
