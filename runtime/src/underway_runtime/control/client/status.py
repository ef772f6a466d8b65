"""``status``: what the node that runs says of itself, for people or as JSON."""

from __future__ import annotations

import json
import sys

from ...release.display import many_lines
from ...release.errors import EXIT_FAILED
from .client import TO_SAY, NotRunning, asked, tell_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .client import Connection, Place


def run(place: Place, *, as_json: bool) -> int:
    """Print it; 1 when no node runs, which is said as well. Raises UnderwayError when one runs that can't be asked."""

    def question(connection: Connection) -> dict[str, Any]:
        tell_directory(place, connection)
        return connection.status()

    try:
        status = with_processes(place, asked(place, question))
    except NotRunning as error:
        if not as_json:
            raise
        print(json.dumps({"name": place.name, "state": "not running"}))
        print(f"error: {many_lines(error)}", file=sys.stderr)
        return EXIT_FAILED
    print(json.dumps(status, indent=1) if as_json else text(status))
    return 0


def with_processes(place: Place, status: dict[str, Any]) -> dict[str, Any]:
    """The status of the first process, with a row of each of them and the sum of their memory, where the release runs in several."""
    if "process" not in status:
        return status
    from . import processes

    rows = processes.rows(place, status)
    return {**status, "processes": rows, "memory_of_all": processes.memory_of(rows)}


def metrics(place: Place) -> int:
    """Print what Prometheus reads. Raises NotRunning, and UnderwayError when the node can't be asked."""

    def question(connection: Connection) -> str:
        tell_directory(place, connection)
        return many_lines(connection.ask({"do": "metrics"}, TO_SAY)["metrics"], limit=100_000)

    sys.stdout.write(asked(place, question))
    return 0


def text(status: dict[str, Any]) -> str:
    """For people."""
    pids = [f"pid {status['pid']}"]
    pids += [f"keeper {status['keeper']}"] if status["keeper"] else []
    pids += [f"children {', '.join(map(str, status['children']))}"] if status["children"] else []
    loop = status["loop"]
    lines = [
        f"{status['name']} {status['version']} is {status['state']}, for {_duration(status['uptime'])}; {', '.join(pids)}",
        f"  release id   {status['release_id'] or 'unknown: it has no manifest'}",
        f"  last change  {status['changed']['time']}, {status['changed']['what']}",
        f"  memory       {_megabytes(status['memory'])}",
        f"  loop         {_loop(loop['answers'], loop['seconds'])}",
        "  applications",
    ]
    if addresses := status.get("not_handed_over"):  # an older node does not say
        lines.insert(-1, f"  listens      not handed over: {', '.join(addresses)}")
    for name, clients in (status.get("clients") or {}).items():
        lines.insert(-1, f"  leaves       {name}: {clients}")
    for name, certificate in (status.get("certificates") or {}).items():
        lines.insert(-1, f"  certificate  {name}: {certificate}")
    if processes := status.get("processes"):
        lines[-1:-1] = _processes(processes, status["memory_of_all"])
    rows = [[app["name"], app["version"], app["mode"], app["state"]] for app in status["applications"]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += ["    " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join(lines)


def _processes(rows: list[dict[str, Any]], memory: int) -> list[str]:
    """A line each, and the sum."""
    table = [
        [
            str(row["number"]),
            row["state"],
            f"pid {row['pid']}" if row["pid"] else "",
            f"{row['version']} ({str(row['release_id'])[:12]})" if row["version"] else "",
            "" if row["clients"] is None else f"{row['clients']} clients",
            _megabytes(row["memory"]) if row["pid"] else "",
        ]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    answering = sum(row["pid"] is not None for row in rows)
    lines = [f"  processes    {answering} of {len(rows)}, {_megabytes(memory)} together"]
    return lines + ["    " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in table]


def _loop(answers: bool, seconds: float) -> str:
    if answers:
        return f"answers in {seconds * 1000:.1f} ms"
    return f"has not answered for {seconds:.1f} s: something blocks it"


def _megabytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e6:.1f} MB"


def _duration(seconds: float) -> str:
    """
    >>> [_duration(each) for each in (5.2, 3 * 3600 + 125, 86400 * 3 + 7200)]
    ['5 s', '3 h 2 min', '3 d 2 h']
    """
    left, parts = int(seconds), list[str]()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
