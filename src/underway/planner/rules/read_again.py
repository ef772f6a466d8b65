"""Files that are read each time, or kept by what is told to read them again: templates, and what a server gives out as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..releases import Opened

TEMPLATE, STATIC = "template", "static file"
"""Kinds of such files, by the name of a directory above them."""

_DIRECTORIES = {"templates": TEMPLATE, "jinja2": TEMPLATE, "static": STATIC}

_READS = re.compile(
    r"\b(open|fdopen|read_text|read_bytes|get_data|as_file)\s*\(|\bimportlib[._]resources\b|\bimport resources\b"
)
"""How code reads files by itself, by its text: what it does with them nobody knows."""

_OTHERS = {
    TEMPLATE: (
        "mako",
        "chameleon",
        "genshi",
        "cheetah3",
        "tornado",
        "bottle",
        "pystache",
        "chevron",
        "minijinja",
        "tonnikala",
    ),
    STATIC: ("whitenoise", "django", "jinja2_fragments", "flask_assets", "webassets"),
}
"""Distributions that read such files too, and keep what they have read."""


def kind(path: str) -> str:
    """Which kind a file of an application is of, by where it is; empty for none."""
    parts = path.split("/")[:-1]
    return next((_DIRECTORIES[part] for part in parts if part in _DIRECTORIES), "")


def problem(sides: Sequence[Opened], name: str, of: str) -> str:
    """Why a file of this kind may have been read and kept by somebody else than Jinja, Django or a server; empty if not."""
    for side in sides:
        if others := [distribution for distribution in _OTHERS[of] if distribution in side.rel]:
            return f"{others[0]} may have read it already, and keeps what it has read"
        for module, text in side.texts(name):
            if (call := _READS.search(text)) is not None:
                return f"{module} reads files by itself ({call[0].strip()}), and may have read it already"
    return ""
