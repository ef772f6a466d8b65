"""The class that an application may give to be started and stopped, after Elixir's Application behaviour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


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
    config_schema: Any = None
    """A dataclass, or a pydantic model, that this application's configuration has to fit: see docs/how-to/configure.md."""
    _configured: Callable[[str, str, Any], Any]

    def start(self) -> Any:
        """Start; called once, when all that this application requires has started.

        Return when others may rely on it. Returns None, or an ``asyncio.Task`` (or any future) that is done when the
        application ends by itself; with its end the application ends, normally or, where it has an exception, as
        failed. What the mode makes of that is in ``underway_runtime.node.applications``. To raise means that the
        application could not start: the boot ends, what had started is stopped, and the exception is shown.
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
