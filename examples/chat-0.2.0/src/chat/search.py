"""Finding what was said."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def matching(events: Iterable[dict[str, Any]], words: str) -> list[dict[str, Any]]:
    """The events in whose text all of these words are, whatever their case."""
    wanted = words.lower().split()
    return [event for event in events if all(word in event["text"].lower() for word in wanted)]
