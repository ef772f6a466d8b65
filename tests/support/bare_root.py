"""A root directory that holds a release and nothing else but what every release is promised.

::

    /bin/sh                      dash
    /lib64/ld-linux-x86-64.so.2  the loader, and glibc's own libraries where that looks for them
    /proc /dev/null /dev/urandom
    /srv/release                 the release; read-only
    /var/release                 its var/, of the user that runs it; nothing else can be written

No passwd file, no /tmp, no /etc, no /usr/share. The mounts live in a namespace of the process's own and end with it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from underway.steps.binaries import elf

USER = 54321
RELEASE = Path("/srv/release")
VAR = Path("/var/release")
SBIN = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"

ENTER = """
set -e
mount -t proc -o ro proc "$1/proc"
for device in null urandom; do mount --bind "/dev/$device" "$1/dev/$device"; done
mount --bind "$2" "$1/srv/release"
mount -o remount,bind,ro "$1/srv/release"
shift 2
exec env -i "$@"
"""


@dataclass(frozen=True)
class BareRoot:
    """Such a directory, made for one release."""

    root: Path
    release: Path
    """Where the release really is."""

    def command(self, *argv: str | Path, env: Mapping[str, str] | None = None) -> list[str]:
        """The command that runs `argv` in it, as a user that has no name. The process stays the one that is started."""
        environment = {"RELEASE_VAR": str(VAR), **(env or {})}
        chroot, unshare = (shutil.which(name, path=SBIN) for name in ("chroot", "unshare"))
        assert chroot is not None
        assert unshare is not None
        inside = [chroot, f"--userspec={USER}:{USER}", "--groups=", str(self.root), *map(str, argv)]
        variables = [f"{name}={value}" for name, value in environment.items()]
        places = [str(self.root), str(self.release)]
        return [unshare, "--mount", "--", "/bin/sh", "-c", ENTER, "enter", *places, *variables, *inside]

    @property
    def var(self) -> Path:
        return self.root / VAR.relative_to("/")


def bare_root(root: Path, release: Path) -> BareRoot:
    """Make the directory at `root`, for the release that is at `release`."""
    for place in ("bin", "proc", "dev", "srv/release"):
        (root / place).mkdir(parents=True)
    for device in ("null", "urandom"):
        (root / "dev" / device).touch()
    made = BareRoot(root, release)
    made.var.mkdir(parents=True)
    os.chown(made.var, USER, USER)
    shell = Path(shutil.which("dash") or "/bin/dash")
    _copy(shell, root / "bin/sh")
    loader = elf.loader(shell)
    assert loader is not None
    _copy(loader, root / loader.relative_to("/"))
    for library in _libc().parent.iterdir():
        if ".so." in library.name and elf.is_glibc(library) and library.is_file() and elf.is_elf(library):
            _copy(library, root / library.relative_to("/"))
    return made


def _libc() -> Path:
    """glibc's libc, as this process has loaded it."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return next(Path(line.split(None, 5)[5]) for line in lines if "/libc.so" in line or "/libc-" in line)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
