"""The rehearsal itself: the old release is asked, upgraded, asked again, rolled back and asked once more.

Each time its answers are compared with those of a release that was started fresh and asked as often, so that both have the same
behind them; where a fresh interpreter took over, with those of one that has nothing behind it, or all. Two fresh starts of each tell
what differs anyway. So it is with what the modules of applications that change have made, where the process is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from underway_runtime.observation.picture import Picture

from . import pictures
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
    objects: tuple[Difference, ...] = ()
    """What import has made, and is not as after a fresh start."""


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
        return not self.problem and not any(phase.failed or phase.differences or phase.objects for phase in self.phases)


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
    references: dict[str, list[_Reference]] = {"old": [], "new": []}
    look = _Look(scratch, stage)
    for which, root in (("old", stage.old.root), ("new", stage.new.root)):
        for number in range(STARTS):
            report(f"asking a fresh start of the {which} release ({number + 1} of {STARTS})")
            with running(root, stage.name, scratch / f"{which}-{number}", environ, deadline) as host:
                answers = [ask(stage.addresses, deadline) for _ in range(ROUNDS[which])]
                references[which].append(_Reference(answers, look.at(host, which)))
    with running(stage.old.root, stage.name, scratch / "var", environ, deadline) as host:
        return _upgraded(stage, host, ask, look, references, deadline, ignored, report)


@dataclass(frozen=True)
class _Reference:
    """A fresh start."""

    answers: Sequence[Answers]
    picture: Picture
    """After the last of them."""


class _Look:
    """Takes pictures of nodes."""

    def __init__(self, scratch: Path, stage: Stage) -> None:
        self._scratch = scratch
        self._versions = {"old": stage.old.manifest.version, "new": stage.new.manifest.version}
        self._homes = pictures.changing(stage.old, stage.new)
        self._count = 0

    def at(self, host: Host, which: str) -> Picture:
        """Of one that runs the old or the new release."""
        self._count += 1
        places = {host.environ["RELEASE_VAR"]: "$RELEASE_VAR", str(self._scratch): "$SCRATCH"}
        file = self._scratch / f"picture-{self._count}"
        return pictures.picture_of(host, self._homes[self._versions[which]], file, places)


def _upgraded(
    stage: Stage,
    host: Host,
    ask: Ask,
    look: _Look,
    references: Mapping[str, list[_Reference]],
    deadline: Deadline,
    ignored: Sequence[str],
    report: Callable[[str], None],
) -> Outcome:
    def phase(name: Name, which: str, rounds: Sequence[int], *, in_place: bool = False) -> Phase:
        answers = ask(stage.addresses, deadline)
        choices = [[start.answers[number] for start in references[which]] for number in rounds]
        failed = [
            f"{answer['exchange']}: {answer['failed']}"
            for answer in answers
            if isinstance(answer, dict) and "failed" in answer
        ]
        pictures_of = [reference.picture for reference in references[which]] if in_place else []
        objects = pictures.differences(look.at(host, which), pictures_of, ignored) if pictures_of else []
        return Phase(name, len(answers), tuple(failed), tuple(nearest(answers, choices, ignored)), tuple(objects))

    phases, lines = [phase("before", "old", [0])], list[str]()
    before, in_place = host.pid(), True
    steps: tuple[tuple[Name, str, tuple[str, ...], int], ...] = (
        ("upgraded", "new", ("upgrade", str(stage.archive), "--trust", "owner"), 1),
        ("rolled back", "old", ("rollback",), 2),
    )
    for name, which, words, again in steps:
        report(" ".join(("bin/" + stage.name, words[0])))
        done = host.run(*words)
        lines.append(done.stdout.strip().partition("\n")[0])
        if done.returncode != 0:
            problem = done.stderr.strip() or f"bin/{stage.name} {words[0]} ended with status {done.returncode}"
            return Outcome(stage.entry.verdict, False, tuple(lines), tuple(phases), problem, done.returncode)
        in_place = host.pid() == before
        phases.append(phase(name, which, [again] if in_place else range(again + 1), in_place=in_place))
    return Outcome(stage.entry.verdict, in_place, tuple(lines), tuple(phases))
