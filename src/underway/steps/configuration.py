"""Configuration at build: ``config/config.py`` evaluated, providers initialised, ``sys.config`` written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from underway_runtime.node.config import FORMAT, Values
from underway_runtime.release.directory import ReleaseDirectory

from ..errors import ProjectError
from ..release import Release

RUNTIME_FILE = "underway_runtime.node.config:PythonFile"
FLAGS = ("prune-runtime-sys-config-after-boot", "reboot-system-after-config", "start-distribution-during-config")
TIMEOUT = 300.0
"""Seconds that the project's own configuration code may take at build."""


def add_runtime_config(release: Release) -> Release:
    """Copy ``config/runtime.py`` to ``releases/V/runtime.py`` and make it the first provider; without one, nothing."""
    file = release.options.get("runtime-config-path")
    if not file or not Path(file).is_file():
        return release
    place = ReleaseDirectory(release.path).version(release.version).runtime_config
    shutil.copyfile(file, place)
    return replace(release, config_providers=((RUNTIME_FILE, place.name), *release.config_providers))


def evaluate_config(release: Release) -> tuple[Release, Values]:
    """Run ``config/config.py`` and each provider's ``init`` with the release's own interpreter and code.

    Returns the release with what each ``init`` returned in the place of its argument, and what the file states. Raises
    ProjectError with what the project's code raised.
    """
    file = release.options.get("config-path")
    file = file if file and Path(file).is_file() else None
    if not file and not release.config_providers:
        return release, {}
    answer = _in_release(
        release,
        {
            "file": file and str(file),
            "may_read": list(release.options.get("build-env", [])),
            "providers": [list(provider) for provider in release.config_providers],
        },
    )
    providers = tuple((reference, argument) for reference, argument in answer["providers"])
    return replace(release, config_providers=providers), answer["config"]


def make_sys_config(release: Release, values: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write ``releases/V/sys.config`` and return its path.

    Without providers it holds `values` as they are. With them it also holds the trigger that makes the boot run them: their names, what
    their ``init`` returned, and the options reboot-system-after-config, start-distribution-during-config and
    prune-runtime-sys-config-after-boot. After ``Mix.Release.make_sys_config/3``.
    """
    document: dict[str, Any] = {"format": FORMAT, "config": values}
    if release.config_providers:
        document["providers"] = [list(provider) for provider in release.config_providers]
        document["flags"] = {flag: bool(release.options.get(flag, False)) for flag in FLAGS}
    place = ReleaseDirectory(release.path).version(release.version).sys_config
    place.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return place


def _in_release(release: Release, question: Mapping[str, Any]) -> dict[str, Any]:
    python = ReleaseDirectory(release.path).version(release.version).python
    try:
        done = subprocess.run(
            [python, "-I", "-B", "-m", "underway_runtime.node.buildtime"],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith(("RELEASE_", "PYTHON"))},
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProjectError(f"config/config.py or a provider's init took more than {TIMEOUT:.0f} seconds") from None
    if done.returncode != 0:
        raise ProjectError(
            done.stderr.strip() or f"the configuration could not be evaluated (status {done.returncode})"
        )
    answer: dict[str, Any] = json.loads(done.stdout.rpartition("\n")[2])
    return answer
