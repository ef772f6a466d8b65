"""Figures of a node in the text format of Prometheus, version 0.0.4; docs/reference/control.md lists them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ..process.upgrade_journal import Totals

_Family: TypeAlias = tuple[str, str, str, list[tuple[Mapping[str, object], float]]]
"""A name, its kind, what it is, and samples with their labels."""


def text(
    status: Mapping[str, Any],
    loop: Mapping[str, Any],
    clients: int,
    upgrades: Totals,
    processes: Sequence[Mapping[str, Any]] = (),
) -> str:
    """All of them. `status` is what the node says of itself, `loop` how its loop answers; `processes` has a row of each, where the
    release runs in several."""
    release = {"release": status["name"]}
    info = {"version": status["version"], "release_id": status["release_id"] or "", "state": status["state"]}
    states = Counter(application["state"] for application in status["applications"])
    one: dict[str, object] = {}
    memory = sum(row["memory"] or 0 for row in processes) or status["memory"]
    families: list[_Family] = [
        ("info", "gauge", "What runs.", [(info, 1)]),
        ("uptime_seconds", "gauge", "Since the node began.", [(one, status["uptime"])]),
        ("starts_total", "counter", "Nodes that the keeper has started.", [(one, status["starts"])]),
        ("memory_bytes", "gauge", "Of the node in memory, all processes together.", [(one, memory)] if memory else []),
        ("applications", "gauge", "By state.", [({"state": state}, count) for state, count in sorted(states.items())]),
        ("loop_answers", "gauge", "Whether the node's loop answers within 0.1 s.", [(one, int(loop["answers"]))]),
        ("loop_lag_seconds", "gauge", "How long it took, or has not answered.", [(one, loop["seconds"])]),
        ("control_clients", "gauge", "Clients of the control socket.", [(one, clients)]),
        ("upgrades_total", "counter", "Installs by outcome.", _by_outcome(upgrades.by_outcome)),
        ("last_upgrade_timestamp_seconds", "gauge", "When the last install ended so.", _by_outcome(upgrades.last)),
        *(_of_processes(processes) if processes else ()),
    ]
    lines = []
    for name, kind, what, samples in families:
        lines += [f"# HELP underway_{name} {what}", f"# TYPE underway_{name} {kind}"]
        lines += [
            f"underway_{name}{_labels((release | dict(labels)).items())} {value:.15g}" for labels, value in samples
        ]
    return "\n".join(lines) + "\n"


def _of_processes(rows: Sequence[Mapping[str, Any]]) -> list[_Family]:
    """Of each process of a release that runs in several; one that is not there has its ``info`` alone."""
    infos: list[tuple[Mapping[str, object], float]] = [
        (
            {"process": row["number"], "state": row["state"]}
            | {key: row[key] or "" for key in ("pid", "version", "release_id")},
            1,
        )
        for row in rows
    ]

    def samples(key: str) -> list[tuple[Mapping[str, object], float]]:
        return [({"process": row["number"]}, row[key]) for row in rows if row[key] is not None]

    return [
        ("processes", "gauge", "That are to run.", [({}, len(rows))]),
        ("process_info", "gauge", "What runs in each process.", infos),
        ("process_uptime_seconds", "gauge", "Since it began.", samples("uptime")),
        ("process_memory_bytes", "gauge", "Of it in memory.", samples("memory")),
        ("process_clients", "gauge", "Connections that it has open.", samples("clients")),
    ]


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
