"""How often a node that dies is started again. The clock comes in as an argument, and never goes back."""

from __future__ import annotations


class RestartPolicy:
    """The limit of restarts: at most `restarts` within `period` seconds, each after a pause twice as long as the last.

    `beat` is how many seconds a node may give no sign of life before it counts as dead; 0 means for ever.
    """

    def __init__(self, restarts: int, period: float, delay: float, beat: float = 0) -> None:
        self.restarts = restarts
        self.period = period
        self.beat = beat
        self.delay = delay
        self._times: list[float] = []

    @classmethod
    def read(cls, text: str) -> RestartPolicy | None:
        """Read what `channel.Hello.heart` is: four numbers, or nothing."""
        if not text:
            return None
        restarts, *rest = text.split()
        return cls(int(restarts), *map(float, rest))

    def pause(self, now: float) -> float | None:
        """A node has died: the seconds until the next is started, or None when it has died too often."""
        self._times = [time for time in self._times if now - time < self.period]
        if len(self._times) >= self.restarts:
            return None
        self._times.append(now)
        return min(self.delay * 2.0 ** (len(self._times) - 1), self.period)
