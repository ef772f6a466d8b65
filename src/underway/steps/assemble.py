"""assemble: the step that makes the release directory."""

from __future__ import annotations

from pathlib import Path

from underway_runtime.release.directory import ReleaseDirectory

from ..release import Release
from . import boot, closed, configuration, hostpaths, interpreter, libraries, timezones
from .manifest import draft, list_files
from .overlays import copy_overlays


def assemble(release: Release) -> Release:
    """Make the release directory; the tree is drawn in ``underway_runtime.release.directory``.

    Returns the release with the overlays that were copied and what each provider's ``init`` returned.
    """
    directory = ReleaseDirectory(release.path)
    place = directory.version(release.version)
    before = set(list_files(release.path))  # of steps that ran earlier: theirs to name in overlays
    place.path.mkdir(parents=True, exist_ok=True)

    # python-V/ and lib/NAME-V/, with releases/V/bin/python
    interpreter.copy_interpreter(release)
    interpreter.link_interpreter(release)
    for name in release.applications:
        libraries.copy_app(release, name)
    timezones.copy_time_zones(release)
    closed.close(release)
    libraries.compile_applications(release)
    libraries.write_code_index(release)

    # bin/NAME, releases/V/launcher and what it reads
    boot.write_launchers(release)
    boot.make_start_data(release, directory.start_data)
    boot.make_cookie(release, place.cookie_source)

    # releases/V/sys.config, runtime.py
    release = configuration.add_runtime_config(release)
    release, values = configuration.evaluate_config(release)
    configuration.make_sys_config(release, values)

    # releases/V/*.script, NAME.rel, releases/NAME-V.rel
    boot.write_boot_scripts(release)

    files = [path for path in list_files(release.path) if path not in before]
    hostpaths.check_paths(release, files)
    draft(release, files)
    return copy_overlays(release, [Path(path) for path in release.options.get("overlays", ())])
