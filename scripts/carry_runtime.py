"""The wheel of the tool carries the runtime, as its wheel unpacked: ``underway/_runtime``.

What `underway release` adds to a release is of the tool's own version then, and the tool is installed from a clone, a wheel or
an index alike. In an environment of this repository the runtime is what the workspace has.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.builders.wheel import WheelBuilder


class CarryRuntime(BuildHookInterface):
    """Builds the runtime before the tool, and has it included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        self._scratch = Path(tempfile.mkdtemp(prefix="underway-runtime-"))
        [wheel] = WheelBuilder(str(Path(self.root, "runtime"))).build(
            directory=str(self._scratch / "wheel"), versions=["standard"]
        )
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self._scratch / "runtime")
        build_data["force_include"][str(self._scratch / "runtime")] = "underway/_runtime"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            shutil.rmtree(self._scratch, ignore_errors=True)
