"""The jobs that wait, and what came of those that are done."""

import asyncio
from dataclasses import dataclass
from typing import Any


@dataclass
class Job:
    """Something to do."""

    kind: str
    text: str
    tries: int = 0

    def title(self) -> str:
        """As it is shown."""
        return f"{self.kind}: {self.text}"


class Queue:
    """What waits."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[Job] = asyncio.Queue()
        self.results: list[Any] = []

    def put(self, kind: str, text: str) -> int:
        """One more; how many wait."""
        self.waiting.put_nowait(Job(kind, text))
        return self.waiting.qsize()


queue = Queue()
