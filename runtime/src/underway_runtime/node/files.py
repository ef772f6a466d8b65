"""Writing a small file so that others see all of it or nothing."""

from __future__ import annotations

from ..release.files import replace as replace
