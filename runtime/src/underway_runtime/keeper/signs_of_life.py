"""Signs of life: what a node that has a heart owes its keeper, and what the keeper owes systemd.

===============  ==================================================  ==================================================
timer            is set                                              when it is due
===============  ==================================================  ==================================================
``beat``         at each sign of the node, for its next              the node is looked at once more
``second look``  when that has not come                              the node is killed, for it has still not come
``watchdog``     when a node that was ready has ended                the keeper gives systemd a sign, and sets it again
===============  ==================================================  ==================================================

While a node runs, systemd has a sign of the keeper for each that the node gives.
"""

from __future__ import annotations

import time

from .child import SECOND_LOOK
from .restart_policy import RestartPolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .systemd_notify import Systemd


class SignsOfLife:
    """Those that the node that is followed gives, and those that systemd gets."""

    def __init__(self, systemd: Systemd, timers: dict[str, float]) -> None:
        """`timers` has, by name, when each is due on the monotonic clock; these three are set and removed here."""
        self.heart: RestartPolicy | None = None
        """Of the node, as it has sent it; None where it has no heart."""
        self._text = ""
        self._systemd = systemd
        self._timers = timers

    def read_heart(self, text: str) -> None:
        """Take the heart of a node, `channel.Hello.heart`; where it is that of the node before, its restarts still count."""
        if text != self._text:
            self._text, self.heart = text, RestartPolicy.read(text)

    @property
    def period(self) -> float:
        """Seconds between the signs of a node, or 0; of a successor too, whose own heart is not known yet."""
        periods = [self._systemd.watchdog / 2, self.heart.beat / 3 if self.heart is not None else 0]
        return min(filter(None, periods), default=0)

    def begin(self) -> None:
        """Wait for those of a node that is ready: from here on it gives them itself."""
        self._timers.pop("watchdog", None)
        self._note(first=True)

    def note(self) -> None:
        """Take one of the node, which has until the timer for its next; that has ended where the node is to end."""
        self._note(first=False)

    def _note(self, *, first: bool) -> None:
        if self._systemd.watchdog:
            self._systemd.send("WATCHDOG=1")
        if self.heart is not None and self.heart.beat and (self.await_none() or first):
            self._timers["beat"] = time.monotonic() + self.heart.beat

    def await_none(self) -> bool:
        """Wait for no other sign of the node, which ends; returns whether one was waited for."""
        waiting = [self._timers.pop(name, None) for name in ("beat", "second look")]
        return waiting != [None, None]

    def give_systemd(self) -> None:
        """Give systemd what it has been promised, until the next node is ready."""
        if self._systemd.watchdog:
            self._timers["watchdog"] = time.monotonic()

    def on_timer(self, name: str, now: float) -> bool:
        """Do what follows when one of the three is due; returns whether the node is to be killed."""
        if name == "watchdog":
            self._systemd.send("WATCHDOG=1")
            self._timers["watchdog"] = now + self._systemd.watchdog / 2
        elif name == "beat":
            self._timers["second look"] = now + SECOND_LOOK
        return name == "second look"
