"""Whether a web server takes the options that an application has for it: its own signature says which there are, and of what kind.

==============================  ==================================================================================
an option that it does not know  is refused, with the likely one
another kind of value            is refused, with what its signature says
a number that is too small       is refused: no thread, or a negative time, serves nobody
TLS files                        are there, go together, and can be loaded
what else it refuses             is tried: what is left is given to it, without those that it refuses
==============================  ==================================================================================

`release/server_options.py` has those that a release takes over, which are known without the server.
"""

from __future__ import annotations

import contextlib
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from ..release import server_options
from ..release.decode import Rule, fits, problems_of, wanted
from ..release.errors import did_you_mean
from ..release.server_options import TAKEN_OVER

_LEAST = {"connection_limit": 1, "h11_max_incomplete_event_size": 1, "limit_concurrency": 1, "threads": 1}
"""The smallest number that an option may be; of every other it is 0."""

_TLS = ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs")

_NOT_TRIED = ("factory", "log_config", "ssl_")
"""How options begin that would do more than be looked at: call the application, open files of logs, ask for a password."""


class _Server(NamedTuple):
    """A web server of the release: its name and version, the kind of each option, and what makes its own settings of them."""

    name: str
    kinds: Mapping[str, Any]
    make: Callable[[Mapping[str, Any]], object]
    has_pairs: bool
    """Whether it refuses an option for want of another."""


def check(
    application: str, start: Mapping[str, Any] | None, options: Any, *, at_build: bool = False, is_all: bool = True
) -> list[str]:
    """Return what is wrong with ``server`` in the configuration of an application that starts so; nothing where no server of ours
    runs. The server is imported, unless nothing is said to it.

    At a build unless it `is_all`, more options may come at the boot, and one that goes with another is not missed.
    """
    problems = server_options.problems_of(application, start, options)
    kind = server_options.kind_of(start)
    if kind is None or not isinstance(options, Mapping):
        return problems
    given = {name: value for name, value in options.items() if not server_options.refuses(kind, name, value)}
    if given and (server := _server(kind)):
        problems += [f"`server` of {application}: {problem}" for problem in _problems(server, kind, given, is_all)]
        hint = "; what only the host has is stated in config/runtime.py" if at_build else ""
        problems += [f"`server` of {application}: {problem}{hint}" for problem in _missing_files(given)]
    return problems


def _problems(server: _Server, kind: str, given: Mapping[str, Any], is_all: bool) -> Iterator[str]:
    known = sorted(server.kinds.keys() - TAKEN_OVER[kind].keys())
    wrong = set()
    for name, value in given.items():
        if problem := _problem(server, known, name, value):
            wrong.add(name)
            yield problem
    right = {name: value for name, value in given.items() if name not in wrong}
    yield from _tls_problems(right, is_all)
    tried = {name: value for name, value in right.items() if not name.startswith(_NOT_TRIED)}
    if is_all or not server.has_pairs:
        yield from _refusals(server, tried)


def _refusals(server: _Server, options: Mapping[str, Any]) -> Iterator[str]:
    """What the server refuses, option by option: each without which it says something else, or nothing."""
    while error := _refusal(server, options):
        without = {name: {other: options[other] for other in options if other != name} for name in options}
        refused = [name for name in options if _refusal(server, without[name]) != error][:1]
        if not refused:
            yield f"{server.name} refuses {', '.join(options)}: {error}"
            return
        yield f"{refused[0]} is {options[refused[0]]!r}; {server.name} refuses it: {error}"
        options = without[refused[0]]


def _problem(server: _Server, known: list[str], name: str, value: Any) -> str | None:
    """What is wrong with one option by itself."""
    if name not in known:
        return f"{server.name} has no option {name!r}{did_you_mean(name, known)}"
    kind = server.kinds[name]
    if kind is Any:
        return None
    shown = "set" if "password" in name else repr(value)
    plain = [arm for arm in _arms(kind) if _is_plain(arm)]
    if not any(fits(value, arm) and not problems_of(arm, value) for arm in plain):
        if plain in ([], [type(None)]):
            return f"{name} can't be configured: it is an object of Python, not plain data"
        return f"{name} is {shown}; {server.name} takes {' or '.join(map(wanted, plain))}"
    least = _LEAST.get(name, 0)
    if isinstance(value, (int, float)) and value < least:
        return f"{name} is {value!r}; it must be {least} or more"
    return None


def _refusal(server: _Server, options: Mapping[str, Any]) -> str | None:
    """What the server says when its settings are made of these options."""
    try:
        server.make(options)
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    return None


# ------------------------------------------------------------------------------------------------------------------- TLS


def _files(options: Mapping[str, Any]) -> dict[str, Path]:
    return {name: Path(value) for name in _TLS if isinstance(value := options.get(name), str) and value}


def _missing_files(options: Mapping[str, Any]) -> Iterator[str]:
    return (
        f"{name} is {str(file)!r}, which is not there"
        for name, file in _files(options).items()
        if _is_there(file) is False
    )


def _tls_problems(options: Mapping[str, Any], is_all: bool) -> Iterator[str]:
    """What is wrong with files of TLS. What this user may not read is left to the server."""
    files = _files(options)
    states = {name: _is_there(file) for name, file in files.items()}
    certificate, key = files.get("ssl_certfile"), files.get("ssl_keyfile")
    if key and not certificate:
        if is_all:
            yield "ssl_keyfile is set, and ssl_certfile is not"
    elif certificate and states["ssl_certfile"] and states.get("ssl_keyfile", True):
        text = (key or certificate).read_bytes() if _is_readable(key or certificate) else None
        if text is None or not _is_readable(certificate):
            return
        if not key and b"PRIVATE KEY-----" not in text:
            if is_all:
                yield "ssl_certfile is set, and ssl_keyfile is not; there is no private key in ssl_certfile itself"
        elif problem := _pair_problem(certificate, key, text, options.get("ssl_keyfile_password")):
            yield problem


def _pair_problem(certificate: Path, key: Path | None, text: bytes, password: str | None) -> str | None:
    if b"ENCRYPTED" in text and not password:
        return None  # a provider may have it; without one the server asks whoever starts it
    import ssl  # which loads OpenSSL, and few releases serve TLS themselves

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: password or "")
    except (OSError, ValueError) as error:
        files = f"ssl_certfile {str(certificate)!r}" + (f" and ssl_keyfile {str(key)!r}" if key else "")
        return f"{files} can't be loaded: {error}"
    return None


def _is_there(file: Path) -> bool | None:
    """Whether it is a file; None where this user may not tell."""
    try:
        return file.is_file()
    except OSError:
        return None


def _is_readable(file: Path) -> bool:
    try:
        with file.open("rb"):
            return True
    except OSError:
        return False


# --------------------------------------------------------------------------------------------------------------- servers


def _server(kind: str) -> _Server | None:
    """The server of the release for such an application, or None where it has none: the boot says so."""
    try:
        return _SERVERS[kind]()
    except (ModuleNotFoundError, AttributeError):
        return None


def _uvicorn() -> _Server:
    config = import_module("uvicorn").Config
    annotations = {name: row.annotation for name, row in [*signature(config.__init__).parameters.items()][1:]}
    kinds = {name: _evaluated(annotation, config.__module__) for name, annotation in annotations.items()}
    for name, kind in kinds.items():
        if name.startswith("timeout_") and fits(1, kind):
            kinds[name] = typing.Union[tuple(_SECONDS if arm is int else arm for arm in _arms(kind))]  # noqa: UP007

    async def application(scope: Any, receive: Any, send: Any) -> None:
        """It serves nobody."""

    def make(options: Mapping[str, Any]) -> None:
        config(application, log_config=None, **options).load()

    return _Server(_named("uvicorn"), kinds, make, has_pairs=False)


def _evaluated(annotation: Any, module: str) -> Any:
    """What an annotation names; Any where it can't be told: what names in it mean is known to type checkers only."""

    def holder() -> None:
        pass

    holder.__annotations__ = {"kind": annotation}
    with contextlib.suppress(Exception):
        return typing.get_type_hints(holder, vars(sys.modules[module]))["kind"]
    return Any


def _waitress() -> _Server:
    adjustments = import_module("waitress.adjustments").Adjustments
    kinds = {name: _CASTS.get(cast.__name__, Any) for name, cast in adjustments._params}
    return _Server(_named("waitress"), kinds, lambda options: adjustments(**options), has_pairs=True)


_SECONDS = Annotated[float, Rule("a number of seconds", lambda value: value == value)]
_NUMBER = Annotated[int | str, Rule("a whole number", lambda value: str(value).strip().lstrip("-").isdecimal())]
_TRUTH = Annotated[bool | int | str, Rule("true or false", lambda value: str(value).strip().lower() in _TRUTHS)]
_TRUTHS = ("t", "true", "y", "yes", "on", "1", "f", "false", "n", "no", "off", "0", "")

_CASTS: Mapping[str, Any] = {
    "int": _NUMBER,
    "str": str,
    "asbool": _TRUTH,
    "aslist": str | list[str],
    "asset": str | list[str],
    "str_iftruthy": str | None,
    "slash_fixed_str": str,
}
"""What waitress makes of a value by its signature, and what it may be for that."""

_SERVERS: Mapping[str, Callable[[], _Server]] = {"asgi": _uvicorn, "wsgi": _waitress}
_UNIONS = (typing.Union, type(int | str))


def _named(distribution: str) -> str:
    try:
        return f"{distribution} {version(distribution)}"
    except PackageNotFoundError:
        return distribution


def _arms(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) in _UNIONS else (kind,)


def _is_plain(kind: Any) -> bool:
    """Whether plain data can be of this kind."""
    origin = typing.get_origin(kind)
    if origin is Annotated:
        return True
    return origin in (list, tuple, dict, typing.Literal) or kind in (str, int, float, bool, list, dict, type(None))
