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
import os
import re
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeAlias

from ..release import addresses
from ..release.decode import Invalid, Reader, Rule, decode
from ..release.errors import UnderwayError, UsageError, listing

PORT = 8786
"""At which the master listens, where nothing else is said."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9]+)?\]", re.ASCII)
_WORD = re.compile(r"(?:(?P<name>[^@]*)@)?(?P<host>\[[^\]]*\]|[^:@]*)(?::(?P<tags>.*))?", re.DOTALL)
_VARIABLE = re.compile(r"\$[A-Za-z_{(]")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(@[A-Za-z0-9][A-Za-z0-9.-]*)?", re.ASCII)


def _is_name(text: str | None) -> bool:
    return text is None or NAME.fullmatch(text) is not None


def _is_user(text: str | None) -> bool:
    return text is None or _USER.fullmatch(text) is not None


def _is_port(number: int | None) -> bool:
    return number is None or 0 < number <= 65535


def _is_port_or_any(number: int) -> bool:
    return number == 0 or _is_port(number)


def _is_address(text: str | None) -> bool:
    try:
        return text is None or bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _is_text(text: str | None) -> bool:
    return text is None or (bool(text) and "\n" not in text and "\0" not in text)


def _is_listen(text: str | None) -> bool:
    try:
        return text is None or bool(addresses.split(text))
    except ValueError:
        return False


_Seconds: TypeAlias = Annotated[float, Rule("a number of more than 0", lambda number: number > 0)]
_PORT = Rule("a port, or 0 for any", _is_port_or_any)
_HOST_RULE = Rule(
    "a name of a host in ASCII, as xn--bcher-kva.example, an IPv4 address, or an IPv6 address in brackets",
    _HOST.fullmatch,
)


@dataclass(frozen=True)
class Host:
    """One node of the cluster, and where it runs."""

    host: Annotated[str, _HOST_RULE]
    """What SSH connects to: a name of DNS or of its configuration, or an address."""
    name: Annotated[str | None, Rule("a name of a node", _is_name)] = None
    """Of the node; None for one after the release and the role."""
    tags: tuple[Annotated[str, Rule("a tag", NAME.fullmatch)], ...] = ()
    role: Literal["worker", "master"] = "worker"
    user: Annotated[str | None, Rule("a user", _is_user)] = None
    port: Annotated[int | None, Rule("a port", _is_port)] = None
    """Of SSH; as `user`, None for what its configuration says."""
    address: Annotated[str | None, Rule("an address", _is_address)] = None
    """Its own in the cluster, where that is not the one that SSH connects to."""

    def node(self, release: str) -> str:
        """The full name of its node: ``wordcount_worker@beta``."""
        return f"{self.name or f'{release}_{self.role}'}@{self.host}"


@dataclass(frozen=True)
class Limits:
    """How long things may take, in seconds, and how much is taken at once."""

    connect: _Seconds = 10.0
    command: _Seconds = 60.0
    copy: _Seconds = 900.0
    start: _Seconds = 120.0
    clock: _Seconds = 30.0
    """By how much a host's clock may differ: certificates have dates."""
    parallel: Annotated[int, Rule("a whole number of more than 0", lambda number: number > 0)] = 64


@dataclass(frozen=True)
class Fleet:
    """What a deploy is about."""

    hosts: tuple[Annotated[Host, Reader(_entry)], ...] = ()
    directory: Annotated[str | None, Rule("a path", _is_text)] = None
    """Of the release on the hosts: absolute, or below the home of who logs in; None for the name of the release."""
    listen: Annotated[str | None, Rule(f'an address with a port, "10.0.0.1:{PORT}"', _is_listen)] = None
    """Of the master, ``ADDRESS:PORT``; None for the address from which it reaches the hosts."""
    worker_port: Annotated[int, _PORT] = field(default=0, metadata={"key": "worker-port"})
    """0 for any that is free."""
    limits: Limits = field(default_factory=Limits)


def host(word: str) -> Host:
    """The host in ``[NAME@]HOST[:TAG,TAG]``. Raises ValueError with what is wrong with it."""
    match = _WORD.fullmatch(word)
    if match is None:
        raise ValueError(f"{word!r} is not [NAME@]HOST[:TAG,TAG]")
    given: dict[str, Any] = {key: text for key, text in match.groupdict().items() if text is not None}
    if "tags" in given:
        given["tags"] = given["tags"].split(",")
    try:
        return decode(Host, given)
    except Invalid as error:
        raise ValueError(f"{word!r} is not a host: {error}") from None


def _entry(entry: Any) -> Host:
    """The host in an entry of a table. Raises ValueError with what is wrong with it."""
    return host(entry) if isinstance(entry, str) else decode(Host, entry)


def from_words(words: Iterable[str]) -> tuple[Host, ...]:
    """The hosts in words. Raises UsageError with everything that is wrong with any of them."""
    hosts, problems = [], []
    for word in words:
        try:
            hosts.append(host(word))
        except ValueError as error:
            problems.append(str(error))
    problems += together(hosts)
    if problems:
        raise UsageError(listing("the hosts can't be understood:", problems))
    return tuple(hosts)


def from_text(text: str) -> tuple[Host, ...]:
    """The hosts in a file: one in each line, or several; what follows a # is a comment. Raises UsageError."""
    return from_words(word for line in text.splitlines() for word in line.partition("#")[0].split())


def from_table(table: Any) -> Fleet:
    """What a table, as ``[tool.underway.cluster]``, says. Raises UsageError with everything that is wrong with it."""
    if problems := problems_of(table):
        raise UsageError(listing("the cluster can't be understood:", problems))
    return decode(Fleet, table)


def fleet_in(file: str) -> Fleet:
    """The hosts in a file: a table where it is called ``.toml``, else a list. Raises UsageError and UnderwayError."""
    try:
        text = Path(os.path.expanduser(file)).read_text(encoding="utf-8")
        return from_table(tomllib.loads(text)) if file.endswith(".toml") else Fleet(from_text(text))
    except (OSError, ValueError) as error:
        raise UnderwayError(f"{file} can't be read: {getattr(error, 'strerror', None) or error}") from None
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None


def problems_of(table: Any) -> list[str]:
    """What is wrong with a table that describes a cluster; empty when nothing is."""
    try:
        fleet = decode(Fleet, table)
    except Invalid as error:
        return list(map(str, error.problems))
    return together(fleet.hosts) + directory_problems(fleet.directory or "")


def address(text: str, port: int | None = None) -> tuple[str, int]:
    """Host and port in ``HOST:PORT``, or ``HOST`` alone where there is a default. Raises UsageError."""
    try:
        return addresses.split(text, port)
    except ValueError as error:
        raise UsageError(str(error)) from None


def directory_problems(directory: str) -> list[str]:
    """What is wrong with the directory of a release on hosts. ``~`` and ``~/x`` are the home there, as a name alone is below it."""
    problems = []
    user, _, _ = directory.removeprefix("~").partition("/")
    if directory.startswith("~") and user:
        problems.append("is below another user's home, which is not looked up; write its path")
    if not directory.isprintable():
        problems.append("has a line break or another character that can't be printed")
    if _VARIABLE.search(directory):
        problems.append("has a variable, which is not looked up; ~ is the home of who logs in there")
    if ".." in directory.split("/"):
        problems.append("leads through ..; write its path")
    return [f"the directory {directory!r} {problem}" for problem in problems]


def directory_of(text: str) -> str:
    """The same directory in its one form: without a slash at its end, and what stands for itself in it."""
    path = str(PurePosixPath(text))
    return "~" if path == "." else path


def together(hosts: Iterable[Host]) -> list[str]:
    """What is wrong with hosts as those of one cluster."""
    hosts = list(hosts)
    masters = [peer.host for peer in hosts if peer.role == "master"]
    return [
        *_twice(hosts),
        *_same_but_for_case(
            "hosts",
            (peer.host for peer in hosts),
            "DNS knows one of them; write the host in one way, and give each of several nodes there a name: NAME@HOST",
        ),
        *_one_host_in_several_ways(hosts),
        *_same_but_for_case(
            "names of nodes",
            (f"{peer.name}@{peer.host}" for peer in hosts if peer.name),
            "give them names that differ in more than case",
        ),
        *_same_but_for_case(
            "tags", (tag for peer in hosts for tag in peer.tags), "write the tag in one way on all hosts"
        ),
        *([f"{' and '.join(masters)} are masters; a cluster has one"] if len(masters) > 1 else []),
    ]


def _same_but_for_case(what: str, words: Iterable[str], way_out: str) -> list[str]:
    groups: dict[str, dict[str, None]] = {}
    for word in words:
        groups.setdefault(word.lower(), {})[word] = None
    return [
        f"the {what} {' and '.join(group)} differ only in case; {way_out}"
        for group in groups.values()
        if len(group) > 1
    ]


def _one_host_in_several_ways(hosts: Iterable[Host]) -> list[str]:
    """Hosts whose names differ in a dot at the end, and addresses that do in zeros; what differs only in case is told already."""
    groups: dict[str, dict[str, str]] = {}
    for peer in hosts:
        text = peer.host.lower()
        address, percent, zone = addresses.unbracketed(text).partition("%")
        with suppress(ValueError):
            text = f"{ipaddress.ip_address(address)}{percent}{zone}"
        groups.setdefault(text.rstrip("."), {}).setdefault(peer.host.lower(), peer.host)
    return [
        f"the hosts {' and '.join(group.values())} are one; write it in one way, and give each of several nodes there a name: NAME@HOST"
        for group in groups.values()
        if len(group) > 1
    ]


def _twice(hosts: Iterable[Host]) -> list[str]:
    counts: dict[tuple[str, str | None, str], int] = {}
    for peer in hosts:
        key = (peer.host, peer.name, peer.role)
        counts[key] = counts.get(key, 0) + 1
    return [
        f"{name or role}@{where} is there {count} times; give each node a name of its own, NAME@HOST"
        for (where, name, role), count in counts.items()
        if count > 1
    ]
