"""What a node says of itself: the answer to ``status``, from the process and not from the disk's wish."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import Any, Protocol

from ..frozen import Frozen
from ..process import memory
from ..process.proc_sockets import connected, listening, not_handed_over
from ..process.process_table import children
from ..process.settings import Settings
from ..release.boot_script import BootScript, Load, Start


class Several(Protocol):
    """The processes of a release."""

    wanted: int

    @property
    def number(self) -> int:
        """Which of them this is, from 1."""


class _Running(Frozen):
    """The version that runs: replaced as one, since ``status`` is answered in another thread than an install."""

    settings: Settings
    loads: Mapping[str, Load]
    modes: Mapping[str, str]
    _release_ids: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, settings: Settings, script: BootScript) -> _Running:
        """What a version is by its boot script."""
        return cls(
            settings,
            {i.application: i for i in script.instructions if isinstance(i, Load)},
            {i.application: i.mode for i in script.instructions if isinstance(i, Start)},
        )

    def release_id(self) -> str | None:
        """As its manifest says, read once; None where that can't be read."""
        if not self._release_ids:
            # Whether it fits the manifest's contents is for `verify`, which takes ten times as long.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                self._release_ids.append(str(json.loads(self.settings.place.manifest.read_bytes())["release_id"]))
        return self._release_ids[0] if self._release_ids else None


class Report:
    """What has become of a node so far. `note` and `now` are called in the node's threads, the document is made in any."""

    def __init__(self, settings: Settings, script: BootScript, keeper: int | None = None) -> None:
        """`keeper` is the pid of the process that keeps this one, if there is one."""
        self._runs = _Running.of(settings, script)
        self._keeper = keeper
        self._starts = int(os.environ.pop("RELEASE_STARTS", 1))
        self._began = time.monotonic()
        self.state = "starting"
        self.several: Several | None = None
        """The processes of the release, where it runs in more than one."""
        self.took_over = ""
        """The id of the handover by which this node came, where it did."""
        self._changed = _change("starting")

    def became(self, settings: Settings, script: BootScript) -> None:
        """It is another version, with the applications of that one's boot script."""
        self._runs = _Running.of(settings, script)
        self.note(f"became {settings.version}")

    def now(self, state: str) -> None:
        """Note that the node is in another state."""
        self.state = state
        self.note(state)

    def note(self, what: str) -> None:
        """Note that something has changed."""
        self._changed = _change(what)

    def document(
        self, states: Mapping[str, str], clients: Mapping[str, str], certificates: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """All of it, given the states of the applications that have one, the others are loaded only, what becomes of the
        clients of some at a handover, and which certificates of TLS some show."""
        runs = self._runs
        return {
            "name": runs.settings.name,
            "version": runs.settings.version,
            "directory": str(runs.settings.root),
            "release_id": runs.release_id(),
            "state": self.state,
            "uptime": round(time.monotonic() - self._began, 3),
            "pid": os.getpid(),
            "keeper": self._keeper,
            "starts": self._starts,
            "took_over": self.took_over,
            "children": children(os.getpid()),
            "not_handed_over": self._not_handed_over(),
            "clients": {**clients},
            "certificates": {**(certificates or {})},
            "memory": memory.resident(),
            "changed": self._changed,
            **self._process(),
            "applications": [
                {
                    "name": name,
                    "version": load.version,
                    "mode": runs.modes.get(name, "load"),
                    "state": states.get(name, "loaded"),
                }
                for name, load in runs.loads.items()
            ],
        }

    def _process(self) -> dict[str, Any]:
        """Which of the processes of the release it is, and how many clients are connected to it; nothing where there is one."""
        if self.several is None:
            return {}
        ports = {int(where.rpartition(":")[2]) for where in listening(os.getpid()).values() if where.startswith("tcp")}
        clients = connected([os.getpid()], ports)
        return {"process": {"number": self.several.number, "of": self.several.wanted, "clients": clients}}

    def _not_handed_over(self) -> list[str]:
        return [] if self._keeper is None else not_handed_over(self._keeper, os.getpid())


def _change(what: str) -> dict[str, str]:
    return {"time": datetime.now(UTC).isoformat(timespec="seconds"), "what": what}
