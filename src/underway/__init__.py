"""Releases for Python."""

import os
import sys

__version__ = "0.1.0"

_carried = os.path.join(os.path.dirname(__file__), "_runtime")
"""The runtime that this tool was built with; not there where it is run from its repository (scripts/carry_runtime.py)."""

if os.path.isdir(_carried) and _carried not in sys.path:
    sys.path.insert(0, _carried)
