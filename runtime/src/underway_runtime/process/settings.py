"""What the launcher says to the processes that it starts: the ``RELEASE_*`` variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Literal, TypeAlias, cast

from ..frozen import Frozen
from ..release import names
from ..release.directory import ReleaseDirectory, VarDirectory, VersionDirectory
from ..release.errors import ConfigError, DamagedRelease, UsageError, listing

LoadingMode: TypeAlias = Literal["embedded", "interactive"]

START_TIMEOUT = 60.0
"""Seconds that one application may take to start."""
STOP_TIMEOUT = 10.0
"""Seconds that all of them together may take to stop."""
HANDOVER_TIMEOUT = 300.0
"""Seconds that the next node gets until it accepts, when it takes over from one that runs; its gates are in it."""
DRAIN_TIMEOUT = 30.0
"""Seconds that each gets to finish what is under way, when another node takes over."""

OF_A_VERSION = ("RELEASE_VM_ARGS", "RELEASE_REMOTE_VM_ARGS", "RELEASE_SYS_CONFIG")
"""Variables that name files of the version, unless they were set to others."""

_BOOT_SCRIPTS = {"RELEASE_BOOT_SCRIPT": "start", "RELEASE_BOOT_SCRIPT_CLEAN": "start_clean"}


class HeartOption(Frozen):
    """How often a node that fails is started again: at most `restarts` times `within` seconds; see keeper/restart_policy.py."""

    restarts: int = 5
    within: float = 60.0
    delay: float = 1.0
    """Seconds before the first; each further pause is twice as long."""
    beat: float = 0.0
    """Seconds without a sign of life after which a node counts as dead; 0 for never."""


class Logs(Frozen):
    """How the logs of a daemon take turns, as run_erl's do."""

    generations: int = 10
    size: int = 10_000_000
    """Bytes."""
    alive: float = 900.0
    """Seconds without output after which a line says that there is none; 0 for never."""


class Settings(Frozen):
    """One release on this machine, as it is asked to run. The names are those of Mix's variables."""

    root: Path
    name: str
    version: str
    prog: str
    node: str
    mode: LoadingMode
    var: VarDirectory
    tmp: VarDirectory
    """Where ``run`` and ``log`` are."""
    boot_script: Path
    boot_script_clean: Path
    sys_config: Path
    cookie: str | None = field(default=None, repr=False)
    heart_wanted: bool | None = None
    """What RELEASE_HEART says."""
    log: Logs = Logs()

    @property
    def directory(self) -> ReleaseDirectory:
        return ReleaseDirectory(self.root)

    @property
    def place(self) -> VersionDirectory:
        """``releases/V``."""
        return self.directory.version(self.version)

    def of(self, version: str) -> Settings:
        """The same of another version of the release; what the environment names elsewhere stays."""
        version_directory = self.directory.version(version)
        return replace(
            self,
            version=version,
            boot_script=version_directory.boot_script(self.boot_script.stem),
            boot_script_clean=version_directory.boot_script(self.boot_script_clean.stem),
            sys_config=version_directory.sys_config if self.sys_config == self.place.sys_config else self.sys_config,
        )

    def variables_of(self, version: str, environ: Mapping[str, str]) -> dict[str, str]:
        """The variables of `environ` that are others for another version."""
        old, new = f"{self.place.path}/", f"{self.directory.version(version).path}/"
        moved = {name: environ[name] for name in OF_A_VERSION if environ.get(name, "").startswith(old)}
        if environ.get("PATH", "").startswith(f"{old}bin:"):
            moved["PATH"] = environ["PATH"]
        return {"RELEASE_VSN": version, **{name: new + value.removeprefix(old) for name, value in moved.items()}}


def from_environ(environ: Mapping[str, str]) -> Settings:
    """Read the variables; those that have a default may be missing, as in the launcher.

    Raises UsageError when the process was not started by ``bin/NAME``, and ConfigError listing every bad value.
    """
    if missing := [name for name in ("RELEASE_ROOT", "RELEASE_NAME", "RELEASE_VSN") if not environ.get(name)]:
        raise UsageError(f"{', '.join(missing)} not set; a release is started with bin/NAME, which sets them")
    root, name, version = (environ[f"RELEASE_{what}"] for what in ("ROOT", "NAME", "VSN"))
    mode = environ.get("RELEASE_MODE") or "embedded"
    distribution = environ.get("RELEASE_DISTRIBUTION") or "none"
    scripts = {which: environ.get(which) or default for which, default in _BOOT_SCRIPTS.items()}
    problems = [
        f"{variable} is {names.shown(value)}, which is not {what}"
        for variable, value, what in (
            ("RELEASE_NAME", name, "the name of a release"),
            ("RELEASE_VSN", version, "a version of a release"),
            *((which, script, "the name of a boot script") for which, script in scripts.items()),
        )
        if not names.is_name(value)
    ]
    if mode not in {"embedded", "interactive"}:
        problems.append(f"RELEASE_MODE is embedded or interactive, not {mode!r}")
    if distribution != "none":
        problems.append(f"RELEASE_DISTRIBUTION is none, not {distribution!r}")
    wanted = environ.get("RELEASE_HEART") or None
    if wanted not in {None, "true", "false"}:
        problems.append(f"RELEASE_HEART is true or false, not {wanted!r}")
    generations = _number(environ, "RELEASE_LOG_GENERATIONS", 10, 2, 1000, problems)
    size = _number(environ, "RELEASE_LOG_SIZE", 10_000_000, 1000, 2**30, problems)
    minutes = _number(environ, "RELEASE_LOG_ALIVE_MINUTES", 15, 0, 2**30, problems)
    if problems:
        raise ConfigError(listing("the environment does not describe a node:", problems))

    version_directory = ReleaseDirectory(Path(root)).version(version)
    var = environ.get("RELEASE_VAR") or str(Path(root, "var"))
    return Settings(
        root=Path(root),
        name=name,
        version=version,
        prog=environ.get("RELEASE_PROG") or name,
        node=environ.get("RELEASE_NODE") or name,
        mode=cast(LoadingMode, mode),
        var=VarDirectory(Path(var)),
        tmp=VarDirectory(Path(environ.get("RELEASE_TMP") or var)),
        boot_script=version_directory.boot_script(scripts["RELEASE_BOOT_SCRIPT"]),
        boot_script_clean=version_directory.boot_script(scripts["RELEASE_BOOT_SCRIPT_CLEAN"]),
        sys_config=Path(environ.get("RELEASE_SYS_CONFIG") or version_directory.sys_config),
        cookie=environ.get("RELEASE_COOKIE") or None,
        heart_wanted=None if wanted is None else wanted == "true",
        log=Logs(generations, size, minutes * 60.0),
    )


def heart(settings: Settings) -> HeartOption | None:
    """What the release says, unless RELEASE_HEART says otherwise. Raises DamagedRelease."""
    if settings.heart_wanted is False:
        return None
    path = settings.place.heart
    try:
        return HeartOption(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return HeartOption() if settings.heart_wanted else None
    except (OSError, ValueError, TypeError) as error:
        raise DamagedRelease(f"{path} can't be read: {error}; restore it from the release's archive") from None


def _number(environ: Mapping[str, str], name: str, default: int, least: int, most: int, problems: list[str]) -> int:
    text = environ.get(name) or str(default)
    if text.isdecimal() and least <= int(text) <= most:
        return int(text)
    problems.append(f"{name} is a number from {least} to {most}, not {text!r}")
    return default
