"""assemble: the step that makes the release directory."""

from __future__ import annotations

import os
from pathlib import Path

from underway_runtime.release.directory import ReleaseDirectory

from ..release import Release
from ..toolchain import cache
from . import boot, configuration, interpreter, libraries, path_leaks, picture, sbom, timezones
from .binaries import cached_closure
from .manifest import draft, list_files
from .overlays import copy_overlays


def assemble(release: Release) -> Release:
    """Make the release directory; the tree is drawn in ``underway_runtime.release.directory``.

    Returns the release with the overlays that were copied and what each provider's ``init`` returned.
    """
    directory = ReleaseDirectory(release.path)
    version = directory.version(release.version)
    before = set(list_files(release.path))  # of steps that ran earlier: theirs to name in overlays
    version.path.mkdir(parents=True, exist_ok=True)

    # python-V/ and lib/NAME-V/, with releases/V/bin/python
    placed = interpreter.copy_interpreter(release) or {}
    interpreter.link_interpreter(release)
    for name in release.applications:
        placed |= libraries.copy_app(release, name) or {}
    with cache.here(release.path.parent / "cache", os.environ) as store:
        placed |= timezones.copy_time_zones(release, store)
        placed |= cached_closure.close(release, placed, store)
    libraries.compile_applications(release)
    libraries.write_code_index(release)

    # bin/NAME, releases/V/launcher and what it reads
    boot.write_launchers(release)
    boot.make_start_data(release, directory.start_data)
    boot.make_cookie(release, version.cookie_source)
    boot.write_gates(release)
    boot.write_heart(release, version.heart)

    # releases/V/sys.config, runtime.py
    release = configuration.configure(release)

    # releases/V/*.script, NAME.rel, releases/NAME-V.rel
    boot.write_boot_scripts(release)

    # releases/V/sbom.cdx.json
    sbom.write_sbom(release, placed)

    # releases/V/picture
    with cache.here(release.path.parent / "cache", os.environ) as store:
        placed |= picture.write_picture(release, placed, store)

    files = [path for path in list_files(release.path) if path not in before]
    path_leaks.check_paths(release, [path for path in files if path not in placed or path.endswith(".pth")])
    draft(release, files, placed)
    return copy_overlays(release, [Path(path) for path in release.options.overlay_paths])
