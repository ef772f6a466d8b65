"""The options of a release: one row each, with what a value may be. docs/reference/options.md is held against it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from underway_runtime.cluster import inventory
from underway_runtime.release import addresses, gates
from underway_runtime.release.boot_script import MODES

from ..release import STEPS

REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True)
class Option:
    """What a value must be: a phrase for people and a test."""

    wanted: str
    holds: Callable[[Any], bool]
    default: Any = None


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _reference(value: Any) -> bool:
    return isinstance(value, str) and bool(REFERENCE.fullmatch(value))


def _references(value: Any) -> bool:
    return isinstance(value, list) and all(map(_reference, value))


def _address(value: Any) -> bool:
    return isinstance(value, str) and not addresses.problem_of(value)


def _addresses(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_address, value))


def _modes(value: Any) -> bool:
    return isinstance(value, dict) and all(mode in MODES for mode in value.values())


def _version(value: Any) -> bool:
    return _text(value) or (isinstance(value, dict) and value.keys() == {"from-app"} and _text(value["from-app"]))


def _cookie(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) == 1
        and all(key in ("file", "variable") and _text(v) for key, v in value.items())
    )


def _strip(value: Any) -> bool:
    return _truth(value) or (
        isinstance(value, dict) and value.keys() <= {"docstrings"} and all(map(_truth, value.values()))
    )


def _heart(value: Any) -> bool:
    least = {"restarts": 1, "within": 0.001, "delay": 0, "beat": 0}
    return _truth(value) or (
        isinstance(value, dict)
        and value.keys() <= least.keys()
        and all(isinstance(v, (int, float)) and not _truth(v) and v >= least[k] for k, v in value.items())
        and isinstance(value.get("restarts", 1), int)
    )


def _provider(value: Any) -> bool:
    return _reference(value) or (isinstance(value, list) and len(value) == 2 and _reference(value[0]))


def _gates(value: Any) -> bool:
    return isinstance(value, list) and not any(map(gates.problems_of, value))


OPTIONS: Mapping[str, Option] = {
    "asgi": Option('an ASGI application, "module:attribute"', _reference),
    "wsgi": Option('a WSGI application, "module:attribute"', _reference),
    "main": Option('a function, "module:function"', _reference),
    "args": Option("a list of strings", _texts, []),
    "listen": Option(
        'a list of addresses, "tcp://127.0.0.1:8000" or "unix:///run/chat.sock?mode=0660&group=www-data"',
        _addresses,
        [],
    ),
    "applications": Option(f"a table of application = mode, each mode one of {', '.join(MODES)}", _modes, {}),
    "appup": Option("the path of a Python file that makes an `appup`", _text),
    "build-env": Option("a list of environment variables that config/config.py may read", _texts, []),
    "build-sdists": Option("a list of distributions to build from their locked sdist", _texts, []),
    "cluster": Option(
        "a table of hosts, directory, listen, worker-port and limits, as docs/reference/cluster.md has it",
        lambda v: not inventory.problems_of(v),
        {},
    ),
    "config-path": Option("a path, or false for none", lambda v: v is False or _text(v), "config/config.py"),
    "config-providers": Option(
        'a list of "module:Class" or ["module:Class", argument]',
        lambda v: isinstance(v, list) and all(map(_provider, v)),
        [],
    ),
    "config-schema": Option(
        'a dataclass or pydantic model, "module:Class", or a list of them',
        lambda v: _reference(v) or _references(v),
        [],
    ),
    "cookie": Option(
        '{ file = "/path" } or { variable = "NAME" }, read on the node; a literal would be in every copy',
        _cookie,
    ),
    "env": Option(
        "the name of an environment, as in config/staging.py; not config or runtime",
        lambda v: _text(v) and v.isidentifier() and v not in ("config", "runtime"),
        "prod",
    ),
    "extras": Option("a list of the project's extras", _texts, []),
    "gates": Option("a list of gates, as docs/reference/gates.md has them", _gates, []),
    "groups": Option("a list of dependency groups", _texts, []),
    "heart": Option("true, false, or { restarts = 5, within = 60, delay = 1, beat = 0 } in seconds", _heart, False),
    "host-libraries": Option("a list of libraries that the host has or nothing uses, * for any part", _texts, []),
    "include-executables-for": Option(
        '["unix"]; a release for windows can\'t be made', lambda v: v == ["unix"], ["unix"]
    ),
    "include-interpreter": Option(
        'true, false, the path of an interpreter, or a callable "module:function"',
        lambda v: _truth(v) or _text(v),
        True,
    ),
    "lazy": Option("a list of modules that are not preloaded, * for any part", _texts, []),
    "overlays": Option(
        "a path, or a list of paths, of directories to copy into the release", lambda v: _text(v) or _texts(v), []
    ),
    "overlap": Option("true or false", _truth, True),
    "ready": Option(
        '"accepts", "notify", "line:TEXT" or "called"',
        lambda v: (
            v in ("accepts", "notify", "called") or (isinstance(v, str) and bool(v[:5] == "line:" and v[5:].strip()))
        ),
    ),
    "overwrite": Option("true or false", _truth, False),
    "path": Option("a path", _text),
    "prefer": Option("a list of applications", _texts, []),
    "prune-runtime-sys-config-after-boot": Option("true or false", _truth, False),
    "python": Option('an interpreter as uv names it, "3.12" or a path', _text),
    "quiet": Option("true or false", _truth, False),
    "reboot-system-after-config": Option("true or false", _truth, False),
    "rel-templates-path": Option("a path", _text, "rel"),
    "runtime-config-path": Option("a path, or false for none", lambda v: v is False or _text(v), "config/runtime.py"),
    "sign-key": Option("the path of an SSH key, or of its public half where an agent holds it", _text),
    "skip-mode-validation-for": Option("a list of applications", _texts, []),
    "start-distribution-during-config": Option("true or false", _truth, False),
    "steps": Option('a list of "module:function"', _references, list(STEPS)),
    "strip": Option("true, false, or { docstrings = true }", _strip, True),
    "tar": Option('"zst", or "gz" for hosts that have nothing', lambda v: v in ("zst", "gz"), "zst"),
    "validate-compile-env": Option("true or false", _truth, True),
    "version": Option('a version, or { from-app = "NAME" }', _version),
    "options": Option("a table of anything, for custom steps", lambda v: isinstance(v, dict), {}),
}
"""What [tool.underway] and [tool.underway.releases.NAME] may hold."""

TOP_ONLY: Mapping[str, Option] = {
    "default-release": Option("the name of a release", _text),
    "releases": Option("a table of releases", lambda v: isinstance(v, dict)),
}
"""What only [tool.underway] may hold."""

START = ("asgi", "wsgi", "main", "args", "listen", "overlap", "ready")
"""The options that say what starts; they travel with the application, not with the release."""

DEFAULTS = {name: option.default for name, option in OPTIONS.items() if name not in (*START, "options", "version")}


def problem_of(name: str, value: Any) -> str | None:
    """What is wrong with the value of an option, or None."""
    option = OPTIONS.get(name) or TOP_ONLY[name]
    if option.holds(value):
        return None
    if name == "applications" and isinstance(value, dict):
        wrong = {app: mode for app, mode in value.items() if mode not in MODES}
        return "; ".join(
            f"application {app!r} has mode {mode!r}; a mode is one of {', '.join(MODES)}" for app, mode in wrong.items()
        )
    if name == "gates" and isinstance(value, list):
        return "; ".join(problem for gate in value for problem in gates.problems_of(gate))
    if name == "cluster" and isinstance(value, dict):
        return "; ".join(f"cluster: {problem}" for problem in inventory.problems_of(value))
    if name == "cookie":
        return f"cookie must be {option.wanted}"  # what was given may be the secret itself
    return f"{name} is {value!r}; it must be {option.wanted}"
