"""The rehearsal itself: the old release is asked, upgraded, asked again, rolled back and asked once more.

Each time its answers are compared with those of a release that was started fresh and asked as often, so that both have the same
behind them; where a fresh interpreter took over, with those of one that has nothing behind it, or all. Two fresh starts of each tell
what differs anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from .comparison import Answers, Difference, nearest
from .host import Host, running
from .player import Deadline
from .stage import Stage

Ask: TypeAlias = Callable[[Sequence[tuple[str, int]], Deadline], Answers]
"""Asks a service that listens at these addresses all that there is to ask."""

Name = Literal["before", "upgraded", "rolled back"]

ROUNDS = {"old": 3, "new": 2}
"""How often a fresh start of each release is asked: as often as the one that is upgraded, by the time that it is that release."""
STARTS = 2
"""Fresh starts of each."""


@dataclass(frozen=True)
class Phase:
    """One time that the service was asked."""

    name: Name
    exchanges: int
    failed: tuple[str, ...]
    """Exchanges without an answer, and why."""
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    verdict: str
    in_place: bool
    said: tuple[str, ...]
    """What the upgrade and the rollback have said."""
    phases: tuple[Phase, ...] = ()
    problem: str = ""
    """Why the upgrade, or the rollback, did not happen; empty where both did."""
    status: int = 0
    """The exit status of what did not."""

    @property
    def ok(self) -> bool:
        """Whether all was as after a fresh start."""
        return not self.problem and not any(phase.failed or phase.differences for phase in self.phases)


def rehearse(
    stage: Stage,
    scratch: Path,
    ask: Ask,
    environ: Mapping[str, str],
    deadline: Deadline,
    ignored: Sequence[str] = (),
    report: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Do it all, in directories below `scratch`. Raises BuildError where a release does not start, and TimeoutError."""
    references: dict[str, list[list[Answers]]] = {}
    for which, root in (("old", stage.old.root), ("new", stage.new.root)):
        references[which] = []
        for number in range(STARTS):
            report(f"asking a fresh start of the {which} release ({number + 1} of {STARTS})")
            with running(root, stage.name, scratch / f"{which}-{number}", environ, deadline):
                references[which].append([ask(stage.addresses, deadline) for _ in range(ROUNDS[which])])
    with running(stage.old.root, stage.name, scratch / "var", environ, deadline) as host:
        return _upgraded(stage, host, ask, references, deadline, ignored, report)


def _upgraded(
    stage: Stage,
    host: Host,
    ask: Ask,
    references: Mapping[str, list[list[Answers]]],
    deadline: Deadline,
    ignored: Sequence[str],
    report: Callable[[str], None],
) -> Outcome:
    def phase(name: Name, which: str, rounds: Sequence[int]) -> Phase:
        answers = ask(stage.addresses, deadline)
        choices = [[start[number] for start in references[which]] for number in rounds]
        failed = [
            f"{answer['exchange']}: {answer['failed']}"
            for answer in answers
            if isinstance(answer, dict) and "failed" in answer
        ]
        return Phase(name, len(answers), tuple(failed), tuple(nearest(answers, choices, ignored)))

    phases, said = [phase("before", "old", [0])], list[str]()
    before, in_place = host.pid(), True
    steps: tuple[tuple[Name, str, tuple[str, ...], int], ...] = (
        ("upgraded", "new", ("upgrade", str(stage.archive), "--trust", "owner"), 1),
        ("rolled back", "old", ("rollback",), 2),
    )
    for name, which, words, again in steps:
        report(" ".join(("bin/" + stage.name, words[0])))
        done = host.run(*words)
        said.append(done.stdout.strip().partition("\n")[0])
        if done.returncode != 0:
            problem = done.stderr.strip() or f"bin/{stage.name} {words[0]} ended with status {done.returncode}"
            return Outcome(stage.entry.verdict, False, tuple(said), tuple(phases), problem, done.returncode)
        in_place = host.pid() == before
        phases.append(phase(name, which, [again] if in_place else range(again + 1)))
    return Outcome(stage.entry.verdict, in_place, tuple(said), tuple(phases))
