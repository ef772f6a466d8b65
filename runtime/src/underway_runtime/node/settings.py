"""What the launcher says to the processes that it starts: the ``RELEASE_*`` variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, cast

from ..release.directory import ReleaseDirectory, VarDirectory, VersionDirectory
from ..release.errors import ConfigError, UsageError, listing

LoadingMode: TypeAlias = Literal["embedded", "interactive"]

START_TIMEOUT = 60.0
"""Seconds that one application may take to start."""
STOP_TIMEOUT = 10.0
"""Seconds that all of them together may take to stop."""
DRAIN_TIMEOUT = 30.0
"""Seconds that each gets to finish what is under way, when another node takes over."""


@dataclass(frozen=True)
class Settings:
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

    @property
    def directory(self) -> ReleaseDirectory:
        return ReleaseDirectory(self.root)

    @property
    def place(self) -> VersionDirectory:
        """``releases/V``."""
        return self.directory.version(self.version)


def from_environ(environ: Mapping[str, str]) -> Settings:
    """Read the variables; those that have a default may be missing, as in the launcher.

    Raises UsageError when the process was not started by ``bin/NAME``, and ConfigError listing every bad value.
    """
    if missing := [name for name in ("RELEASE_ROOT", "RELEASE_NAME", "RELEASE_VSN") if not environ.get(name)]:
        raise UsageError(f"{', '.join(missing)} not set; a release is started with bin/NAME, which sets them")
    root, name, version = (environ[f"RELEASE_{what}"] for what in ("ROOT", "NAME", "VSN"))
    mode = environ.get("RELEASE_MODE") or "embedded"
    distribution = environ.get("RELEASE_DISTRIBUTION") or "none"
    problems = []
    if mode not in {"embedded", "interactive"}:
        problems.append(f"RELEASE_MODE is embedded or interactive, not {mode!r}")
    if distribution != "none":
        problems.append(f"RELEASE_DISTRIBUTION is none, not {distribution!r}")
    if problems:
        raise ConfigError(listing("the environment does not describe a node:", problems))

    place = ReleaseDirectory(Path(root)).version(version)
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
        boot_script=place.boot_script(environ.get("RELEASE_BOOT_SCRIPT") or "start"),
        boot_script_clean=place.boot_script(environ.get("RELEASE_BOOT_SCRIPT_CLEAN") or "start_clean"),
        sys_config=Path(environ.get("RELEASE_SYS_CONFIG") or place.sys_config),
        cookie=environ.get("RELEASE_COOKIE") or None,
    )
