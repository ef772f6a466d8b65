"""What a picture is made of: nodes, the labels of their edges, and paths.

A label says how one object holds another, in the way in which one would write it where Python has a way:

=====================  ===============================================================================================
``.name``              attribute of an object, name in a module, member of a class
``[6]``  ``['key']``   element of a list, tuple or deque; value of a dict
``[#1a2b3c4d5e6f]``    value of a dict whose key is a text that the picture does not tell
``[class shop.A]``     value of a dict whose key is an object, by what that is; ``<key [class shop.A]>`` leads to the key
``{'a'}``              element of a set, by what it is
``<base 0>``           what Python has no way to write: ``<cell NAME>``, ``<default N>``, ``<kwdefault NAME>``, ``<self>`` ...
=====================  ===============================================================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from . import objects

DIGITS = 16
"""Hexadecimal digits of a digest in a picture."""

LONGEST = 80
"""Characters of a key that is written as a label; a longer one is a digest."""


SHORT = 6
"""Digits of a number that nobody would call a secret."""


class Flag:
    """What a walk needs to know of a node besides what it is: bits. No `IntFlag`, which makes a walk take twice as long."""

    MUTABLE = 1
    """It may be changed, or be asked for by identity: two names for one such object are not two such objects."""
    ORDERED = 2
    """A dict: the order of its edges can be seen."""
    SEQUENCE = 4
    """A list, tuple or deque: its edges are in a row."""
    OPAQUE = 8
    """It has state that nothing here can see."""
    NAMED = 16
    """It is told by its name only: it belongs to what was not walked."""
    NOISE = 32
    """It differs between two imports of one version: it is not compared."""
    UNSETTLED = 128
    """Which elements it has, or their order, differs between two imports of one version: what comes or goes is not told."""
    CODE = 64
    """Its digest is that of code."""
    WHOLE = 256
    """In an excerpt: it holds what the edges say, and nothing more."""


class Node(NamedTuple):
    """One object of a picture."""

    type: str
    """``module.qualname`` of its type."""
    name: str
    """What a module, class, function or the like is called, ``module:qualname``; empty for others."""
    digest: str
    """Of a plain value or of code; empty where the edges say it all."""
    flags: int
    """Of `Flag`."""
    edges: tuple[tuple[str, int], ...]
    """What it holds: labels, and numbers of nodes."""


class Path(tuple[str, ...]):
    """The way to an object from its module: the module's name, and labels.

    >>> str(Path(("shop.web", ".app", ".router", ".routes", "[6]")))
    'shop.web.app.router.routes[6]'
    """

    __slots__ = ()

    def __str__(self) -> str:
        return "".join(self)

    def __truediv__(self, label: str) -> Path:
        return Path((*self, label))


class Seen(NamedTuple):
    """What one look at an object tells; the objects that it holds are still themselves."""

    name: str = ""
    digest: str = ""
    flags: int = Flag.MUTABLE
    edges: Sequence[tuple[str, Any]] = ()


PLAIN = (str, int, bool, type(None), bytes, float, complex, type(...))
"""Types whose values have a text by which a key or an element is told."""
_PLAIN = frozenset(map(id, PLAIN))


def is_plain(value: object) -> bool:
    """Whether a value is of exactly one of the types in `PLAIN`."""
    return id(type(value)) in _PLAIN


def is_told(key: Any) -> bool:
    """Whether a key is wholly told by its label."""
    kind = type(key)
    return is_plain(key) or ((kind is tuple or kind is frozenset) and all(map(is_plain, key)))


def digest_of(text: str) -> str:
    """The digest of a text, as it stands in pictures."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGITS // 2).hexdigest()


def key_label(key: object) -> str:
    """A key of a dict as a label, without asking it."""
    told = _label_of(key)
    return f"[{told}]" if len(told) <= LONGEST else f"[#{digest_of(told)[:12]}]"


def element_label(value: object) -> str:
    """An element of a set as a label, without asking it."""
    told = _label_of(value)
    return f"{{{told}}}" if len(told) <= LONGEST else f"{{#{digest_of(told)[:12]}}}"


def _label_of(key: Any) -> str:
    if is_plain(key):
        return plain_text(key)
    kind = type(key)
    if kind is tuple and all(map(is_plain, key)):
        return f"({', '.join(map(plain_text, key))})"
    if kind is frozenset and all(map(is_plain, key)):
        return f"frozenset({', '.join(sorted(map(plain_text, key)))})"
    if issubclass(kind, type):
        return f"class {objects.name_of(key)}"
    return objects.identified(key)


def plain_text(value: Any) -> str:
    """A plain value as one would write it; a number that is too long to be written in tens, in another way."""
    return hex(value) if type(value) is int and abs(value) > 1 << 1024 else repr(value)


def hidden_label(label: str) -> str:
    """A label as it is in a picture that does not tell what keys say: texts, and numbers of more than `SHORT` digits."""
    told = label[1:-1]
    if label[:1] in "[{" and (
        told[:1] in ("'", '"', "b", "(") or told[:10] == "frozenset(" or (len(told) > SHORT and told.isdecimal())
    ):
        return f"{label[0]}#{digest_of(label[1:-1])[:12]}{label[-1]}"
    return label
