"""Names in ``var`` and ``releases/V`` that processes need which start without pathlib; ``directory`` has all the others.

And what may be a name at all. A version names a directory, a launcher that is executed and files in ``var``, and it comes from files
and processes of other users: whoever reads one asks `is_version` before it is a part of a path, of a command or of a message.
"""

from __future__ import annotations

import os

CONTROL = "control"
COOKIE = "COOKIE"
COOKIE_SOURCE = "cookie.source"
RUN = "run"

LONGEST = 100
"""Characters of the longest version, name of a release or id of an upgrade."""

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_OTHERS = _FIRST | frozenset(".+!_-")
_SHOWN = 40


def is_version(text: object) -> bool:
    """Whether this, of any type and from anybody, can be the version of a release. ``bin/NAME`` and the launcher have the same rule.

    >>> [is_version(text) for text in ("0.1.0", "1!2.0+local_1-a", "../../var/evil", "-1", "", "1.0\\n", "1.\\u0660", None)]
    [True, True, False, False, False, False, False, False]
    """
    return isinstance(text, str) and 0 < len(text) <= LONGEST and text[0] in _FIRST and _OTHERS.issuperset(text)


is_name = is_version
"""The same of the name of a release or an application, and of the id of an upgrade."""


def shown(text: object) -> str:
    """Something that is not a version, for a message: short, and nothing of it reaches a terminal as it is.

    >>> shown("1.0\\x1b[2J"), shown("a" * 1000)
    ("'1.0\\\\x1b[2J'", "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'...")
    """
    if not isinstance(text, str):
        return f"a {type(text).__name__}"
    return ascii(text[:_SHOWN]) + "..." * (len(text) > _SHOWN)


def path_text(path: object) -> str:
    """A path as a text that is the same for processes of any locale, which may take its bytes for other characters."""
    return os.fsencode(str(path)).decode("utf-8", "surrogateescape")


def is_unpacked(root: str, version: str) -> bool:
    """Whether a version is in a release directory: it has a launcher, and its manifest, without which it has not come whole or is going.

    Where no version has a manifest, as in what ``underway run`` makes, the launcher is enough. The launcher has the same rule.
    """
    releases = f"{root}/releases"
    if not is_version(version) or not os.path.isfile(f"{releases}/{version}/launcher"):
        return False
    if os.path.isfile(f"{releases}/{version}/manifest.json"):
        return True
    try:
        return not any(os.path.isfile(f"{releases}/{directory}/manifest.json") for directory in os.listdir(releases))
    except OSError:
        return False
