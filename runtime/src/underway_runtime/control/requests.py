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

from dataclasses import field

from ..frozen import Frozen
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


class Kind(Frozen):
    """What a field may hold."""

    what: str
    holds: Callable[[object], bool]


class Form(Frozen):
    """How one request comes, and who may send it."""

    request: type[Request]
    fields: Mapping[str, Kind] = field(default_factory=dict)
    """All of them must be there, and no other; those of the request."""
    who: str = OWNER
    enabled_by: str = ""


class Request(Frozen):
    """What a client asks for, read."""


class Status(Request):
    """What the node says of itself."""


class Metrics(Request):
    """The same for Prometheus."""


class Ready(Request):
    """An answer as soon as the node is ready, or has failed to become so."""


class Restart(Request):
    """The permanent version, started again."""


class HandOver(Request):
    """Another node of a version, or of the permanent one where that is empty."""

    version: str
    id: str
    """Of the upgrade, in all journals."""
    to_commit: float
    """Seconds until it has to be committed, or 0."""


class Install(Request):
    """This process as another version; fields as those of `HandOver`."""

    version: str
    id: str
    to_commit: float


class CanInstallInPlace(Request):
    """Whether `Install` could; nothing changes."""

    version: str


class Keep(Request):
    """A node of a version that waits for so many seconds to be wanted."""

    version: str
    seconds: float


class Scale(Request):
    """So many processes."""

    processes: int


class TryGates(Request):
    """The gates of the version that runs, tried now."""


class Committed(Request):
    """The version that runs has been made permanent."""


class Rpc(Request):
    """Code to run in the node."""

    code: str


class OpenShell(Request):
    """A console in the node."""


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_WAIT


VERSION = Kind("a version of the release", names.is_version)
VERSION_OR_PERMANENT = Kind("a version of the release, or empty", lambda value: value == "" or names.is_version(value))
IDENTITY = Kind(f"a name of at most {names.LONGEST} letters, digits and . + ! _ -", names.is_name)
SECONDS = Kind(f"a number of seconds from 0 to {LONGEST_WAIT:g}", _is_seconds)
TEXT = Kind("a text", lambda value: isinstance(value, str))

PROCESSES = Kind(
    "a number of processes from 1 to 512",
    lambda value: isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 512,
)

_UPGRADE: Mapping[str, Kind] = {"version": VERSION, "id": IDENTITY, "to_commit": SECONDS}

REQUESTS: Mapping[str, Form] = {
    "status": Form(Status, who=MEMBERS),
    "metrics": Form(Metrics, who=MEMBERS),
    "ready": Form(Ready, who=MEMBERS),
    "restart": Form(Restart, who=MEMBERS),
    "hand over": Form(HandOver, {**_UPGRADE, "version": VERSION_OR_PERMANENT}, who=MEMBERS),
    "install": Form(Install, _UPGRADE, who=MEMBERS),
    "consider": Form(CanInstallInPlace, {"version": VERSION}, who=MEMBERS),
    "keep": Form(Keep, {"version": VERSION, "seconds": SECONDS}, who=MEMBERS),
    "scale": Form(Scale, {"processes": PROCESSES}, who=MEMBERS),
    "gates": Form(TryGates, who=MEMBERS),
    "committed": Form(Committed, who=MEMBERS),
    "rpc": Form(Rpc, {"code": TEXT}, enabled_by="rpc"),
    "shell": Form(OpenShell, enabled_by="remote"),
}
"""By what ``do`` says. The words are those that clients and nodes of releases built before say."""


def is_interrupt(request: Message) -> bool:
    """Whether this is ``{"interrupt": true}``, which is taken at any time and has no answer."""
    return list(request) == ["interrupt"] and request["interrupt"] is True


def read(message: Message, *, member: bool, is_unpacked: Callable[[str], bool]) -> Request:
    """Read what a client asks for. `is_unpacked` knows the versions; a switch is obeyed by `RequestHandler.session`.

    Raises Refused, with everything that is wrong with it.
    """
    name = message.get("do")
    form = REQUESTS.get(name) if isinstance(name, str) else None
    if form is None:
        raise Refused("a request that this node does not know")
    if member and form.who == OWNER and not form.enabled_by:
        raise Refused(f"{name!r} is for the user of the node and root alone")
    problems = [f"it needs `{key}`" for key in form.fields if key not in message]
    problems += [
        f"`{key}` is not {kind.what}: {_shown(message[key])}"
        for key, kind in form.fields.items()
        if key in message and not kind.holds(message[key])
    ]
    unknown = [key for key in message if key != "do" and key not in form.fields]
    problems += [f"it does not take {', '.join(map(names.shown, unknown[:_NAMED]))}"] if unknown else []
    if not problems and (version := message.get("version")) and not is_unpacked(version):
        problems = [f"version {version} is not unpacked here"]
    if problems:
        raise Refused(f"{name!r} is refused: {'; '.join(problems)}")
    return form.request(**{key: message[key] for key in form.fields})


_NAMED = 5
"""Keys that are named in an error."""


def _shown(value: object) -> str:
    if isinstance(value, float) or type(value) is int:
        return str(value) if abs(value) < 1e15 else "a number that is too large"
    return names.shown(value)
