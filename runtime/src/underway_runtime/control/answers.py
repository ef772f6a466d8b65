"""What a node answers, as its client takes it: texts that a terminal may have, and of a status what each field has to be.

The node may be of another user than who asks: root asks, and the service answers. So nothing of an answer is taken for more
than it says, no number for a number that was not looked at, and no text reaches a terminal that could do something there.
"""

from __future__ import annotations

from ..release.display import many_lines, one_line
from ..release.errors import UnderwayError
from ..release.names import is_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .frames import Message

_AS_IT_IS = ("out", "err", "metrics", "root")
"""What code prints, which `shown` writes, what a program reads, and a path that is compared."""
_MOST = 1 << 60
_LONGEST = 86400.0 * 366
_DEEPEST = 20


class Answer(dict):  # type: ignore[type-arg] # at runtime it has none
    """A message; what it does not hold is an UnderwayError, for it is not what was asked for."""

    def __missing__(self, key: str) -> Any:
        raise UnderwayError(f"the answer of the node has no {key!r}; is it of another version of underway?")


def taken(message: Message) -> Answer:
    """A message whose texts are printable, but for those that are output. Raises UnderwayError."""
    return Answer(
        {one_line(key, 100): value if key in _AS_IT_IS else _printable(value) for key, value in message.items()}
    )


def status(message: Message, name: str) -> dict[str, Any]:
    """The status in an answer of the node of the release `name`. Raises UnderwayError naming all that is not what it has to be."""
    answer = message["status"]
    if not isinstance(answer, dict):
        raise UnderwayError(
            f"the process on {name}'s control socket is not one of its nodes: its status is not an object"
        )
    wrong = [key for key, fits in _STATUS.items() if key in answer and not fits(answer[key])]
    wrong += [key for key in _STATUS if key not in answer and key not in _SINCE]
    if wrong:
        raise UnderwayError(
            f"the process on {name}'s control socket is not one of its nodes: these fields of its status make no sense: {', '.join(wrong)}"
        )
    return answer


def seconds(value: object) -> float:
    """A time that the node states. Raises UnderwayError for what is none, or no end."""
    if _is_number(value) and value <= _LONGEST:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    raise UnderwayError("the answer of the node has a time that makes no sense; is it of another version of underway?")


def exit_status(value: object) -> int:
    """The status with which code ended. Raises UnderwayError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise UnderwayError(
        "the answer of the node has an exit status that makes no sense; is it of another version of underway?"
    )


def texts(value: object) -> list[str]:
    """A list of texts. Raises UnderwayError."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise UnderwayError(
        "the answer of the node has something else than a list of texts; is it of another version of underway?"
    )


def become(answer: Message) -> None:
    """Read that the process has become another version, and how. Raises UnderwayError."""
    if answer["how"] not in ("configuration", "hot"):
        raise UnderwayError("the answer of the node does not say how it became another version")
    seconds(answer["held"])
    texts(answer["old_code"])


def gates(value: object) -> list[dict[str, Any]]:
    """The outcome of gates. Raises UnderwayError."""
    if _list(_table(gate=_is_any_text, passed=lambda passed: isinstance(passed, bool), attempts=_list(_is_any_text)))(
        value
    ):
        return value  # type: ignore[return-value]
    raise UnderwayError("the answer of the node has no results of gates; is it of another version of underway?")


def is_pid(value: object) -> bool:
    """Whether it may be the id of one process."""
    return _is_count(value) and value not in (0, False)


def _printable(value: object, depth: int = 0) -> object:
    if isinstance(value, str):
        return many_lines(value)
    if depth > _DEEPEST:
        raise UnderwayError("the answer of the node is too deep; is it of another version of underway?")
    if isinstance(value, list):
        return [_printable(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {one_line(key, 200): _printable(item, depth + 1) for key, item in value.items()}
    return value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\n" not in value


def _is_any_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _MOST


def _or_none(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or fits(value)


def _list(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _table(**fields: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, dict) and all(key in value and fits(value[key]) for key, fits in fields.items())
    )


def _texts_by_name(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, (*value, *value.values())))


_SINCE = ("certificates", "clients", "directory", "not_handed_over", "process", "starts", "took_over")
"""What was added later; all else is in every status."""
_STATUS: dict[str, Callable[[object], bool]] = {
    "name": _is_text,
    "version": is_version,
    "directory": _is_any_text,
    "release_id": _or_none(_is_text),
    "state": _is_text,
    "uptime": _is_number,
    "pid": is_pid,
    "keeper": _or_none(is_pid),
    "starts": _is_count,
    "took_over": _is_text,
    "children": _list(is_pid),
    "not_handed_over": _list(_is_text),
    "clients": _texts_by_name,
    "certificates": _texts_by_name,
    "memory": _or_none(_is_count),
    "process": _table(number=_is_count, of=_is_count, clients=_is_count),
    "changed": _table(time=_is_text, what=_is_text),
    "loop": _table(answers=lambda value: isinstance(value, bool), seconds=_is_number),
    "applications": _list(_table(name=_is_text, version=_is_text, mode=_is_text, state=_is_text)),
}
"""By field, what fits; a newer node has more."""
