"""A seeded stream of what the owner of `var` may put in the place of one of its files, and of the command that root types then.

==============  =====================================================================================================
text            of another encoding, not to be shown, nested, long, of wrong types, with versions that are paths
link            to a file of root's, to a device, to itself, to where nothing is
kind            FIFO, socket, device, directory, a file as large as they get
directory       the same in the place of the directory that the file is in
==============  =====================================================================================================
"""

from __future__ import annotations

import copy
import json
import os
import random
import socket
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from grounds import SERVICE, STRANGER

Put: TypeAlias = Callable[[Path], None]
"""Makes something of this path."""

PLACE = "/mnt"
"""Where the release is, as in `grounds`."""

_UPGRADE = (
    *(
        "releases",
        "releases --json",
        "check 3",
        "install 3",
        "upgrade 3",
        "unpack 3 --trust owner",
        "remove 3",
        "rollback",
    ),
    *("rollback --dry-run", "commit", "create-releases", "create-releases --dry-run", "prune --keep 1 --dry-run"),
)
_ASKING = ("status", "status --json", "metrics", "rpc 1", "remote", "restart --graceful")
_OF_NODE = (
    *("pid", "config", "config --explain one", "logs -n 5", "eval 1", "run -m this", "systemd", "verify", "version"),
)
_CLUSTER = (
    *("cluster local status", "cluster worker status", "cluster master pid", "cluster local run releases"),
    *("cluster worker logs", "cluster local daemon", "cluster worker status --dry-run"),
)
ALL = (*_UPGRADE, *_ASKING, *_OF_NODE, *_CLUSTER, "stop", "restart")
"""What root types; none of it makes another version run, and none but `stop` ends the node, so that one serves all cases."""

_WORKER = tuple(
    f"cluster worker {each} -n hello_worker@here" for each in ("status", "pid", "stop", "daemon", "run eval 1")
)

READERS: dict[str, tuple[str, ...]] = {
    "start.data": ALL,
    "RELEASES": _UPGRADE,
    "transaction": _UPGRADE,
    "COOKIE": (*_ASKING, "commit", "check 2"),
    "run/lock": (*_ASKING, *_UPGRADE, *_OF_NODE, "stop", "restart"),
    "run/control": (*_ASKING, "commit", "releases"),
    "run/pid": ("pid", "status", "releases"),
    "run/hello-1-0.config": ("config", "config --explain one", "check 2"),
    "log/hello.log.1": ("logs -n 5", "logs"),
    "log/hello.log.2": ("logs -n 5", "logs"),
    "journal/uses.jsonl": ("eval 1", "run -m this", "rpc 1"),
    "journal/upgrades.jsonl": ("install 3", "status", "upgrade 3"),
    "journal/replaced": _UPGRADE,
    "incoming/hello-3.tar.zst": ("unpack 3 --trust owner", "upgrade 3", "install 3"),
    "incoming/hello-1-3.delta": ("unpack 3 --trust owner", "upgrade 3"),
    "incoming/hello-3.tar.zst.sig": ("unpack 3 --trust owner", "upgrade 3"),
    "cluster/hello_worker@here/certificates/node.pem": _WORKER,
    "cluster/hello_worker@here/run/lock": _WORKER,
    "cluster/hello_worker@here/run/control": _WORKER,
}  # fmt: skip
"""By file, the commands that read it, or write it."""

EVIL = (
    "../../var/evil",
    f"{PLACE}/hello/var/evil",
    "2/../../var/evil",
    "..",
    "-c",
    "$(id)",
    "1\n",
    "2\x00",
    "\uff11",
    "1" * 5000,
)
TERMINAL = "\x1b]0;owned\x07\x1b[2J\u202e\r\x9b31m"
ODD: tuple[object, ...] = (
    None, True, -1, 0, 1e308, float("nan"), 10**400, "", "\ud800", TERMINAL, [], {}, [[]], {"": {}}, [None] * 1000, *EVIL,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One file, what is put in its place, and the command."""

    file: str
    place: str
    """What is exchanged: the file, or a directory that it is in."""
    kind: str
    put: Put
    command: str


def cases(seed: int, count: int, left_out: Collection[str] = ()) -> Iterator[Case]:
    """So many cases, without some commands; each file and each kind comes up before one comes up again."""
    chance = random.Random(seed)
    files, kinds = _turns(chance, [*READERS]), _turns(chance, [*KINDS])
    for _ in range(count):
        file, kind = next(files), next(kinds)
        commands = READERS[file] if chance.random() < 0.8 else ALL
        command = chance.choice([each for each in commands if each not in left_out])
        if kind in ENDLESS and file.startswith("log/") and command == "logs":
            command = "logs -n 5"  # a log is shown to its end
        above = [str(each) for each in Path(file).parents][:-1] if kind.startswith("above") else []
        yield Case(file, chance.choice(above or [file]), kind, KINDS[kind](chance), command)


def plant(case: Case, var: Path) -> None:
    """Put it there, as the owner of `var` does."""
    place = var / case.place
    place.parent.mkdir(parents=True, exist_ok=True)
    case.put(place)
    for path in (var, *var.rglob("*")):
        if case.kind not in OF_OTHERS or path != place:
            os.lchown(path, SERVICE, SERVICE)


def _turns(chance: random.Random, choices: list[str]) -> Iterator[str]:
    while True:
        chance.shuffle(choices)
        yield from choices


def _always(put: Put) -> Callable[[random.Random], Put]:
    return lambda chance: put


def _link(*targets: str) -> Callable[[random.Random], Put]:
    def of_one(chance: random.Random) -> Put:
        target = chance.choice(targets)
        return lambda path: path.symlink_to(target)

    return of_one


def _written(data: bytes) -> Put:
    return lambda path: _write(path, data)


def _write(path: Path, data: bytes = b"x", mode: int = 0o644) -> None:
    path.write_bytes(data)
    path.chmod(mode)


def _huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _directory(path: Path, mode: int = 0o755) -> None:
    path.mkdir()
    (path / "in the way").mkdir()
    path.chmod(mode)


def _of_stranger(path: Path) -> None:
    path.write_text("{}")
    os.chown(path, STRANGER, STRANGER)


def _document(chance: random.Random) -> Put:
    """A document as it should be there, with one to three of its values exchanged."""
    table = json.loads(json.dumps(chance.choice(DOCUMENTS)))
    for _ in range(chance.randint(1, 3)):
        _exchange(chance, table)
    return _written(json.dumps(table).encode())


def _exchange(chance: random.Random, table: dict[str, object]) -> None:
    key = chance.choice([*table, "x"])
    inner = table.get(key)
    if isinstance(inner, dict) and chance.random() < 0.8:
        _exchange(chance, inner)
        return
    if chance.random() < 0.2:
        key = chance.choice(EVIL)
    table[key] = copy.deepcopy(chance.choice(ODD))  # which may be exchanged within next


def _text(chance: random.Random) -> Put:
    words = chance.choice(("3.11.7 {}\n", "{}", "id {} why", "{} {} {}", '{"pid": {}}', "{}\r\n", "\t{}\t"))
    text = words.replace("{}", str(chance.choice([*EVIL, TERMINAL, "1", "2"])))
    return _written(text.encode(chance.choice(("utf-8", "utf-16", "utf-8-sig", "utf-32", "latin-1")), "replace"))


def _long(chance: random.Random) -> Put:
    piece = chance.choice((b"[", b'{"a":', b"9", b" ", b"\n", b'"', b"\\", b"[[],", b"\xff", b"\x1b[A"))
    return _written(piece * chance.choice((5_000, 100_000, 3_000_000)))


def _noise(chance: random.Random) -> Put:
    return _written(chance.randbytes(chance.choice((1, 100, 70_000))))


RECORD = {"state": "unpacked", "release_id": "x", "when": "2026-01-01T00:00:00Z", "failed": "why"}
DOCUMENTS: list[dict[str, object]] = [
    {"format": 1, "releases": {"1": {**RECORD, "state": "permanent"}, "2": RECORD}},
    {"pid": 1, "node": 1, "version": "1", "started_as": "1", "release": "1", "root": "/mnt/hello", "stop_timeout": 5},
    {"pid": 1, "command": "install", "user": "x", "since": "2026-01-01T00:00:00Z", "to": "2", "from": "1"},
    {"format": 1, "config": {"one": {"key": "value"}}, "origins": {"one": {"key": ["file", "line"]}}},
    {"hosts": [{"host": "h", "name": "w", "role": "worker", "tags": []}], "directory": "/srv/hello"},
]
PROGRAM = f"#!/bin/sh\nid -u >{PLACE}/pwned/x-$(id -u)\n".encode()
KINDS: dict[str, Callable[[random.Random], Put]] = {
    "document": _document,
    "exchanged": _document,
    "text": _text,
    "long": _long,
    "noise": _noise,
    "empty": _always(_written(b"")),
    "huge": _always(_huge),
    "link to root's": _link(f"{PLACE}/secret", "../../secret", "../../../secret"),
    "link to a device": _link(
        "/dev/zero", "/dev/full", "/dev/stdin", "/dev/tty", "/proc/self/environ", "/proc/self/mem"
    ),
    "link to nowhere": _link(f"{PLACE}/outside/new", f"{PLACE}/new", f"{PLACE}/hello/releases/new"),
    "link to itself": _always(lambda path: path.symlink_to(path.name)),
    "link to a directory": _link(f"{PLACE}/outside", "/", "/proc/self/fd", f"{PLACE}/hello/releases/1"),
    "FIFO": _always(os.mkfifo),
    "socket": _always(_socket),
    "directory": _always(_directory),
    "closed": _always(lambda path: _write(path, mode=0)),
    "for all": _always(lambda path: _write(path, mode=0o666)),
    "program": _always(lambda path: _write(path, PROGRAM, 0o4755)),
    "device": _always(lambda path: os.mknod(path, 0o20666, os.makedev(1, 5))),
    "another name": _always(lambda path: path.hardlink_to(_secret(path))),
    "a stranger's": _always(_of_stranger),
    "above: a link": _link(f"{PLACE}/outside"),
    "above: a file": _always(_write),
    "above: a FIFO": _always(os.mkfifo),
    "above: closed": _always(lambda path: _directory(path, 0)),
    "above: for all": _always(lambda path: _directory(path, 0o777)),
}
ENDLESS = ("huge", "link to a device")
OF_OTHERS = ("another name", "a stranger's")


def _secret(path: Path) -> Path:
    """The file of root's next to the release."""
    return next(above for above in path.parents if above.name == "var").parents[1] / "secret"
