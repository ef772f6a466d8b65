"""Which of two versions is the older one.

===============================  ======================================================================================
two versions                     are compared
===============================  ======================================================================================
both as PEP 440 has them         as PEP 440 does: ``1.0.dev1 < 1.0a1 < 1.0b2 < 1.0rc1 < 1.0 < 1.0+local < 1.0.post1 < 1.1``,
                                 an epoch before all else (``2!0.1``); ``1.0``, ``v1`` and ``1.0.0`` are the same
any others                       piece by piece, numbers as numbers and before words, words as text: ``build-9 < build-10``
===============================  ======================================================================================

The standard library only: this is in every release.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cmp_to_key
from typing import Any

_PEP_440 = re.compile(
    r"""v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)
    (?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_number>\d*))?
    (?P<post>-(?P<post_short>\d+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_number>\d*))?
    (?P<dev>[-_.]?dev[-_.]?(?P<dev_number>\d*))?
    (?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
_PRE = {"alpha": 0, "a": 0, "beta": 1, "b": 1, "c": 2, "rc": 2, "pre": 2, "preview": 2}
_FINAL = 3


def is_older(one: str, other: str) -> bool:
    """Whether `one` precedes `other`.

    >>> is_older("1.0rc1", "1.0"), is_older("1.10", "1.9"), is_older("build-9", "build-10")
    (True, False, True)
    """
    keys = _pep_440(one), _pep_440(other)
    if keys[0] is None or keys[1] is None:
        return _pieces(one) < _pieces(other)
    return bool(keys[0] < keys[1])


def in_order(versions: Iterable[str]) -> list[str]:
    """Return them as they follow each other.

    >>> in_order(["0.10.0", "0.2.0", "0.2.0rc1", "0.1.0"])
    ['0.1.0', '0.2.0rc1', '0.2.0', '0.10.0']
    """

    def compare(one: str, other: str) -> int:
        return is_older(other, one) - is_older(one, other)

    return sorted(sorted(versions), key=cmp_to_key(compare))


def _pep_440(version: str) -> tuple[Any, ...] | None:
    """What its order is by; None where PEP 440 knows no such version."""
    match = _PEP_440.fullmatch(version)
    if match is None:
        return None
    release = [_number(part) for part in match["release"].split(".")]
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    pre = (_PRE[match["pre"].lower()], _number(match["pre_number"])) if match["pre"] else (_FINAL, 0)
    if not match["pre"] and not match["post"] and match["dev"]:
        pre = (-1, 0)  # 1.0.dev1 is before 1.0a1
    post = _number(match["post_short"] or match["post_number"]) if match["post"] else -1
    dev = (0, _number(match["dev_number"])) if match["dev"] else (1, 0)
    return _number(match["epoch"]), release, pre, post, dev, _pieces(match["local"] or "", local=True)


def _pieces(text: str, *, local: bool = False) -> list[tuple[int, int, str]]:
    """Numbers and words, for comparison; in a local version, as PEP 440 has it, words are before numbers."""
    pieces = re.split(r"[-_.]", text) if local else re.findall(r"\d+|[A-Za-z]+", text)
    number, word = (1, 0) if local else (0, 1)
    return [(number, _number(p), "") if p.isdigit() else (word, 0, p.lower()) for p in pieces if p]


def _number(digits: str | None) -> int:
    return int(digits) if digits else 0
