"""The options of a release: one row each, with its type, what a value may be, and its default.

A row is a field of `StartOptions` or of `Options`; ``config_path`` is the option ``config-path``. docs/reference/options.md says
what each does, and is held against the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from underway_runtime.cluster import inventory
from underway_runtime.release import addresses, gates
from underway_runtime.release.boot_script import MODES, Mode
from underway_runtime.release.decode import problems_of
from underway_runtime.release.display import one_line
from underway_runtime.release.references import is_reference

_WIDEST = 300
"""Characters of a value that an error shows."""

STEPS = tuple(f"underway.steps:{name}" for name in ("pre_assemble", "assemble", "post_assemble", "tar"))
"""The steps of a release that names none."""


@dataclass(frozen=True)
class Option:
    """What a value must be: a phrase for people and a test."""

    wanted: str
    holds: Callable[[Any], bool]
    default: Any = None
    is_path: bool = False
    """Whether it is a path, or several, below the project's root."""


def option(wanted: str, holds: Callable[[Any], bool], default: Any = None, *, is_path: bool = False) -> Any:
    """Make a row: a field of a dataclass that keeps what its values must be. Each release has a default of its own."""
    row = Option(wanted, holds, default, is_path)
    return field(default_factory=lambda: copy(default), metadata={"option": row})


def rows(table: type) -> dict[str, Option]:
    """The rows of a dataclass of options, by the name that each has in pyproject.toml."""
    return {row.name.replace("_", "-"): row.metadata["option"] for row in fields(table) if "option" in row.metadata}


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _references(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_reference, value))


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
    return is_reference(value) or (isinstance(value, list) and len(value) == 2 and is_reference(value[0]))


def _gates(value: Any) -> bool:
    return not problems_of(gates.Gates, value)


def _ready(value: Any) -> bool:
    return value in ("accepts", "notify", "called") or (
        isinstance(value, str) and bool(value[:5] == "line:" and value[5:].strip())
    )


_MOST_PROCESSES = 512


def _processes(value: Any) -> bool:
    return value == "auto" or (isinstance(value, int) and not _truth(value) and 1 <= value <= _MOST_PROCESSES)


@dataclass(frozen=True)
class StartOptions:
    """What starts; these travel with the application, not with the release."""

    asgi: str | None = option('an ASGI application, "module:attribute"', is_reference)
    wsgi: str | None = option('a WSGI application, "module:attribute"', is_reference)
    main: str | None = option('a function, "module:function"', is_reference)
    args: Sequence[str] = option("a list of strings", _texts, [])
    listen: Sequence[str] = option(
        'a list of addresses, "tcp://127.0.0.1:8000" or "unix:///run/chat.sock?mode=0660&group=www-data"',
        _addresses,
        [],
    )
    overlap: bool = option("true or false", _truth, True)
    processes: int | str = option(f'a number from 1 to {_MOST_PROCESSES}, or "auto"', _processes, 1)
    ready: str | None = option('"accepts", "notify", "line:TEXT" or "called"', _ready)


@dataclass(frozen=True, eq=False)
class Options(Mapping[str, Any]):
    """The options of one release, as what builds it and its steps see them: ``options.config_path`` is ``options["config-path"]``.

    What a project says in ``[tool.underway.releases.NAME.options]``, for steps of its own, is there by its name:
    ``options["colour"]``.
    """

    applications: Mapping[str, Mode] = option(
        f"a table of application = mode, each mode one of {', '.join(MODES)}", _modes, {}
    )
    appup: str | None = option("the path of a Python file that makes an `appup`", _text, is_path=True)
    build_env: Sequence[str] = option("a list of environment variables that config/config.py may read", _texts, [])
    build_sdists: Sequence[str] = option("a list of distributions to build from their locked sdist", _texts, [])
    cluster: Mapping[str, Any] = option(
        "a table of hosts, directory, listen, worker-port and limits, as docs/reference/cluster.md has it",
        lambda v: not inventory.problems_of(v),
        {},
    )
    config_path: str | Literal[False] = option(
        "a path, or false for none", lambda v: v is False or _text(v), "config/config.py", is_path=True
    )
    config_providers: Sequence[Any] = option(
        'a list of "module:Class" or ["module:Class", argument]',
        lambda v: isinstance(v, list) and all(map(_provider, v)),
        [],
    )
    config_schema: str | Sequence[str] = option(
        'a dataclass or pydantic model, "module:Class", or a list of them',
        lambda v: is_reference(v) or _references(v),
        [],
    )
    cookie: Mapping[str, str] | None = option(
        '{ file = "/path" } or { variable = "NAME" }, read on the node; a literal would be in every copy',
        _cookie,
    )
    env: str = option(
        "the name of an environment, as in config/staging.py; not config or runtime",
        lambda v: _text(v) and v.isidentifier() and v not in ("config", "runtime"),
        "prod",
    )
    extras: Sequence[str] = option("a list of the project's extras", _texts, [])
    gates: Sequence[Mapping[str, Any]] = option("a list of gates, as docs/reference/gates.md has them", _gates, [])
    groups: Sequence[str] = option("a list of dependency groups", _texts, [])
    heart: bool | Mapping[str, float] = option(
        "true, false, or { restarts = 5, within = 60, delay = 1, beat = 0 } in seconds", _heart, False
    )
    host_libraries: Sequence[str] = option(
        "a list of libraries that the host has or nothing uses, * for any part", _texts, []
    )
    include_executables_for: Sequence[str] = option(
        '["unix"]; a release for windows can\'t be made', lambda v: v == ["unix"], ["unix"]
    )
    include_interpreter: bool | str = option(
        'true, false, the path of an interpreter, or a callable "module:function"',
        lambda v: _truth(v) or _text(v),
        True,
    )
    lazy: Sequence[str] = option("a list of modules that are not preloaded, * for any part", _texts, [])
    overlays: str | Sequence[str] = option(
        "a path, or a list of paths, of directories to copy into the release",
        lambda v: _text(v) or _texts(v),
        [],
        is_path=True,
    )
    overwrite: bool = option("true or false", _truth, False)
    path: str | None = option("a path", _text)
    picture: bool = option("true or false", _truth, True)
    prefer: Sequence[str] = option("a list of applications", _texts, [])
    prune_runtime_sys_config_after_boot: bool = option("true or false", _truth, False)
    python: str | None = option('an interpreter as uv names it, "3.12" or a path', _text)
    quiet: bool = option("true or false", _truth, False)
    reboot_system_after_config: bool = option("true or false", _truth, False)
    rel_templates_path: str = option("a path", _text, "rel", is_path=True)
    runtime_config_path: str | Literal[False] = option(
        "a path, or false for none", lambda v: v is False or _text(v), "config/runtime.py", is_path=True
    )
    sign_key: str | None = option(
        "the path of an SSH key, or of its public half where an agent holds it", _text, is_path=True
    )
    skip_mode_validation_for: Sequence[str] = option("a list of applications", _texts, [])
    start_distribution_during_config: bool = option("true or false", _truth, False)
    steps: Sequence[str] = option('a list of "module:function"', _references, list(STEPS))
    strip: bool | Mapping[str, bool] = option("true, false, or { docstrings = true }", _strip, True)
    tar: Literal["zst", "gz"] = option(
        '"zst", or "gz" for hosts that have nothing', lambda v: v in ("zst", "gz"), "zst"
    )
    upgrade_from: Sequence[str] | None = option("a list of paths, of archives and releases", _texts, is_path=True)
    validate_compile_env: bool = option("true or false", _truth, True)

    custom: Mapping[str, Any] = field(default_factory=dict)
    """What is not an option of ours, for steps of the project's own."""

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Options:
        """The options that a table states, each other one with its default; nothing is checked."""
        known = {name.replace("-", "_"): value for name, value in table.items() if name in DEFAULTS}
        return cls(**known, custom={name: value for name, value in table.items() if name not in DEFAULTS})

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name.replace("-", "_")) if name in DEFAULTS else self.custom[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*DEFAULTS, *self.custom))

    def __len__(self) -> int:
        return len(DEFAULTS) + len(self.custom)

    @property
    def strips(self) -> bool:
        """Whether symbols of binaries and the interpreter's own tests are left out."""
        return self.strip is not False

    @property
    def keeps_docstrings(self) -> bool:
        """Whether what is compiled has its docstrings."""
        return isinstance(self.strip, bool) or not self.strip.get("docstrings")

    @property
    def overlay_paths(self) -> Sequence[str]:
        """The directories whose contents are copied into the release, in order."""
        return _several(self.overlays)

    @property
    def config_schemas(self) -> Sequence[str]:
        """What the configuration of applications has to fit, each ``"module:Class"``."""
        return _several(self.config_schema)

    def below(self, root: Path) -> Options:
        """The same with absolute paths; `root` is the project's."""

        def absolute(value: str | Sequence[str] | None) -> Any:
            if isinstance(value, str):
                return str(root / value)
            return [str(root / path) for path in value] if value else value

        return replace(self, **{name.replace("-", "_"): absolute(self[name]) for name in PATHS})


def _several(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


DEFAULTS: Mapping[str, Any] = {name: row.default for name, row in rows(Options).items()}
"""The options that `Options` holds, with their defaults."""

START = tuple(rows(StartOptions))

PATHS = tuple(name for name, row in rows(Options).items() if row.is_path)
"""The options that are paths below the project's root."""

OPTIONS: Mapping[str, Option] = {
    **rows(StartOptions),
    **rows(Options),
    "version": Option('a version, or { from-app = "NAME" }', _version),
    "options": Option("a table of anything, for custom steps", lambda v: isinstance(v, dict), {}),
}
"""What [tool.underway] and [tool.underway.releases.NAME] may hold."""

TOP_ONLY: Mapping[str, Option] = {
    "default-release": Option("the name of a release", _text),
    "releases": Option("a table of releases", lambda v: isinstance(v, dict)),
}
"""What only [tool.underway] may hold."""


def problem_of(name: str, value: Any) -> str | None:
    """What is wrong with the value of an option, or None."""
    row = OPTIONS.get(name) or TOP_ONLY[name]
    if row.holds(value):
        return None
    if name == "applications" and isinstance(value, dict):
        wrong = {app: mode for app, mode in value.items() if mode not in MODES}
        return "; ".join(
            f"application {app!r} has mode {mode!r}; a mode is one of {', '.join(MODES)}" for app, mode in wrong.items()
        )
    if name == "listen" and _texts(value) and value:
        wrong_addresses = [(address, addresses.problem_of(address)) for address in value]
        return "; ".join(f"listen: {address}: {problem}" for address, problem in wrong_addresses if problem)
    if name == "gates" and isinstance(value, list):
        return "; ".join(map(str, problems_of(gates.Gates, value, ("gates",))))
    if name == "cluster" and isinstance(value, dict):
        return "; ".join(f"cluster: {problem}" for problem in inventory.problems_of(value))
    if name == "cookie":
        return f"cookie must be {row.wanted}"  # what was given may be the secret itself
    return f"{name} is {one_line(repr(value), _WIDEST)}; it must be {row.wanted}"
