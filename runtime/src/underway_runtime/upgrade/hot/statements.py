"""Fragments: the statements of a module that must run where it becomes another version, as a relup has them.

A fragment is the marshalled tuple of their code objects, one for each statement. They run in the module as it will be, of which
nobody else sees anything, and find there, under names that no source can have:

========  ==========================================================================================================
`LIVE`    what each function that they make goes through before its decorators: it gives the same one in terms of the
          live module, with the code of the module's compiled file
`BECOMES` what a name of a module will be bound to: called with both, where a value that changes is read
========  ==========================================================================================================
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Sequence
from types import CodeType

LIVE = "<live>"
BECOMES = "<becomes>"


def dump(codes: Iterable[CodeType]) -> bytes:
    """Write a fragment of these statements."""
    return marshal.dumps(tuple(codes))


def load(data: bytes) -> Sequence[CodeType]:
    """Read the statements of a fragment."""
    codes: Sequence[CodeType] = marshal.loads(data)
    return codes
