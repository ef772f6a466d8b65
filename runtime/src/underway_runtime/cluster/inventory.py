"""Which hosts a cluster has: from words of a command line, a file, or ``[tool.underway.cluster]``. Reads and checks, no more.

A host is written ``[NAME@]HOST[:TAG,TAG]``: HOST is what SSH is given, an IPv6 address in brackets, NAME what its node
is called. In a table it may say more::

    [tool.underway.cluster]
    directory = "/srv/wordcount"
    hosts = ["alpha:mapper", "count@beta:reducer", { host = "gamma", tags = ["reducer"], role = "worker" }]
    limits = { copy = 1200 }
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..release.errors import UsageError, listing

PORT = 8786
"""At which the master listens, where nothing else is said."""

ROLES = ("worker", "master")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9]+)?\]", re.ASCII)
_WORD = re.compile(r"(?:(?P<name>[^@]*)@)?(?P<host>\[[^\]]*\]|[^:@]*)(?::(?P<tags>.*))?", re.DOTALL)
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)


@dataclass(frozen=True)
class Host:
    """One node of the cluster, and where it runs."""

    host: str
    """What SSH connects to: a name of DNS or of its configuration, or an address."""
    name: str | None = None
    """Of the node; None for one after the release and the role."""
    tags: tuple[str, ...] = ()
    role: str = "worker"
    user: str | None = None
    port: int | None = None
    """Of SSH; as `user`, None for what its configuration says."""
    address: str | None = None
    """Its own in the cluster, where that is not the one that SSH connects to."""

    def node(self, release: str) -> str:
        """The full name of its node: ``wordcount_worker@beta``."""
        return f"{self.name or f'{release}_{self.role}'}@{self.host}"


@dataclass(frozen=True)
class Limits:
    """How long things may take, in seconds, and how much is taken at once."""

    connect: float = 10.0
    command: float = 60.0
    copy: float = 900.0
    start: float = 120.0
    clock: float = 30.0
    """By how much a host's clock may differ: certificates have dates."""
    parallel: int = 64


@dataclass(frozen=True)
class Fleet:
    """What a deploy is about."""

    hosts: tuple[Host, ...] = ()
    directory: str | None = None
    """Of the release on the hosts: absolute, or below the home of who logs in; None for the name of the release."""
    listen: str | None = None
    """Of the master, ``ADDRESS:PORT``; None for the address from which it reaches the hosts."""
    worker_port: int = 0
    """0 for any that is free."""
    limits: Limits = field(default_factory=Limits)


def host(word: str) -> Host:
    """The host in ``[NAME@]HOST[:TAG,TAG]``. Raises ValueError with what is wrong with it."""
    match = _WORD.fullmatch(word)
    if match is None:
        raise ValueError(f"{word!r} is not [NAME@]HOST[:TAG,TAG]")
    name, address, tags = match["name"], match["host"], match["tags"]
    made = Host(address, name, tuple(tags.split(",")) if tags is not None else ())
    if problems := [*_host_problems(made)]:
        raise ValueError(f"{word!r} is not a host: {'; '.join(problems)}")
    return made


def from_words(words: Iterable[str]) -> tuple[Host, ...]:
    """The hosts in words. Raises UsageError with everything that is wrong with any of them."""
    found, problems = [], []
    for word in words:
        try:
            found.append(host(word))
        except ValueError as error:
            problems.append(str(error))
    problems += together(found)
    if problems:
        raise UsageError(listing("the hosts can't be understood:", problems))
    return tuple(found)


def from_text(text: str) -> tuple[Host, ...]:
    """The hosts in a file: one in each line, or several; what follows a # is a comment. Raises UsageError."""
    return from_words(word for line in text.splitlines() for word in line.partition("#")[0].split())


def from_table(table: Any) -> Fleet:
    """What a table, as ``[tool.underway.cluster]``, says. Raises UsageError with everything that is wrong with it."""
    if problems := problems_of(table):
        raise UsageError(listing("the cluster can't be understood:", problems))
    hosts = tuple(_from_entry(entry) for entry in table.get("hosts", ()))
    known = {key: value for key, value in table.items() if key not in {"hosts", "limits", "worker-port"}}
    return Fleet(hosts, **known, worker_port=table.get("worker-port", 0), limits=Limits(**table.get("limits", {})))


def problems_of(table: Any) -> list[str]:
    """What is wrong with a table that describes a cluster; empty when nothing is."""
    if not isinstance(table, Mapping):
        return [f"it is a table, not {table!r}"]
    problems = []
    for key, value in table.items():
        if (wanted := _WANTED.get(key)) is None:
            problems.append(f"it has no {key!r}; it has {', '.join(_WANTED)}")
        elif not wanted[1](value):
            problems.append(f"its {key} is {value!r}; it must be {wanted[0]}")
        elif key == "directory":
            problems += directory_problems(value)
    if isinstance(entries := table.get("hosts"), list):
        found = []
        for entry in entries:
            try:
                found.append(_from_entry(entry))
            except ValueError as error:
                problems.append(str(error))
        problems += together(found)
    if isinstance(limits := table.get("limits"), Mapping):
        known = {each.name: each.default for each in fields(Limits)}
        for key, value in limits.items():
            if key not in known:
                problems.append(f"limits have no {key!r}; they have {', '.join(known)}")
            elif isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                problems.append(f"the limit {key} is {value!r}; it must be a number of more than 0")
            elif key == "parallel" and not isinstance(value, int):
                problems.append(f"the limit parallel is {value!r}; it must be a whole number")
    return problems


def address(text: str, port: int | None = None) -> tuple[str, int]:
    """Host and port in ``HOST:PORT``, or ``HOST`` alone where there is a default. Raises UsageError."""
    match = re.fullmatch(r"(\[[^\]]+\]|[^:]+)(?::(\d{1,5}))?", text)
    if match is None or not _HOST.fullmatch(match[1]) or (match[2] is None and port is None):
        raise UsageError(f"{text!r} is not an address; it is HOST:PORT, as in 10.0.0.1:{PORT} or [fe80::1]:{PORT}")
    number = int(match[2]) if match[2] is not None else port
    if number is None or number > 65535:
        raise UsageError(f"{text!r} has no port; there are 65535")
    return match[1], number


def _from_entry(entry: Any) -> Host:
    if isinstance(entry, str):
        return host(entry)
    if not isinstance(entry, Mapping) or not isinstance(entry.get("host"), str):
        raise ValueError(f'{entry!r} is not a host; it is "[NAME@]HOST[:TAG,TAG]", or a table with host')
    if unknown := entry.keys() - {each.name for each in fields(Host)}:
        raise ValueError(f"the host {entry['host']!r} has {', '.join(map(repr, sorted(unknown)))}, which no host has")
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    made = Host(**given)
    if problems := [*_host_problems(made)]:
        raise ValueError(f"{entry['host']!r} is not a host: {'; '.join(problems)}")
    return made


def _host_problems(made: Any) -> Iterable[str]:
    """What is wrong with a host, of whose fields only `host` is known to be of its type."""
    if not _HOST.fullmatch(made.host):
        yield f"{made.host!r} is not a name of a host"
    if made.name is not None and not (isinstance(made.name, str) and NAME.fullmatch(made.name)):
        yield f"{made.name!r} is not a name of a node"
    if not isinstance(made.tags, tuple):
        yield f"its tags are {made.tags!r}, not a list"
    else:
        yield from (f"{tag!r} is not a tag" for tag in made.tags if not isinstance(tag, str) or not NAME.fullmatch(tag))
    if made.role not in ROLES:
        yield f"its role is {made.role!r}, and not one of {', '.join(ROLES)}"
    if made.user is not None and not (isinstance(made.user, str) and _USER.fullmatch(made.user)):
        yield f"{made.user!r} is not a user"
    if made.port is not None and not _port(made.port):
        yield f"{made.port!r} is not a port"
    if made.address is not None and not _is_address(made.address):
        yield f"{made.address!r} is not an address"


def directory_problems(directory: str) -> list[str]:
    """What is wrong with the directory of a release on hosts. ``~`` and ``~/x`` are the home there, as a name alone is below it."""
    user, _, _ = directory.removeprefix("~").partition("/")
    if directory.startswith("~") and user:
        return [f"the directory {directory!r} is below another user's home, which is not looked up; write its path"]
    return []


def together(found: Iterable[Host]) -> list[str]:
    """What is wrong with hosts as those of one cluster."""
    found = list(found)
    masters = [each.host for each in found if each.role == "master"]
    return [
        *_twice(found),
        *_same_but_for_case(
            "hosts",
            (each.host for each in found),
            "DNS knows one of them; write the host in one way, and give each of several nodes there a name: NAME@HOST",
        ),
        *_same_but_for_case(
            "names of nodes",
            (f"{each.name}@{each.host}" for each in found if each.name),
            "name them so that they can be told apart when they are said",
        ),
        *_same_but_for_case(
            "tags", (tag for each in found for tag in each.tags), "write the tag in one way on all hosts"
        ),
        *([f"{' and '.join(masters)} are masters; a cluster has one"] if len(masters) > 1 else []),
    ]


def _same_but_for_case(what: str, words: Iterable[str], way_out: str) -> list[str]:
    groups: dict[str, dict[str, None]] = {}
    for word in words:
        groups.setdefault(word.lower(), {})[word] = None
    return [
        f"the {what} {' and '.join(each)} differ only in case; {way_out}" for each in groups.values() if len(each) > 1
    ]


def _twice(found: Iterable[Host]) -> list[str]:
    counts: dict[tuple[str, str | None, str], int] = {}
    for each in found:
        key = (each.host, each.name, each.role)
        counts[key] = counts.get(key, 0) + 1
    return [
        f"{name or role}@{where} is there {count} times; give each node a name of its own, NAME@HOST"
        for (where, name, role), count in counts.items()
        if count > 1
    ]


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and "\n" not in value and "\0" not in value


def _listen(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(address(value))
    except UsageError:
        return False


def _is_address(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


def _port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535


_WANTED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "hosts": ('a list of "[NAME@]HOST[:TAG,TAG]" or tables', lambda value: isinstance(value, list)),
    "directory": ("a path", _text),
    "listen": (f'an address with a port, "10.0.0.1:{PORT}"', _listen),
    "worker-port": ("a port, or 0 for any", _port),
    "limits": ("a table of numbers", lambda value: isinstance(value, Mapping)),
}
