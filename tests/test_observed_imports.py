"""Imports in the sandbox: what is harmless to look at, what is named, and that the same code gives the same picture."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from underway_runtime.observation import encoded, sandbox
from underway_runtime.observation.sandbox import Limits, Observed

See = Callable[..., Observed]


@pytest.fixture
def see(tmp_path: Path) -> See:
    """Looks at the import of modules that are given as texts."""
    count = iter(range(10))

    def look(files: Mapping[str, str], seconds: float = 30.0, **environ: str) -> Observed:
        place = tmp_path / f"release {next(count)}"
        application = place / "lib/shop-0.1.0"
        application.mkdir(parents=True)
        for name, text in files.items():
            (application / f"{name}.py").write_text(textwrap.dedent(text))
        scratch = place / "scratch"
        scratch.mkdir()
        limits = Limits(seconds=seconds, memory=1 << 30)
        return sandbox.observe(list(files), place, scratch, limits, {"PYTHONPATH": str(application), **environ})

    return look


@pytest.mark.parametrize("how", ["connect", "connect_ex", "sendto"])
def test_no_service_of_the_machine_is_reached_by_its_socket_file(see: See, how: str) -> None:
    """A namespace for the network leaves those where they are; what an import makes in its own directory it may use."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(f"{place}/s")
        service.settimeout(0.1)
        call = (
            f"sendto(b'hello', {place + '/s'!r})" if how == "sendto" else f"{how}({place + '/s'!r}); s.send(b'hello')"
        )
        source = f"import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.{call}"
        own = """
            import os, socket
            os.chdir(os.environ["TMPDIR"])  # the whole path may be longer than that of a socket file can be
            with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as connected:
                listening.bind('s'); listening.listen(); connected.connect('s')
        """
        seen = see({"shop": source, "own": own})

        assert "sockets of its scratch directory only" in seen.document["missing"]["shop"]
        assert "own" not in seen.document["missing"]
        with pytest.raises(TimeoutError):
            service.recv(10)


@pytest.mark.parametrize(
    ("act", "told"),
    [
        ("open({aside!r}, 'w')", "writes {aside}"),
        ("import os; os.mkdir({aside!r})", "mkdir of {aside}"),
        ("import socket; socket.socket(socket.AF_UNIX).bind({aside!r})", "bind {aside}"),
    ],
)
def test_what_an_interpreter_begins_with_is_watched_too(see: See, tmp_path: Path, act: str, told: str) -> None:
    """A `sitecustomize` of the release does nothing outside either, and is told of like a module."""
    aside = str(tmp_path / "aside")
    seen = see({"shop": "KIND = 1", "sitecustomize": act.format(aside=aside)})

    assert not Path(aside).exists()
    assert "sitecustomize" in seen.document["missing"]
    assert any(line.startswith(told.format(aside=aside)) for line in seen.document["outside"]["done"]), seen.document[
        "outside"
    ]
    assert "shop" not in seen.document["missing"]


def test_the_same_code_gives_the_same_bytes(see: See) -> None:
    """Addresses, hash seeds, places and times leave nothing in a picture: two of one code are equal byte for byte."""
    source = """
        import os, pathlib, time
        class A: ...
        KINDS = {str(id(A)): A, "ref": f"shop.A:{id(A)}", id(A): 1}
        NAMES = list({f"name {n}" for n in range(20)})
        OBJECTS = {A(), A(), len, A}
        WHEN, WHO = time.time_ns(), os.getpid()
        HERE, HOME = pathlib.Path(__file__).parent, os.path.expanduser("~")
    """

    one, other = see({"shop": source}), see({"shop": source})

    assert encoded.dump(one.observation) == encoded.dump(other.observation)
    assert {".WHEN", ".WHO"} <= {path[1] for path in one.observation.picture.noise}
    assert not {".KINDS", ".HERE", ".HOME", ".OBJECTS"} & {path[1] for path in one.observation.picture.noise}


def test_a_picture_tells_no_text_that_the_code_does_not_tell(see: See) -> None:
    """Values are digests, and so are keys that come from elsewhere: what import reads from its environment is in no artefact."""
    source = """
        import os
        TOKEN = os.environ["SHOP_TOKEN"]
        USERS = {TOKEN: "admin", "known": TOKEN, 80: 1, int("47110815" * 2): 2, ("known", 1): 3, ("known", TOKEN): 4, 123456789: 5}
        class Holder: token = TOKEN
    """
    observation = see({"shop": source}, SHOP_TOKEN="hunter2-is-a-secret").observation
    text = repr(encoded.load(encoded.dump(observation)))

    assert "hunter2" not in text
    assert "['known']" in text
    assert "[80]" in text
    assert "[123456789]" in text
    assert "[('known', 1)]" in text
    assert "admin" not in text
    assert "4711081547110815" not in text


REFUSED = {
    "raises": ("raise ValueError('no such thing')", "ValueError: no such thing"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "needs a variable": ("import os; os.environ['DATABASE_URL']", "KeyError: 'DATABASE_URL'"),
    "needs the network": (
        "import socket; socket.create_connection(('192.0.2.1', 80), 5)",
        "OSError: [Errno 101] an import is looked at here: there is no network",
    ),
    "writes elsewhere": (
        "open('/var/tmp/underway-was-here', 'w')",
        "OSError: [Errno 30] an import is looked at here: it may write to its scratch directory only: '/var/tmp/underway-was-here'",
    ),
    "ends the interpreter": ("import os; os._exit(4)", "it ended the interpreter with status 4"),
    "is killed": ("import os; os.kill(os.getpid(), 11)", "it ended the interpreter by SIGSEGV"),
    "takes all memory": ("X = bytearray(3 << 30)", "MemoryError: "),
}


@pytest.mark.parametrize(("source", "reason"), REFUSED.values(), ids=REFUSED)
def test_an_import_that_fails_is_named_and_the_others_are_seen(see: See, source: str, reason: str) -> None:
    """A module that can't be imported is missing with its reason; those that do not need it are in the picture."""
    observed = see({"bad": source, "good": "A = 1"})

    assert observed.observation.picture.missing == {"bad": reason}
    assert list(observed.observation.picture.modules) == ["good"]
    assert not os.path.exists("/var/tmp/underway-was-here")


def test_an_import_that_hangs_is_named_with_its_line(see: See) -> None:
    """A module that does not come to an end is ended, and told with the line that it hung at."""
    missing = see({"bad": "import time\ntime.sleep(100)", "good": "A = 1"}, seconds=2.0).observation.picture.missing

    assert missing["bad"].startswith("it did not end within 2 seconds: File ")
    assert missing["bad"].endswith('bad.py", line 2 in <module>')


EFFECTS = {
    "threads": (
        "import threading, time; threading.Thread(target=time.sleep, args=(99,), name='worker').start()",
        "worker",
    ),
    "processes": (
        "import subprocess; P = subprocess.Popen(['sleep', '99'], start_new_session=True)",
        "child 1 is there",
    ),
    "descriptors": ("import socket; S = socket.socket()", "socket"),
    "environment": ("import os; os.environ['SHOP'] = 'x'", "SHOP is there"),
    "signals": ("import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)", "SIGUSR1"),
    "exit": ("import atexit; atexit.register(print)", "functions: "),
    "hooks": ("import sys\ndef hook(*_): ...\nsys.excepthook = hook", "sys.excepthook: sys.excepthook -> shop.hook"),
    "settings": ("import os; os.chdir('/')", "working directory: $SCRATCH/cwd -> /"),
    "logging": ("import logging; logging.basicConfig(level=10)", "root level: 30 -> 10"),
    "codecs": ("import codecs\ndef find(name): ...\ncodecs.register(find)", "shop.find is there"),
    "copyreg": ("import copyreg\nclass A: ...\ncopyreg.pickle(A, repr)", "shop.A: nothing -> builtins.repr"),
    "warnings": ("import warnings; warnings.simplefilter('ignore')", "ignore builtins.Warning"),
    "builtins": ("import builtins; builtins.shop = 1", "shop: nothing -> 1"),
    "done": ("open('x', 'w').close()", "writes $SCRATCH/cwd/x (shop-0.1.0/shop.py, line 1)"),
}


@pytest.mark.parametrize(("kind", "source", "line"), [(kind, *each) for kind, each in EFFECTS.items()], ids=EFFECTS)
def test_what_import_does_outside_of_the_heap_is_told(see: See, kind: str, source: str, line: str) -> None:
    """What import starts, opens, sets or registers is in the picture, by its kind; nothing of it is left running."""
    outside = see({"shop": source}).observation.outside

    assert any(each.startswith(line) for each in outside[kind])
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert not [child for child in children if Path(f"/proc/{child}/comm").read_text() == "sleep\n"]


def test_other_children_of_who_looks_are_not_ended(see: See) -> None:
    """What an import has started is ended; a process that was there before is left alone."""
    with subprocess.Popen(["sleep", "60"]) as own:
        see({"shop": "import subprocess; P = subprocess.Popen(['sleep', '99'], start_new_session=True)"})

        assert own.poll() is None
        own.kill()


def test_a_name_that_is_looked_up_is_told(see: See) -> None:
    """An import that asks for the address of a host is named by the host."""
    source = "import socket\ntry: socket.getaddrinfo('db.example', 5432)\nexcept OSError: pass"

    [line] = see({"shop": source}).observation.outside["done"]
    assert line.startswith("looks up db.example (shop-0.1.0/shop.py, line 2)")


def test_plain_modules_do_nothing_outside(see: See) -> None:
    """What most modules do, importing and defining, counts as none."""
    source = "import asyncio, dataclasses, decimal, email, http.client, json, logging, re, sqlite3, typing, uuid\nA = 1"

    assert see({"shop": source}).observation.outside == {}


def test_the_trace_says_which_functions_ran_and_what_they_may_read(see: See) -> None:
    """Functions that ran at import are recorded with the globals that they name; others are not."""
    source = """
        LIMIT, OTHER = 10, 20
        def used(): return LIMIT + len("x")
        def unused(): return OTHER
        class A:
            def __init__(self): self.n = [OTHER for _ in range(2)]
        X, Y = used(), A()
    """
    ran = see({"shop": source}).observation.ran["shop"]

    assert ran["used"] == ["LIMIT", "len"]
    assert "OTHER" in {name for names in ran.values() for name in names}
    assert "unused" not in ran
