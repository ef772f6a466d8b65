"""The configuration of ``underway_runtime``: what underway itself reads, with its defaults, as the schema that it has to fit."""

from __future__ import annotations

from dataclasses import dataclass

from .settings import DRAIN_TIMEOUT, HANDOVER_TIMEOUT, START_TIMEOUT, STOP_TIMEOUT


@dataclass(frozen=True)
class Runtime:
    """Each field is a key; times are in seconds. docs/reference/commands.md says what they mean."""

    start_timeout: float = START_TIMEOUT
    stop_timeout: float = STOP_TIMEOUT
    drain_timeout: float = DRAIN_TIMEOUT
    handover_timeout: float = HANDOVER_TIMEOUT
    rpc: bool = True
    remote: bool = True
    eval: bool = True
    control_group: str | None = None
    metrics: str | None = None

    def __post_init__(self) -> None:
        timeouts = ("start_timeout", "stop_timeout", "drain_timeout", "handover_timeout")
        if wrong := [f"{name} is {value:g}" for name in timeouts if (value := getattr(self, name)) <= 0]:
            raise ValueError(f"a timeout is more than 0 seconds, and {', '.join(wrong)}")
