"""A project without a build backend, as ``uv init`` makes it: its sources as they lie, in the wheel that a backend would make.

==============================  =======================================================================================
of the project and its ``src``  goes into the wheel
==============================  =======================================================================================
modules                         but for setup.py, noxfile.py, conftest.py and tests
directories with modules        whole, but for hidden files and pycs; not tests, docs, what builds write, environments; nor
                                ``config`` and ``rel``, where they are no packages
``templates``, ``static``       whole: frameworks look for them next to the module
==============================  =======================================================================================

uv does not install such a project either; it runs its files where they are.
"""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from packaging.utils import canonicalize_name

from ..project import sources
from . import wheel_record

LEFT_OUT = {"build", "dist", "doc", "docs", "node_modules", "test", "tests", "site-packages"}
NO_PACKAGES = {"config", "rel"}
"""Directories that underway reads itself, unless they are packages."""
BESIDE = {"static", "templates"}
_NO_MODULES = {"conftest.py", "noxfile.py", "setup.py"}


def holds(project: Path, module: str) -> bool:
    """Whether a module lies in a project."""
    return module.partition(".")[0] in modules(project)


def modules(project: Path) -> list[str]:
    """The names at the top of what can be imported."""
    names = {path.partition("/")[0].removesuffix(".py") for path in files(project) if path.endswith(".py")}
    return sorted(name for name in names if name.isidentifier())


def scripts(project: Path, module: str) -> list[str]:
    """The modules next to the one that starts, which may be scripts: they are imported when they are used, and not before."""
    top = module.partition(".")[0]
    names = (path.removesuffix(".py") for path in files(project) if "/" not in path and path.endswith(".py"))
    return sorted(name for name in names if name != top)


def files(project: Path) -> dict[str, Path]:
    """What goes into the wheel, by its path there; what is in ``src`` comes first."""
    places: dict[str, Path] = {}
    for base in (project / "src", project):
        if base.is_dir() and not (base != project and _starts_in_src(project)):
            for path, file in _below(base, project):
                places.setdefault(path, file)
    return dict(sorted(places.items()))


def wheel(project: Path, out: Path) -> Path:
    """Make the wheel of a project in the directory `out`, which is made."""
    table = sources.document(project)["project"]
    name, version = canonicalize_name(table["name"]).replace("-", "_"), str(table.get("version", "0"))
    requires = [f"Requires-Dist: {requirement}" for requirement in table.get("dependencies", ())]
    info = f"{name}-{version}.dist-info"
    content = {path: file.read_bytes() for path, file in files(project).items()}
    content[f"{info}/METADATA"] = _lines(
        "Metadata-Version: 2.1", f"Name: {table['name']}", f"Version: {version}", *requires
    )
    content[f"{info}/WHEEL"] = _lines(
        "Wheel-Version: 1.0", "Generator: underway", "Root-Is-Purelib: true", "Tag: py3-none-any"
    )
    rows = [(path, wheel_record.digest(data), str(len(data))) for path, data in content.items()]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*rows, (f"{info}/RECORD", "", "")])
    content[f"{info}/RECORD"] = text.getvalue().encode()
    out.mkdir(parents=True, exist_ok=True)
    made = out / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for path, data in content.items():
            member = zipfile.ZipInfo(path)
            member.external_attr = 0o644 << 16
            archive.writestr(member, data)
    return made


def _lines(*lines: str) -> bytes:
    return ("\n".join(lines) + "\n").encode()


def _below(base: Path, project: Path) -> Iterator[tuple[str, Path]]:
    for entry in sorted(base.iterdir()):
        if entry.name.startswith(".") or entry.is_symlink():
            continue
        if entry.is_file() and entry.suffix == ".py" and entry.stem.isidentifier() and not _is_tool(entry.name):
            yield entry.name, entry
        elif entry.is_dir() and _is_taken(entry, project):
            yield from ((file.relative_to(base).as_posix(), file) for file in _whole(entry))


def _is_tool(name: str) -> bool:
    return name in _NO_MODULES or name.startswith("test_") or name.endswith("_test.py")


def _is_taken(directory: Path, project: Path) -> bool:
    name, is_package = directory.name, (directory / "__init__.py").is_file()
    if name in LEFT_OUT or (directory / "pyvenv.cfg").exists() or (directory / "CACHEDIR.TAG").exists():
        return False
    if directory == project / "src" and not is_package:
        return _starts_in_src(project)
    if not is_package and name in NO_PACKAGES:
        return False
    return name in BESIDE or (name.isidentifier() and any(file.suffix == ".py" for file in _whole(directory)))


def _starts_in_src(project: Path) -> bool:
    """Whether what starts is called ``src.module``: then ``src`` is a package itself."""
    table = sources.document(project).get("tool", {}).get("underway", {})
    releases = table.get("releases", {})
    tables = [table, *(releases.values() if isinstance(releases, dict) else ())]
    starts = [
        definition.get(kind)
        for definition in tables
        if isinstance(definition, dict)
        for kind in ("asgi", "main", "wsgi")
    ]
    return any(str(start).startswith("src.") for start in starts)


def _whole(directory: Path) -> Iterator[Path]:
    for top, directories, names in os.walk(directory):
        if os.path.exists(os.path.join(top, "releases", "start.data")):
            directories.clear()  # a release that was made here
            continue
        directories[:] = sorted(below for below in directories if not below.startswith(".") and below != "__pycache__")
        for name in sorted(names):
            file = Path(top, name)
            if not name.startswith(".") and file.suffix != ".pyc" and not file.is_symlink():
                yield file
