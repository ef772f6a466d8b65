"""Options of web servers that a release takes over, and what to write instead: refused at the build, by `check` and at the boot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LISTEN = "`listen` says where it listens"
_BACKLOG = "the keeper listens, with a backlog of 2048"
_RELOAD = "`underway run --reload` does that"
_WORKERS = "`processes` says in how many processes it runs"
_TURNS = "the node turns its loop"

TAKEN_OVER: Mapping[str, Mapping[str, str]] = {
    "asgi": {
        "app": "`asgi` in [tool.underway] says what is served",
        "app_dir": "the code is that of the release",
        "backlog": _BACKLOG,
        "env_file": "releases/V/env.sh, or a configuration provider, says what is in the environment",
        "fd": _LISTEN,
        "host": _LISTEN,
        "limit_max_requests": "it would end the node; `heart` starts one again that fails",
        "limit_max_requests_jitter": "it would end the node; `heart` starts one again that fails",
        "listen": _LISTEN,
        "loop": "the loop is the node's: uvloop's where the release has it",
        "port": _LISTEN,
        "reload": _RELOAD,
        "reload_delay": _RELOAD,
        "reload_dirs": _RELOAD,
        "reload_excludes": _RELOAD,
        "reload_includes": _RELOAD,
        "sockets": _LISTEN,
        "timeout_worker_healthcheck": _WORKERS,
        "uds": "`listen` says where it listens, as in unix:///run/chat.sock?mode=0660",
        "workers": _WORKERS,
    },
    "wsgi": {
        "app": "`wsgi` in [tool.underway] says what is served",
        "application": "`wsgi` in [tool.underway] says what is served",
        "asyncore_loop_timeout": _TURNS,
        "asyncore_use_poll": _TURNS,
        "backlog": _BACKLOG,
        "fd": _LISTEN,
        "host": _LISTEN,
        "ipv4": _LISTEN,
        "ipv6": _LISTEN,
        "listen": _LISTEN,
        "map": _TURNS,
        "port": _LISTEN,
        "reload": _RELOAD,
        "sockets": _LISTEN,
        "uds": "`listen` says where it listens, as in unix:///run/chat.sock?mode=0660",
        "unix_socket": "`listen` says where it listens, as in unix:///run/chat.sock?mode=0660",
        "unix_socket_perms": "`listen` says who may connect, as in unix:///run/chat.sock?mode=0660",
        "workers": "`processes` says in how many processes it runs, and `threads` how many requests each answers at once",
        "_dispatcher": _TURNS,
        "_sock": _LISTEN,
        "_start": _TURNS,
    },
}


NOT_HERE: Mapping[tuple[str, str, Any], str] = {
    (
        "asgi",
        "interface",
        "wsgi",
    ): "`wsgi` in [tool.underway] says that it is a WSGI application, which waitress serves",
}
"""Values of options that are taken otherwise: the kind of the application, the option, the value."""


def kind_of(start: Mapping[str, Any] | None) -> str | None:
    """The kind of a web application that starts so, asgi or wsgi; None for all else."""
    return next((kind for kind in TAKEN_OVER if kind in (start or {})), None)


def refuses(kind: str, name: str, value: Any) -> str | None:
    """Why a release does not let an option be set, and what to write instead; None where the server is asked."""
    reason = TAKEN_OVER[kind].get(name)
    if reason or not isinstance(value, str):
        return reason
    return NOT_HERE.get((kind, name, value))


def problems_of(application: str, start: Mapping[str, Any] | None, options: Any) -> list[str]:
    """What is wrong with ``server`` in the configuration of an application that starts so; nothing where no server of ours runs."""
    kind = kind_of(start)
    if kind is None:
        return []
    if not isinstance(options, Mapping):
        return [f"`server` of {application} is a mapping of options, not {options!r}"]
    return [
        f"`server` of {application} can't set {name}: {reason}"
        for name, value in options.items()
        if (reason := refuses(kind, name, value))
    ]
