"""The cookie: the secret that the nodes of a release share. Never logged, never on a command line.

Commands that talk to a node read it too, so this imports little.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping

from ..release import names
from ..release.errors import ConfigError, DamagedRelease
from ..release.filesystem import openat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from ..process.settings import Settings

_BYTES = 32
_LARGEST = 1 << 16
"""Bytes of a cookie that are read."""

_held = [""]


def obtain(settings: Settings, environ: Mapping[str, str]) -> str:
    """The cookie of this node; made, where the release leaves that to the node and there is none.

    Raises ConfigError and DamagedRelease as `find` does, and ConfigError when it can't be written.
    """
    root, var = str(settings.root), str(settings.var.path)
    return settings.cookie or find(root, settings.version, var, environ) or _make(settings)


def hold(secret: str) -> None:
    """Keep the cookie of this node, for what proves it to other nodes: its environment has it no more."""
    _held[0] = secret


def held() -> str:
    """The cookie of this node."""
    return _held[0]


def find(root: str, version: str, var: str, environ: Mapping[str, str]) -> str | None:
    """Find the cookie as it is now; None when the node is to make it and has not.

    ``RELEASE_COOKIE`` wins. Else ``releases/V/cookie.source`` says where it is: in a file, in a variable, or with the node,
    which makes it at its first boot and keeps it in ``var/COOKIE``, for the owner only. Raises ConfigError when it is
    not there or others can read the node's own, and DamagedRelease for the source.
    """
    if cookie := environ.get("RELEASE_COOKIE"):
        return cookie
    path = os.path.join(root, "releases", version, names.COOKIE_SOURCE)
    match _source(path):
        case {"from": "node"}:
            return _made_by_node(var)
        case {"from": "file", "file": str(file)}:
            return _read(os.path.join(root, file))
        case {"from": "variable", "variable": str(variable)}:
            if cookie := environ.get(variable):
                return cookie
            raise ConfigError(f"the cookie of this release comes from the variable {variable}, which is not set")
        case other:
            raise DamagedRelease(f"{path} does not say where the cookie is: {json.dumps(other)}")


def hide(environ: dict[str, str] | os._Environ[str], settings: Settings) -> None:
    """Take the cookie out of what the children of this process inherit."""
    environ.pop("RELEASE_COOKIE", None)
    source = _source(str(settings.place.cookie_source))
    if isinstance(source, dict) and source.get("from") == "variable":
        environ.pop(str(source.get("variable")), None)


def share(path: Path, group: int | None) -> None:
    """Let the members of this group read the cookie that the node made, and nobody else; None is for the owner only.

    Raises ConfigError when that can't be.
    """
    try:
        status = path.stat()
        wanted = (0o600, status.st_gid) if group is None else (0o640, group)
        if (status.st_mode & 0o777, status.st_gid) != wanted:
            path.chmod(0o600)
            os.chown(path, -1, wanted[1])
            path.chmod(wanted[0])
    except FileNotFoundError:
        pass  # it comes from elsewhere
    except OSError as error:
        who = "its owner" if group is None else "its owner and the members of `control_group`"
        raise ConfigError(f"the cookie in {path} is to be for {who} only: {error.strerror}") from None


def _source(path: str) -> object:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {"from": "node"}
    except (OSError, ValueError) as error:
        raise DamagedRelease(f"{path} can't be read: {error}; restore it from the release's archive") from None


def _made_by_node(var: str) -> str | None:
    """What the node has made, whoever asks: a file of the owner of `var`, and no link that leads to one of another."""
    path = os.path.join(var, names.COOKIE)
    try:
        with openat.directory(var) as directory:
            status = directory.status(names.COOKIE)
            if status is not None and stat.S_ISREG(status.st_mode) and status.st_mode & 0o037:
                mode = f"{status.st_mode & 0o777:04o}"
                raise ConfigError(f"others can read the cookie in {path} (its mode is {mode}); chmod 600 it")
            return _text(directory.read(names.COOKIE, _LARGEST, of_owner=True), path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror) from None


def _make(settings: Settings) -> str:
    import secrets

    from ..release.filesystem import directories
    from ..release.filesystem.atomic_files import replace

    path = settings.var.cookie
    cookie = secrets.token_urlsafe(_BYTES)
    try:
        directories.make(str(path.parent))
        replace(path, cookie + "\n", 0o600)
    except OSError as error:
        raise ConfigError(
            f"the cookie can't be written to {path}: {error.strerror}; set RELEASE_VAR to a directory that belongs to"
            " the user who runs the node"
        ) from None
    return cookie


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return _text(file.read(_LARGEST), path)
    except OSError as error:
        raise _unreadable(path, error.strerror) from None


def _text(data: bytes, path: str) -> str:
    try:
        cookie = data.decode().strip()
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not text") from None
    if not cookie:
        raise ConfigError(f"the cookie of this release is in {path}, which is empty")
    return cookie


def _unreadable(path: str, reason: str | None) -> ConfigError:
    return ConfigError(f"the cookie of this release is in {path}, which can't be read: {reason}")
