"""What commands that begin without ``site`` find of the libraries of a release: those that they name, and of these nothing is run before
it is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from ..release.errors import DamagedRelease
from .finder import read_index


def find_libraries(root: str, version: str, distributions: Iterable[str]) -> None:
    """Have these found behind all else, those that the release has; where its index is damaged none, and `verify` says so."""
    try:
        index = read_index(f"{root}/releases/{version}/code.index").distributions
    except DamagedRelease:
        return
    directories = [index[name].partition("/")[0] for name in distributions if name in index]
    sys.path += [f"{root}/lib/{directory}" for directory in dict.fromkeys(directories)]
