"""References to what changes are counted alike by each version of Python, whatever it does with local variables."""

from __future__ import annotations

from typing import Any

import pytest

from underway_runtime.upgrade.hot import guards


@pytest.mark.parametrize("inner", [[1], {1}, {1: 2}], ids=["list", "set", "dict"])
@pytest.mark.parametrize("kind", ["list", "dict", "tuple in a tuple"])
def test_what_others_have_too_is_told_from_what_nobody_else_has(inner: Any, kind: str) -> None:
    """A list, dict or set in a value is somebody else's as long as one more reference to it is there."""
    names, alone = (
        {"X": [value] if kind == "list" else {"key": value} if kind == "dict" else ((value,),)}
        for value in (inner, inner.copy())
    )

    assert guards.shared(names, "X") is inner
    assert guards.shared(alone, "X") is None
