"""Modules that ask, when they are imported, whether there is another one: a process that runs has been answered.

``try: import orjson``, ``find_spec("orjson")``, ``import_module(name)``, ``version("orjson")``: where a distribution or a module comes or
goes, whoever has asked for it, in the release or in a library of it, goes on with the answer of before. Which modules may have asked
is told by their text; whether it makes a difference to them, only by a look.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import cached_property

from underway_runtime.release.relup import Row

from .. import tests
from ..releases import Opened
from .imports_by_text import absolute, imported

ASKED = "presence"
"""What such a row calls the change."""

_RUNTIME = "underway_runtime"
"""What answers such questions in a release, and is told of another version."""
_TEXT = re.compile(r"""['"](\.*[A-Za-z_][\w.-]*)(?::[\w.]+)?['"]""")
"""A text that may be the name of a module, or of something in one, or of a distribution."""
_BY_PARTS = re.compile(
    r"\b(find_spec|import_module|__import__|find_loader|get_loader|resolve_name|run_module|import_string|sys\.modules)\b"
)
"""What is given a name that may be put together."""
_METADATA = re.compile(r"\b(importlib[._]metadata|pkg_resources)\b")
_LISTING = re.compile(r"\b(distributions|packages_distributions|working_set)\b")
"""What answers by all distributions that there are."""
_POINTS = re.compile(r"\b(entry_points|iter_entry_points)\b")


@dataclass(frozen=True)
class _Presence:
    """What only one of two releases has."""

    old: Opened
    new: Opened

    @cached_property
    def modules(self) -> Set[str]:
        return self.old.modules.keys() ^ self.new.modules.keys()

    @cached_property
    def distributions(self) -> Set[str]:
        return self.old.rel.keys() ^ self.new.rel.keys()

    @cached_property
    def has_entry_points(self) -> bool:
        """Whether one of these distributions has entry points."""
        return any(
            path.endswith(".dist-info/entry_points.txt")
            for name in self.distributions
            for side in (self.old, self.new)
            for path in side.below.get(side.homes.get(name, ""), {})
        )

    def asked_for(self, side: Opened, module: str) -> set[str]:
        """The names that a module, which both have, may ask for, by its text on one side."""
        file = side.root / side.modules[module][1]
        text = file.read_text(encoding="utf-8", errors="replace")
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        texts = {absolute(name, package) for name in _TEXT.findall(text)}
        names = self.modules & (imported(text, package) | texts)
        if _BY_PARTS.search(text):
            names |= self.modules & {f"{package}.{name}" for name in texts}
        if _METADATA.search(text):
            names |= self.distributions & {re.sub(r"[-.]+", "_", name).lower() for name in texts}
            every = _LISTING.search(text) or (self.has_entry_points and _POINTS.search(text))
            names |= self.distributions if every else set()
        return {*names}


def asking(old: Opened, new: Opened) -> Iterator[Row]:
    """Tell which modules of both releases may ask for what only one has: a row each, until somebody looks."""
    presence = _Presence(old, new)
    if not presence.modules | presence.distributions:
        return
    for module in sorted(old.modules.keys() & new.modules.keys()):
        if tests.is_test(module) or module.endswith("__main__") or module.partition(".")[0] == _RUNTIME:
            continue
        names = presence.asked_for(new, module)
        if names and (names := names & presence.asked_for(old, module)):
            name = min(names)
            comes = name in new.modules or name in new.rel
            reason = (
                f"it may have asked whether there is {name}, which {'comes' if comes else 'goes'}, when it was imported"
            )
            yield Row(module, "", ASKED, "RESTART", reason, new.modules[module][1])
