"""Gates: what must hold for a version to stand, as a project writes it and a release holds it.

A gate is a table with one of these keys, and those of `Gate` that say how often and how long:

==============================  =======================================================================================
``http = "/health"``            a request; also ``"http://127.0.0.1:8000/health"``. A path alone is asked of the
                                application over the socket that gates have for themselves. With
                                ``method``, ``status`` (200) and ``contains``, a text
``tcp = "127.0.0.1:5432"``      a connection; also ``"unix:///path"``
``command = ["bin/smoke"]``     a process that ends with status 0
``function = "chat:ready"``     a function in the node, ``async`` or not, that raises nothing and does not return false
==============================  =======================================================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .errors import DamagedRelease, listing

KINDS = ("http", "tcp", "command", "function")


@dataclass(frozen=True)
class Gate:
    """What is tried, and how often it must hold."""

    http: str = ""
    tcp: str = ""
    command: tuple[str, ...] = ()
    function: str = ""
    method: str = "GET"
    status: int = 200
    contains: str = ""
    application: str = ""
    """Whose own socket an ``http`` path is asked over; the only web application when it is not said."""
    timeout: float = 5.0
    """Seconds for one attempt."""
    attempts: int = 3
    """How many attempts are made at most."""
    successes: int = 1
    """How many of them must hold."""
    interval: float = 1.0
    """Seconds between the beginnings of two attempts."""
    soak: float = 0.0
    """Seconds over which all attempts are spread evenly, instead; with 0 they end as soon as the outcome is certain."""

    def __str__(self) -> str:
        kind = next(kind for kind in KINDS if getattr(self, kind))
        return f"{kind} {' '.join(self.command) if kind == 'command' else getattr(self, kind)}"


def problems_of(table: Any) -> list[str]:
    """What is wrong with a gate as it is written."""
    if not isinstance(table, Mapping):
        return [f"a gate is a table, not {table!r}"]
    defaults = {each.name: each.default for each in fields(Gate)}
    problems = [f"a gate has no {key!r}" for key in table if key not in defaults]
    if len(kinds := [kind for kind in KINDS if kind in table]) != 1:
        problems.append(f"a gate has one of {', '.join(KINDS)}, not {' and '.join(kinds) or 'none'}")
    for key, value in table.items():
        match defaults.get(key):
            case int() if type(value) is not int or value < 1:
                problems.append(f"{key} of a gate is a number from 1, not {value!r}")
            case float() if type(value) not in (int, float) or value < 0:
                problems.append(f"{key} of a gate is a number of seconds, not {value!r}")
            case str() if not isinstance(value, str) or not value:
                problems.append(f"{key} of a gate is a string, not {value!r}")
            case tuple() if not (isinstance(value, list) and value and all(isinstance(v, str) for v in value)):
                problems.append(f"{key} of a gate is a list of strings, not {value!r}")
    if problems:
        return problems
    gate = gate_of(table)
    if gate.successes > gate.attempts:
        problems.append(f"{gate.successes} of {gate.attempts} attempts can't hold")
    if gate.http and not re.match(r"/|http://[^/]", gate.http):
        problems.append(f'http of a gate is "/path" or "http://host:port/path", not {gate.http!r}')
    if gate.tcp and not re.fullmatch(r"(tcp://)?.+:\d+|unix:///.+", gate.tcp):
        problems.append(f'tcp of a gate is "host:port" or "unix:///path", not {gate.tcp!r}')
    if gate.function and not re.fullmatch(r"[\w.]+:[\w.]+", gate.function):
        problems.append(f'function of a gate is "module:function", not {gate.function!r}')
    return problems


def gate_of(table: Mapping[str, Any]) -> Gate:
    """A gate as it is written, in which nothing is wrong."""
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return Gate(**values)


def read(path: Path) -> tuple[Gate, ...]:
    """The gates of a version; none when it has no such file. Raises DamagedRelease when the file makes no sense."""
    try:
        tables = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise DamagedRelease(f"{path} can't be read: {error}") from None
    problems = (
        [problem for each in tables for problem in problems_of(each)] if isinstance(tables, list) else ["no list"]
    )
    if problems:
        raise DamagedRelease(listing(f"{path} does not hold gates:", problems))
    return tuple(map(gate_of, tables))
