"""The class that an application may give to be started and stopped, after Elixir's Application behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple


class Down(NamedTuple):
    """What `code_change` gets as the old version on the way down: the version that is gone back to."""

    version: str


class Application:
    """What runs when the application of a distribution is started.

    A distribution names its class in the entry point group ``underway.application``::

        [project.entry-points."underway.application"]
        chat = "chat.application:Chat"

    The node makes one instance, without arguments, and calls `start` and later `stop`. Each may be ``async def``, and
    then runs on the node's loop, or an ordinary method, and then runs in a thread that this instance has for itself, so
    that it may block without holding up anyone else.
    """

    name: str
    """The application's name, as in the boot script; set before ``__init__`` runs, as is all else here."""
    version: str
    """The application's version."""
    overlap: ClassVar[bool] = True
    """Whether it may run in two nodes at once while one hands over to the other. With False the new one starts it, and
    all that requires it, only after the old one has stopped it: right for a scheduler, a leader, the one consumer of a
    queue. ``overlap`` in the application's configuration wins."""
    config_schema: Any = None
    """A dataclass, or a pydantic model, that this application's configuration has to fit: see docs/how-to/configure.md."""
    _configured: Callable[[str, str, Any], Any]

    def start(self) -> Any:
        """Start; called once, when all that this application requires has started.

        Return when others may rely on it. Returns None, or an ``asyncio.Task`` (or any future) that is done when the
        application ends by itself; with its end the application ends, normally or, where it has an exception, as
        failed. What the mode makes of that is in ``underway_runtime.apps.controller``. To raise means that the
        application could not start: the boot ends, what had started is stopped, and the exception is shown.
        """

    def accept(self) -> Any:
        """Begin with what comes from outside; called once, after `start`.

        Usually at once. A node that takes over from another calls it when this version has passed its gates: until then
        `start` should have connected, loaded and warmed up, and taken nothing from a queue or a socket.
        """

    def booted(self) -> Any:
        """All applications of this node have started and accept; called once, before the node says that it is ready.

        To raise means that the node can't boot: all is stopped.
        """

    def before_handover(self, version: str) -> Any:
        """A node of this version, or of the permanent one where that is empty, is about to be started to take over from this one.

        To raise means that it must not: it is not started, nothing has changed, and what was raised is told to who has
        asked. Called for each handover that somebody asks for, before all else.
        """

    def handover_failed(self) -> Any:
        """What `before_handover` has told of comes to nothing: this node goes on. What it had stopped has been started again."""

    def drain(self, timeout: float) -> Any:
        """Take nothing more from outside, and return when what is under way is done or after `timeout` seconds.

        Called at most once, before `stop`, in a node that hands over to another; what does not return in time is stopped
        all the same.
        """

    def suspend(self, timeout: float) -> Any:
        """Take up no new work until `resume`, because other code is about to be put in place; return within so many seconds.

        Requests and messages of WebSockets wait by themselves. What is under way may go on: the install waits for what runs
        in code that changes. To raise means that nothing is installed; `resume` follows in any case.
        """

    def resume(self) -> Any:
        """Take up work again; called once after each `suspend`, whatever has become of the install."""

    def export_state(self) -> Any:
        """What the node that takes over is to know: None, or plain data (what JSON can say).

        Called once, after `drain` and before `stop`. To raise, to return anything else or too much, or to take too long
        means that nothing is handed over, which is told; the hand-over goes on.
        """

    def import_state(self, state: Any, version: str) -> Any:
        """Take what `export_state` of this application's `version` returned; `version` may be newer than this one.

        Called once, after `start`, and only where there is something. What may overlap has begun to accept by then, so
        what has come since is to be kept; for what may not, it comes before `accept`.
        """

    def config_change(self, changed: Mapping[str, Any], new: Mapping[str, Any], removed: Sequence[str]) -> Any:
        """The application's own configuration has changed while it runs, after OTP's ``config_change/3``.

        `changed` and `new` hold keys with their values as they are now, `removed` keys alone; at least one is not empty.
        `config` answers accordingly. To raise, or to take more than 10 seconds, means that the version can't be installed so:
        all that were told are called again with what was configured before, this one too.
        """

    def stop(self) -> Any:
        """Stop; called once, if `start` returned, before what this application requires is stopped, and also when it ended by itself.

        Afterwards the future that `start` returned is cancelled if it is not done. What does not return before the
        deadline is given up; what raises is shown. The stop of the others goes on in both cases, and the node ends
        with status 1.
        """

    def config(self, key: str, default: Any = None) -> Any:
        """The value of a key in this application's own configuration; `default` where it is not configured."""
        return self._configured(self.name, key, default)
