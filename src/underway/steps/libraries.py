"""lib/NAME-VERSION for each application, as its wheel holds it: copied, stripped, compiled, and indexed.

::

    lib/flask-3.1.0/flask/ flask-3.1.0.dist-info/    what the wheel put into site-packages
    releases/V/bin/flask                             what it put next to that, at the same place under the prefix
    releases/V/code.index                            importable name -> places in lib/, for the code server
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from underway_runtime.release.directory import ReleaseDirectory, minor

from ..errors import BuildError, listing
from ..packages import wheel_record
from ..packages.application_entries import entry_of, parts
from ..release import Application, Release
from ..toolchain.cached_tree import link, make_directory
from . import compiled_apps, modules, scripts
from .binaries import strip as stripping
from .cached_steps import Placed, put
from .import_index import importable

INDEX_FORMAT = 1


def copy_app(release: Release, name: str) -> Placed | None:
    """Copy an application: its code to ``lib/NAME-VERSION``, what it puts into the prefix to ``releases/V``.

    What is at ``lib/NAME-VERSION`` goes first. RECORD there lists what is in that directory, as it is. Returns what is known of
    the files, which is all of an application that is kept compiled, or None where there was nothing to copy. Raises
    BuildError when `name` is not in the release, when its RECORD names what may not be copied, and when it would replace a
    file of the release itself or of another application.
    """
    application = _application(release, name)
    target = ReleaseDirectory(release.path).lib / application.directory
    if target.exists() and not application.home:  # others have put theirs into a shared one
        shutil.rmtree(target)
    if (entry := entry_of(application)) is None:
        copied = copy_code(release, name, target)
        if copied:
            _copy_beside(release, application)
        return {} if copied else None
    in_home, outside = parts(entry)
    _check_outside(release, application, outside)
    known = put(release, entry, target, in_home, below=entry.facts["home"], prepared=True)
    return known | put(release, entry, release.version_path, outside)


def copy_code(release: Release, name: str, target: Path) -> bool:
    """Copy what an application has in site-packages to the directory `target`, honouring the option ``strip``.

    RECORD is written again, to list what is in `target`. Returns whether there was something to copy: an application that was not
    installed from a distribution has nothing. Raises BuildError as `copy_app` does. After ``Mix.Release.copy_ebin/3``.
    """
    application = _application(release, name)
    if not application.dist_info:
        return False
    entries = wheel_record.read(application.source, application.dist_info)
    files = [entry.path for entry in entries if not entry.is_outside]
    for file in files:
        _link_file(application.source / file, target / file)
    wheel_record.write(target, application.dist_info, files)
    stripping.strip(target, release.options.strip, [target / file for file in files])
    return True


def compile_applications(release: Release) -> None:
    """Compile every module in ``lib`` that is not yet, with the release's interpreter; the same source gives the same bytes.

    With the option ``strip = { docstrings = true }`` docstrings are left out of what is compiled; asserts and line numbers stay.
    Files that do not compile are passed over: wheels hold templates, and code for other versions. Raises BuildError when
    the interpreter fails.
    """
    lib = ReleaseDirectory(release.path).lib
    files = sorted(
        path.relative_to(release.path).as_posix()
        for application in release.applications.values()
        if entry_of(application) is None
        for path in (lib / application.directory).rglob("*.py")
        if path.is_file()
    )
    compiled_apps.compile_modules(_compiler(release), release.path, files, release.options.keeps_docstrings)


def write_code_index(release: Release) -> None:
    """Write ``releases/V/code.index`` from what is in ``lib`` and the interpreter, compiled."""
    file = ReleaseDirectory(release.path).version(release.version).code_index
    make_directory(file.parent)
    index = {**code_index(release), "code": modules.code_listing(release)}
    file.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    file.chmod(0o644)


def code_index(release: Release) -> dict[str, Any]:
    """Where everything that can be imported is, as the code server reads it; directories are below ``lib``.

    Of several places of one name the regular package comes first, then a module, then what only adds to a namespace; among
    equals, by application.
    """
    lib = ReleaseDirectory(release.path).lib
    top: dict[str, list[tuple[int, str]]] = {}
    packages: dict[str, list[tuple[int, str]]] = {}
    distributions: dict[str, str] = {}
    pth: list[tuple[str, str]] = []
    for application in sorted(release.applications.values(), key=lambda app: app.name):
        home = application.directory
        if not (lib / home).is_dir():
            continue
        distributions[canonicalize_name(application.name)] = f"{home}/{application.dist_info}"
        entry = entry_of(application)
        importables = importable(lib / home) if entry is None else entry.facts["importable"]
        for names, into in ((importables["top"], top), (importables["packages"], packages)):
            for name, rank in names:
                into.setdefault(name, []).append((rank, home))
        pth += [(name, f"{home}/{name}") for name in importables["pth"]]
    return {
        "format": INDEX_FORMAT,
        "top": {name: _places(places) for name, places in top.items()},
        "shared": {name: homes for name, places in packages.items() if len(homes := _places(places)) > 1},
        "distributions": distributions,
        "pth": [path for _, path in sorted(set(pth))],
    }


def _application(release: Release, name: str) -> Application:
    if name not in release.applications:
        raise BuildError(f"{name!r} is not in the release; it has {', '.join(sorted(release.applications))}")
    return release.applications[name]


def _copy_beside(release: Release, application: Application) -> None:
    """Copy what a wheel put into the prefix, each file to the same place under ``releases/V``."""
    prefix = application.source.parents[wheel_record.DEPTH - 1]
    home = application.source.relative_to(prefix)
    entries = wheel_record.read(application.source, application.dist_info)
    paths = [os.path.normpath(home / entry.path) for entry in entries if entry.is_outside]
    _check_outside(release, application, paths)
    for path in paths:
        _link_file(prefix / path, release.version_path / path)
        scripts.settle(release.version_path / path)
        stripping.strip(release.version_path / path, release.options.strip)


def _check_outside(release: Release, application: Application, paths: Iterable[str]) -> None:
    """Raise BuildError for paths below ``releases/V`` that are the release's own."""
    if not (paths := list(paths)):
        return
    ours = _reserved(release)
    problems = [
        f"{path} is a file of the release itself"
        for path in paths
        if path in ours or ("/" not in path and path.endswith((".rel", ".script")))
    ]
    if problems:
        raise BuildError(listing(f"{application.name} {application.version} can't be released:", problems))


def _reserved(release: Release) -> set[str]:
    """The paths below ``releases/V`` that no wheel may bring."""
    version = ReleaseDirectory(release.path).version(release.version)
    python = f"python{minor(release.interpreter_version)}"
    reserved = (
        *(
            version.manifest,
            version.code_index,
            version.pyvenv_cfg,
            version.sys_config,
            version.cookie_source,
            version.launcher,
        ),
        *(
            version.sbom,
            version.glibc,
            version.relup,
            version.env_sh,
            version.python_args,
            version.remote_python_args,
            version.runtime_config,
        ),
        *(version.heart, version.build_config, version.unit("service"), version.unit("socket")),
        *(version.python, version.python.with_name("python3"), version.python.with_name(python)),
    )
    return {path.relative_to(version.path).as_posix() for path in reserved}


def _link_file(source: Path, target: Path) -> None:
    """Link a file of the stage, which is made for one build and goes after it; copy where that can't be."""
    make_directory(target.parent)
    target.unlink(missing_ok=True)
    link(source, target)
    target.chmod(0o755 if target.stat().st_mode & 0o100 else 0o644)  # other users must be able to read it


def _compiler(release: Release) -> Path:
    """The interpreter of the release, or, where it has none of its own, the one that it was staged for."""
    root = ReleaseDirectory(release.path).interpreter(release.interpreter_version)
    python = root / "bin" / f"python{minor(release.interpreter_version)}"
    sources = [application.source for application in release.applications.values()]
    return python if python.exists() or not sources else sources[0].parents[wheel_record.DEPTH - 1] / "bin/python"


def _places(ranked: Iterable[tuple[int, str]]) -> list[str]:
    return list(dict.fromkeys(home for _, home in sorted(ranked, key=lambda item: item[0])))
