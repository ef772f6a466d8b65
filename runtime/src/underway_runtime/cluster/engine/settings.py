"""What the engine is set to, whatever the environment and the files of its user say. Importing this sets it."""

from __future__ import annotations

import logging
from typing import Any

import dask
import distributed

VERSION = f"Dask {distributed.__version__}"

SETTINGS: dict[str, Any] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.scheduler.no-workers-timeout": "10s",  # where the last holder of a tag went while a task waited for it
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.use-file-locking": False,
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.comm.timeouts.connect": "5s",
    "distributed.comm.timeouts.tcp": "12s",  # below 11 its listener fails and says so to nobody
}

dask.config.refresh(paths=[], env={})
dask.config.set(SETTINGS)
for _name in ("distributed", "distributed.client"):  # what matters is told to who asked for it, or by `members`
    logging.getLogger(_name).setLevel(logging.CRITICAL)
