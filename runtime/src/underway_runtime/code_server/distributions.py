"""Distributions for importlib.metadata and its backport; few processes ask for any."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from collections.abc import Iterator
from importlib.metadata import DistributionFinder, PathDistribution
from pathlib import Path

from .finder import CodeServer


def find(server: CodeServer, context: DistributionFinder.Context | None) -> Iterator[PathDistribution]:
    """Find the distribution that the context names, or all; none where the context does not look into lib."""
    if context is None:
        context = DistributionFinder.Context()
    if server.lib not in map(os.fspath, context.path):
        return
    # The backport, importlib_metadata, expects to get its own class.
    asking = sys.modules.get(type(context).__module__)
    distribution = getattr(asking, "PathDistribution", importlib.metadata.PathDistribution)
    distributions = server.index.distributions
    for name in distributions if context.name is None else [_canonical(context.name)]:
        if name in distributions:
            yield distribution(Path(server.lib, distributions[name]))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
