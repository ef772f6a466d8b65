"""Which of the starts that were found is meant; none where that is not clear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from underway_runtime.release.references import is_reference

from ..errors import ProjectError, did_you_mean, listing
from .findings import CODE, DEPLOYED, HELPER, SCRIPT, Place, Start, Sure
from .servers import DEFAULTS

_ASGI_SERVERS = {"daphne", "granian", "hypercorn", "uvicorn", "uvicorn-worker"}
_WSGI_SERVERS = {"gunicorn", "uwsgi", "pyuwsgi", "waitress", "mod-wsgi"}
_SURE = {DEPLOYED: Sure.CERTAIN, SCRIPT: Sure.LIKELY, CODE: Sure.LIKELY, HELPER: Sure.POSSIBLE}
ASSUMED = "tcp://127.0.0.1:8000"
"""Where a service listens of which nothing says where."""


@dataclass(frozen=True)
class Candidate:
    """A start, and all the lines that say so."""

    start: Start
    evidence: tuple[Start, ...]
    """The best first."""

    @property
    def is_web(self) -> bool:
        return self.start.kind in ("asgi", "wsgi")

    def has(self, *ranks: int) -> bool:
        """Whether one of these says so."""
        return any(line.rank in ranks for line in self.evidence)


@dataclass(frozen=True)
class Choice:
    """What was chosen, and from what."""

    taken: Candidate | None
    candidates: tuple[Candidate, ...]
    reason: str
    """Why this one, or why none."""


def candidates(starts: Sequence[Start]) -> tuple[Candidate, ...]:
    """Each start once, the surest first."""
    groups: dict[object, list[Start]] = {}
    for start in starts:
        groups.setdefault(start.key, []).append(start)
    made = []
    for group in groups.values():
        evidence = tuple(sorted(group, key=lambda start: (start.rank, start.place)))
        in_code = [start for start in evidence if start.rank == CODE]
        first = evidence[0]
        problem = next((start.problem for start in evidence if start.problem), "")
        told = next((start for start in evidence if start.listen), first)
        sure = Sure.POSSIBLE if problem else _SURE[first.rank]
        made.append(
            Candidate(
                replace(
                    first,
                    framework=(in_code or [first])[0].framework or first.framework,
                    problem=problem,
                    listen=told.listen,
                    notes=tuple(dict.fromkeys(note for start in evidence for note in start.notes)),
                    workers=next((start.workers for start in evidence if start.workers and start.rank != HELPER), ""),
                    sure=sure,
                ),
                evidence,
            )
        )
    return tuple(
        sorted(made, key=lambda candidate: (bool(candidate.start.problem), candidate.start.rank, candidate.start.place))
    )


def choose(starts: Sequence[Start], names: frozenset[str], picked: str | None = None) -> Choice:
    """Choose what is clearly meant; `names` are the distributions that ship, `picked` is what the user says.

    Raises ProjectError where `picked` is none of them.
    """
    known = candidates(starts)
    if picked is not None:
        return _picked(known, picked)
    usable = [candidate for candidate in known if not candidate.start.problem]
    web = [candidate for candidate in usable if candidate.is_web]
    deployed = [candidate for candidate in known if candidate.has(DEPLOYED)]
    if deployed:
        serving = [candidate for candidate in deployed if candidate.is_web] or deployed
        if len(serving) == 1:
            [one] = serving
            if one.start.problem:
                return Choice(None, known, f"{one.start.reference} is meant, and {one.start.problem}")
            return Choice(one, known, f"{one.start.place} starts it")
        return Choice(None, known, "the project's files start several things")
    helped = [candidate for candidate in web if candidate.has(HELPER)]
    if len(helped) == 1:
        return Choice(helped[0], known, f"{_by(helped[0], HELPER)} starts it for development, and its module has it")
    scripts = [candidate for candidate in usable if candidate.has(SCRIPT)]
    if web and scripts:
        return Choice(None, known, "it may be an application or a command")
    if len(web) == 1:
        return Choice(web[0], known, "it is the only application in the code")
    if django := _django(web, names):
        return Choice(django, known, "the servers that the project depends on are for it")
    rest = scripts or [candidate for candidate in usable if not candidate.is_web and candidate.has(CODE)]
    if not web and len(rest) == 1:
        return Choice(rest[0], known, "it is the only one")
    if web or rest:
        return Choice(None, known, "several may be meant, and nothing says which")
    return Choice(
        None, known, "nothing that was found can be started as it is" if known else "nothing was found that starts"
    )


def listen_of(candidate: Candidate) -> tuple[tuple[str, ...], str, str]:
    """Find where a start listens, who says so, and how sure that is; nothing for a `main` of which no line of code says it."""
    told = [line for line in candidate.evidence if line.listen]
    if told and (candidate.is_web or told[0].rank == CODE):
        first = told[0]
        source = f"{first.place}, {first.how}"
        others = [line for line in told if line.listen != first.listen and line.rank == first.rank]
        if others:
            return (
                first.listen,
                f"{source}; {', '.join(f'{line.place} says {line.listen[0]}' for line in others)}",
                Sure.POSSIBLE,
            )
        return first.listen, source, _SURE[first.rank]
    if not candidate.is_web:
        return (), "", ""
    server = next((line for line in candidate.evidence if line.rank == DEPLOYED and line.server in DEFAULTS), None)
    if server is not None:
        return (f"tcp://{DEFAULTS[server.server]}",), f"{server.place}, the default of {server.server}", Sure.LIKELY
    return (ASSUMED,), "nothing says where", "assumed"


def _by(candidate: Candidate, rank: int) -> Place:
    return next(line.place for line in candidate.evidence if line.rank == rank)


def _picked(known: tuple[Candidate, ...], picked: str) -> Choice:
    kind, equals, reference = picked.partition("=")
    if not equals:
        kind, reference = "", picked
    at_line = [c for c in known if any(str(line.place) == picked for line in c.evidence)]
    if len(at_line) == 1 and not at_line[0].start.problem:
        return Choice(at_line[0], known, "--start says so")
    if not is_reference(reference) or kind not in ("", "asgi", "wsgi", "main"):
        raise ProjectError(
            f"--start takes MODULE:NAME, or asgi=, wsgi= or main= and that, or FILE:LINE of what is found, not {picked!r}"
        )
    named = [c for c in known if c.start.reference == reference and kind in ("", c.start.kind)]
    if len(named) == 1 or (named and len({c.start.kind for c in named}) == 1):
        [*_, best] = sorted(named, key=lambda c: -len(c.start.problem))
        if best.start.problem and not kind:
            raise ProjectError(f"{reference} can't be started as it is ({best.start.place}): {best.start.problem}")
        return Choice(best, known, "--start says so")
    if named:
        raise ProjectError(
            f"{reference} is found as {' and '.join(c.start.kind for c in named)}; say which: --start KIND={reference}"
        )
    if kind:
        start = Start(kind, reference, Place("--start", 0), "as told", DEPLOYED, sure=Sure.POSSIBLE)
        return Choice(Candidate(start, (start,)), known, "--start says so; nothing was found that confirms it")
    names = [c.start.reference for c in known]
    text = listing(f"{reference!r} was not found{did_you_mean(reference, names)}; these were:", names or ["nothing"])
    raise ProjectError(f"{text}\nasgi=, wsgi= or main= before it takes it all the same")


def _django(web: Sequence[Candidate], names: frozenset[str]) -> Candidate | None:
    """Of the two applications that Django's template makes, the one for which there is a server."""
    kinds = {candidate.start.kind: candidate for candidate in web}
    if len(web) != 2 or len(kinds) != 2 or any(candidate.start.framework != "Django" for candidate in web):
        return None
    has_asgi, has_wsgi = bool(names & _ASGI_SERVERS), bool(names & _WSGI_SERVERS)
    if has_asgi == has_wsgi:
        return None
    return kinds["asgi" if has_asgi else "wsgi"]
