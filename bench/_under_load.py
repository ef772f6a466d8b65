"""What upgrades under load found, and how it is told: as text, as a table, as a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from _charts import Bar, Panel, draw
from _load import Answer, Bulk, Seen, percentile


@dataclass(frozen=True)
class Upgrade:
    """From the command to a second after the old version had gone and the new one answered; seconds of the monotonic clock."""

    began: float
    ended: float
    old: str
    new: str


@dataclass(frozen=True)
class Turn:
    """Some upgrades of a server, from its start to its end."""

    upgrades: list[Upgrade]
    seen: Seen
    bulk: Bulk


@dataclass
class Found:
    """All of one contender."""

    label: str
    ours: bool
    saturation: float = 0.0
    """Requests a second that wrk got next to the other clients, at best."""
    turns: list[Turn] = field(default_factory=list)
    failed: str = ""
    """Why there is no more of it."""

    @property
    def lost(self) -> int:
        """Requests that failed, and WebSockets that ended otherwise than with 1012 or could not be opened."""
        return len(self.failures) + self.wrk_errors.total() + self.websockets.total() - self.websockets["1012"]

    @property
    def failures(self) -> list[str]:
        return [how for turn in self.turns for _, how in turn.seen.failures]

    @property
    def wrk_errors(self) -> Counter[str]:
        return sum((Counter(turn.bulk.errors) for turn in self.turns), Counter())

    @property
    def websockets(self) -> Counter[str]:
        return sum((turn.seen.websockets for turn in self.turns), Counter())

    @property
    def upgrades(self) -> list[tuple[Upgrade, Seen]]:
        return [(upgrade, turn.seen) for turn in self.turns for upgrade in turn.upgrades]


def failed_in(upgrade: Upgrade, seen: Seen) -> int:
    """Requests of the bench's own clients that failed from its command to its end."""
    return sum(upgrade.began <= when <= upgrade.ended for when, _ in seen.failures)


def took_in(upgrade: Upgrade, seen: Seen) -> list[float]:
    """Milliseconds, of each that was asked from its command to its end."""
    return [_ms(each) for each in seen.answers if upgrade.began <= each.began <= upgrade.ended]


def p50_in(upgrade: Upgrade, seen: Seen) -> float:
    return percentile(took_in(upgrade, seen), 0.5)


def p99_in(upgrade: Upgrade, seen: Seen) -> float:
    return percentile(took_in(upgrade, seen), 0.99)


def slowest_in(upgrade: Upgrade, seen: Seen) -> float:
    return max(took_in(upgrade, seen), default=0.0)


def p99_beside(turn: Turn) -> float:
    """Milliseconds, of what was asked while no version changed."""

    def changes(when: float) -> bool:
        return any(upgrade.began <= when <= upgrade.ended for upgrade in turn.upgrades)

    return percentile([_ms(each) for each in turn.seen.answers if not changes(each.began)], 0.99)


def to_new(upgrade: Upgrade, seen: Seen) -> float:
    """Seconds from the command to the first answer of the new version."""
    ends = (each.ended for each in seen.answers if each.version == upgrade.new and each.began >= upgrade.began)
    return min(ends) - upgrade.began


def to_last(upgrade: Upgrade, seen: Seen) -> float:
    """Seconds from the command to the last answer of the old version; 0 where none came."""
    ends = (each.ended for each in seen.answers if each.version == upgrade.old and each.ended <= upgrade.ended)
    return max(0.0, max(ends, default=upgrade.began) - upgrade.began)


def _ms(answer: Answer) -> float:
    return 1000 * (answer.ended - answer.began)


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{median(values):.{digits}f} (at most {max(values):.{digits}f})" if values else ""


def _kinds(of: Counter[str]) -> str:
    return ", ".join(f"{count} {how}" for how, count in sorted(of.items()) if count)


def _websockets(found: Found) -> str:
    otherwise = Counter({how: count for how, count in found.websockets.items() if how not in ("1012", "refused")})
    return f"{otherwise.total()}" + (f": {_kinds(otherwise)}" if otherwise else "")


def _failed(found: Found) -> str:
    kinds = _kinds(Counter(found.failures))
    return f"{len(found.failures)}" + (f": {kinds}" if kinds else "")


def _all(found: Found, figure: Callable[[Upgrade, Seen], float]) -> list[float]:
    return [figure(*each) for each in found.upgrades]


ROWS: dict[str, Callable[[Found], str]] = {
    "upgrades": lambda found: str(len(found.upgrades)),
    "saturation, requests/s": lambda found: f"{found.saturation:.0f}",
    "wrk: requests": lambda found: str(sum(turn.bulk.requests for turn in found.turns)),
    "wrk: requests/s": lambda found: _spread([turn.bulk.rate for turn in found.turns], 0),
    "wrk: errors": lambda found: (
        f"{found.wrk_errors.total()}" + (_kinds(found.wrk_errors) and f": {_kinds(found.wrk_errors)}")
    ),
    "wrk: p99, ms": lambda found: _spread([turn.bulk.p99 for turn in found.turns], 0),
    "other clients: answered": lambda found: str(sum(len(turn.seen.answers) for turn in found.turns)),
    "**failed**": _failed,
    "found closed before a request": lambda found: str(sum(turn.seen.found_closed for turn in found.turns)),
    "p50 around an upgrade, ms": lambda found: _spread(_all(found, p50_in), 1),
    "p99 next to upgrades, ms": lambda found: _spread(list(map(p99_beside, found.turns)), 0),
    "p99 around an upgrade, ms": lambda found: _spread(_all(found, p99_in), 0),
    "slowest answer around an upgrade, ms": lambda found: _spread(_all(found, slowest_in), 0),
    "to the first answer of the new, s": lambda found: _spread(_all(found, to_new), 2),
    "to the last answer of the old, s": lambda found: _spread(_all(found, to_last), 2),
    "WebSockets: echoes": lambda found: str(sum(turn.seen.echoes for turn in found.turns)),
    "closed with 1012": lambda found: str(found.websockets["1012"]),
    "**closed otherwise**": _websockets,
    "refused": lambda found: str(found.websockets["refused"]),
}
"""What is told of each, in the order of the table; a spread is a median."""


def table(found: Sequence[Found]) -> list[list[str]]:
    """A line for each figure, after one with the names; and a last one where something failed."""
    lines = [["", *(each.label for each in found)]]
    lines += [[title, *(show(each) if each.turns else "" for each in found)] for title, show in ROWS.items()]
    if any(each.failed for each in found):
        lines.append(["ended early", *(each.failed for each in found)])
    return lines


FELT: dict[str, Callable[[Upgrade, Seen], float]] = {"p50": p50_in, "p99": p99_in, "slowest answer": slowest_in}


def felt(found: Sequence[Found]) -> list[str]:
    """What clients feel of an upgrade by underway, as a part of what they feel of each other's in the same run: medians."""
    all_ours, others = ([each for each in found if each.turns and each.ours is whose] for whose in (True, False))
    return [
        f"around an upgrade, {ours.label} next to {other.label}: "
        + ", ".join(f"{what} {_ratio(_all(ours, figure), _all(other, figure))}" for what, figure in FELT.items())
        for ours in all_ours
        for other in others
        if other.upgrades and ours.upgrades
    ]


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    return f"{median(ours) / median(theirs):.2f} times" if median(theirs) else f"{median(ours):.0f} ms, and none"


def text(found: Sequence[Found]) -> str:
    """The table for a terminal."""
    lines = [[cell.replace("*", "") for cell in line] for line in table(found)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def markdown(found: Sequence[Found]) -> str:
    """The table of docs/reference/measurements.md."""
    head, *lines = ["| " + " | ".join(line) + " |" for line in table(found)]
    return "\n".join([head, "| --- |" + " ---: |" * len(found), *lines, ""])


def picture(found: Sequence[Found], foot: str) -> str:
    """Bars to medians, a dot for each upgrade or turn."""

    def panel(title: str, values: Callable[[Found], Sequence[float]], show: Callable[[Found], str]) -> Panel:
        return Panel(title, [Bar(e.label, values(e), show(e) if e.turns else e.failed, e.ours) for e in found])

    def of_each(title: str, figure: Callable[[Upgrade, Seen], float]) -> Panel:
        return panel(title, lambda each: _all(each, figure), ROWS[title])

    def ended(each: Found) -> list[float]:
        return [turn.seen.websockets.total() - turn.seen.websockets["1012"] for turn in each.turns]

    return draw(
        "Upgrades under load: examples/chat, up and down",
        foot,
        [
            panel("failed requests, in an upgrade", lambda e: _all(e, failed_in), _failed),
            panel(
                "WebSockets closed otherwise than with 1012, or refused, in a round",
                ended,
                lambda e: f"{sum(ended(e)):.0f}",
            ),
            of_each("p99 around an upgrade, ms", p99_in),
            of_each("slowest answer around an upgrade, ms", slowest_in),
            of_each("to the first answer of the new, s", to_new),
            of_each("to the last answer of the old, s", to_last),
        ],
    )
