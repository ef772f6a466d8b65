"""Words for errors."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def likely(word: str, choices: Iterable[str]) -> str:
    """``; did you mean 'name'?`` where a choice is close, else nothing."""
    close = get_close_matches(word, list(choices), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
