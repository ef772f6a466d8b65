"""Figures of a node in the text format of Prometheus, version 0.0.4; docs/reference/control.md lists them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ..process.upgrade_journal import Totals


def text(status: Mapping[str, Any], loop: Mapping[str, Any], clients: int, upgrades: Totals) -> str:
    """All of them. `status` is what the node says of itself, `loop` how its loop answers."""
    release = {"release": status["name"]}
    info = {"version": status["version"], "release_id": status["release_id"] or "", "state": status["state"]}
    states = Counter(application["state"] for application in status["applications"])
    one: dict[str, object] = {}
    families: list[tuple[str, str, str, list[tuple[Mapping[str, object], float]]]] = [
        ("info", "gauge", "What runs.", [(info, 1)]),
        ("uptime_seconds", "gauge", "Since the node began.", [(one, status["uptime"])]),
        ("starts_total", "counter", "Nodes that the keeper has started.", [(one, status["starts"])]),
        ("memory_bytes", "gauge", "Of the node in memory.", [(one, status["memory"])] if status["memory"] else []),
        ("applications", "gauge", "By state.", [({"state": state}, count) for state, count in sorted(states.items())]),
        ("loop_answers", "gauge", "Whether the node's loop answers within 0.1 s.", [(one, int(loop["answers"]))]),
        ("loop_lag_seconds", "gauge", "How long it took, or has not answered.", [(one, loop["seconds"])]),
        ("control_clients", "gauge", "Clients of the control socket.", [(one, clients)]),
        ("upgrades_total", "counter", "Installs by outcome.", _by_outcome(upgrades.by_outcome)),
        ("last_upgrade_timestamp_seconds", "gauge", "When the last install ended so.", _by_outcome(upgrades.last)),
    ]
    lines = []
    for name, kind, what, samples in families:
        lines += [f"# HELP underway_{name} {what}", f"# TYPE underway_{name} {kind}"]
        lines += [
            f"underway_{name}{_labels((release | dict(labels)).items())} {value:.15g}" for labels, value in samples
        ]
    return "\n".join(lines) + "\n"


def _by_outcome(counts: Mapping[str, float]) -> list[tuple[Mapping[str, object], float]]:
    return [({"outcome": outcome}, value) for outcome, value in sorted(counts.items())]


def _labels(labels: Iterable[tuple[str, object]]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    r"""
    >>> print(_escaped('a "b"\n\\'))
    a \"b\"\n\\
    """
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
