"""What may be asked of a node: each request with its fields, what these may be, and who may send it. Nothing else reaches the node.

=========================================================  ==============================================================
who                                                        may send
=========================================================  ==============================================================
the user of the node, and root                             all of them
a member of ``control_group``                              those for MEMBERS; of the others those of a switch that is on
=========================================================  ==============================================================

A switch is a key of ``underway_runtime``. Where it is off the request is refused for everybody.

A version that somebody names is a version and unpacked in this release directory, so what is loaded, compared or started for it
belongs to the owner of the tree; no request carries a path, a variable, a setting, a gate or a command.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..release import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .frames import Message

MEMBERS = "members"
"""Of ``control_group``, who operate the service and whose code does not run in it."""
OWNER = "owner"
"""The user of the node, and root."""

LONGEST_WAIT = 86400.0
"""Seconds: as much as ``install --commit-within`` takes."""


class Refused(Exception):
    """What is asked for can't be done; the message is for the client."""


@dataclass(frozen=True)
class Kind:
    """What a field may hold."""

    what: str
    holds: Callable[[object], bool]


@dataclass(frozen=True)
class Request:
    """One kind of request."""

    fields: Mapping[str, Kind] = field(default_factory=dict)
    """All of them must be there, and no other."""
    who: str = OWNER
    switch: str = ""


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_WAIT


VERSION = Kind("a version of the release", names.is_version)
VERSION_OR_PERMANENT = Kind("a version of the release, or empty", lambda value: value == "" or names.is_version(value))
IDENTITY = Kind(f"a name of at most {names.LONGEST} letters, digits and . + ! _ -", names.is_name)
SECONDS = Kind(f"a number of seconds from 0 to {LONGEST_WAIT:g}", _is_seconds)
TEXT = Kind("a text", lambda value: isinstance(value, str))

REQUESTS: Mapping[str, Request] = {
    "status": Request(who=MEMBERS),
    "metrics": Request(who=MEMBERS),
    "ready": Request(who=MEMBERS),
    "restart": Request(who=MEMBERS),
    "hand over": Request(
        {"version": VERSION_OR_PERMANENT, "id": IDENTITY, "to_commit": SECONDS},
        who=MEMBERS,
    ),
    "install": Request({"version": VERSION, "id": IDENTITY, "to_commit": SECONDS}, who=MEMBERS),
    "consider": Request({"version": VERSION}, who=MEMBERS),
    "gates": Request(who=MEMBERS),
    "committed": Request(who=MEMBERS),
    "rpc": Request({"code": TEXT}, switch="rpc"),
    "shell": Request(switch="remote"),
}
"""By what ``do`` says."""


def is_interrupt(request: Message) -> bool:
    """Whether this is ``{"interrupt": true}``, which is taken at any time and has no answer."""
    return list(request) == ["interrupt"] and request["interrupt"] is True


def check(request: Message, *, member: bool, is_here: Callable[[str], bool]) -> str:
    """What is to be done for a request, as a key of `REQUESTS`. `is_here` knows the versions; a switch is obeyed by `Desk.session`.

    Raises Refused, with everything that is wrong with it.
    """
    name = request.get("do")
    wanted = REQUESTS.get(name) if isinstance(name, str) else None
    if wanted is None:
        raise Refused("a request that this node does not know")
    assert isinstance(name, str)
    if member and wanted.who == OWNER and not wanted.switch:
        raise Refused(f"{name!r} is for the user of the node and root alone")
    problems = [f"it needs `{each}`" for each in wanted.fields if each not in request]
    problems += [
        f"`{each}` is not {kind.what}: {_shown(request[each])}"
        for each, kind in wanted.fields.items()
        if each in request and not kind.holds(request[each])
    ]
    unknown = [each for each in request if each != "do" and each not in wanted.fields]
    problems += [f"it does not take {', '.join(map(names.shown, unknown[:_NAMED]))}"] if unknown else []
    if not problems and (version := request.get("version")) and not is_here(version):
        problems = [f"version {version} is not unpacked here"]
    if problems:
        raise Refused(f"{name!r} is refused: {'; '.join(problems)}")
    return name


_NAMED = 5
"""Keys that are named in an error."""


def _shown(value: object) -> str:
    if isinstance(value, float) or type(value) is int:
        return str(value) if abs(value) < 1e15 else "a number that is too large"
    return names.shown(value)
