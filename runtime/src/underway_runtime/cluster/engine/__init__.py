"""The engine, Dask's distributed: the one room that knows it. Imported where a cluster starts, by `application`.

What of it is not taken as it is:

- its configuration, from the environment and from files: `settings` over its own defaults, whatever is there
- its HTTP servers, which it starts even where they are turned off: never opened
- who may connect: `connections.Backend`, which checks the other side (see `admission`) before the engine sees a message
- its heartbeat, which finds a lost node after half a minute: `parts.Joined.beat`, in both directions
- what becomes of a worker whose master is gone: its worker ends for good, so `application` joins again with a new one
"""

from __future__ import annotations

from .connections import SCHEME, Backend
from .parts import Joined, Master, call, local_worker, reason
from .settings import VERSION
from .work import Work

__all__ = ["SCHEME", "VERSION", "Backend", "Joined", "Master", "Work", "call", "local_worker", "reason"]
