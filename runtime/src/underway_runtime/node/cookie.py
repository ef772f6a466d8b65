"""The cookie: the secret that the nodes of a release share. Never logged, never on a command line."""

from __future__ import annotations

import json
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from ..release.errors import ConfigError, DamagedRelease
from .files import replace
from .settings import Settings

_BYTES = 32


def obtain(settings: Settings, environ: Mapping[str, str]) -> str:
    """The cookie of this node.

    ``RELEASE_COOKIE`` wins. Else ``releases/V/cookie.source`` says where it is: in a file, in a variable, or with the node,
    which makes it at its first boot and keeps it in ``var/COOKIE``, for the owner only. Raises ConfigError when it is
    not there or others can read the node's own, and DamagedRelease for the source.
    """
    if settings.cookie:
        return settings.cookie
    match _source(settings.place.cookie_source):
        case {"from": "node"}:
            return _own(settings.var.cookie)
        case {"from": "file", "file": str(file)}:
            return _read(Path(settings.root, file))
        case {"from": "variable", "variable": str(variable)}:
            if cookie := environ.get(variable):
                return cookie
            raise ConfigError(f"the cookie of this release comes from the variable {variable}, which is not set")
        case other:
            raise DamagedRelease(
                f"{settings.place.cookie_source} does not say where the cookie is: {json.dumps(other)}"
            )


def _source(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"from": "node"}
    except (OSError, ValueError) as error:
        raise DamagedRelease(f"{path} can't be read: {error}; restore it from the release's archive") from None


def _own(path: Path) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        cookie = secrets.token_urlsafe(_BYTES)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, cookie + "\n", 0o600)
        except OSError as error:
            raise ConfigError(
                f"the cookie can't be written to {path}: {error.strerror}; set RELEASE_VAR to a directory that belongs to"
                " the user who runs the node"
            ) from None
        return cookie
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"others can read the cookie in {path} (its mode is {mode:04o}); chmod 600 it")
    return _read(path)


def _read(path: Path) -> str:
    try:
        cookie = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"the cookie of this release is in {path}, which can't be read: {reason}") from None
    if not cookie:
        raise ConfigError(f"the cookie of this release is in {path}, which is empty")
    return cookie
