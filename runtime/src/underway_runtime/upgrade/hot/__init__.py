"""The live change: another version's code into this process, whose objects stay.

=====================  ================================================================================================
``versions``           what a version of the release says on disk, and which definition a live code object is
``heap``, ``holders``  what is alive: functions, instances, frames, who holds them, and what goes with what goes away
``guards``             what must hold in this process, or nothing is done
``obstacles``          all that is in the way, in words
``act``                what is done in one call, and undone
``imports``            the import system moves to the other version
``statements``         how a relup has the statements that must run
``fragments``          what a module becomes: made where nobody else sees it
``annotated``          what computes annotations when they are asked for, and what was computed
``stage``              what puts that in place
``parts``              what changes within objects that stay
``containers``         how what holds others is read and changed, by calls of C alone
``migrate``            new states by ``code_change``
``swap``               the phases, put together
``rehearsal``          all of this in an interpreter that serves nobody; ``rehearsed`` asks it
``fresh_starts``       what fresh starts of both versions have here, as another process compares them; ``expected`` is the outcome
``proof``              whether this process is as a fresh start where it should be
=====================  ================================================================================================

Nothing here knows of the node; docs/explanation/swap.md says why it is done so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ...release.errors import UnderwayError, listing


class CannotSwap(UnderwayError):
    """This process can't become the other version in place; all is as it was. `problems` says everything that is in the way."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(listing("the running code can't be replaced in place:", self.problems))


class CannotMigrate(CannotSwap):
    """The same, where it is ``code_change`` of the version that comes which has failed: that is a fault of the version."""


class MadeMeanwhile(CannotSwap):
    """The same, where something that may not be there was made at the last moment: it may go well the next time."""


@contextmanager
def explained() -> Iterator[None]:
    """What a look at this process raises, as a reason to leave it as it is."""
    try:
        yield
    except UnderwayError:
        raise
    except Exception as error:
        raise CannotSwap([f"this process could not be looked at: {type(error).__name__}: {error}"]) from error
