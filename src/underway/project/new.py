"""A new project from a template: a directory that is whole and locked, or not there."""

from __future__ import annotations

import keyword
import os
import re
import sys
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path

from ..errors import BuildError, ProjectError, listing
from ..toolchain import uv
from ..toolchain.held import held
from .project import LONGEST_NAME, NAME

TEMPLATES = ("service", "stream")
RUNTIME = "underway-runtime"

_MODULE = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = frozenset({"tests", "config", "underway", "underway_runtime", "cluster"})
"""What a module of a project can't be called: directories of the template, and what a release brings itself."""


def make(
    path: Path, template: str, module: str | None = None, *, develop: Path | None = None, lock: bool = True
) -> list[str]:
    """Make a project at `path`, named after its last part, and return its files, sorted.

    With `develop` it takes the runtime from that checkout of underway, or from that wheel, where it depends on it.

    Raises ProjectError for a path that is there and for names that can't be used, with everything that is wrong, and BuildError
    when uv can't lock it. Nothing is left then.
    """
    name = path.name
    module = module if module is not None else name.replace("-", "_")
    if problems := [*_problems(path, name, module, template, develop)]:
        raise ProjectError(listing(f"there can't be a new project at {path}:", problems))
    path.parent.mkdir(parents=True, exist_ok=True)
    with held(f".{name}.new-", path.parent) as scratch:
        made = scratch / name
        with as_file(files("underway") / "templates" / "new" / template) as source:
            _copy(source, made, _words(name, module))
        if develop is not None:
            given = f'path = "{develop}"' if develop.is_file() else f'path = "{develop}/runtime", editable = true'
            origin = f"\n[tool.uv.sources]\nunderway-runtime = {{ {given} }}\n"
            with (made / "pyproject.toml").open("a", encoding="utf-8") as pyproject:
                pyproject.write(origin)
        if lock:
            _lock(made, develop)
        os.rename(made, path)
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def _lock(made: Path, develop: Path | None) -> None:
    try:
        uv.lock(made)
    except BuildError as error:
        if develop is None and RUNTIME in str(error):
            raise BuildError(
                f"{error}\nwhere no index has {RUNTIME}, --develop PATH takes it from a checkout of underway, or from its"
                f" wheel, which `uv build --package {RUNTIME}` makes there"
            ) from None
        raise


def _problems(path: Path, name: str, module: str, template: str, develop: Path | None) -> Iterator[str]:
    if os.path.lexists(path):
        yield "it exists already; choose another path"
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        yield f"{name!r} can't name a project; use lower-case letters, digits, _ and -, beginning with a letter"
    if not _MODULE.fullmatch(module) or keyword.iskeyword(module) or keyword.issoftkeyword(module):
        yield f"{module!r} can't name a module; --module says another"
    elif module in sys.stdlib_module_names or module in _TAKEN:
        yield f"the module {module!r} would hide another of that name; --module says another"
    if develop is not None and not (_is_wheel(develop) or (develop / "runtime/pyproject.toml").is_file()):
        yield f"{develop} is neither a checkout of underway, with runtime/pyproject.toml, nor a wheel of {RUNTIME}"
    if develop is not None and template != "stream":
        yield f"a {template} does not depend on the runtime; leave out --develop"
    if template == "stream" and name == "cluster":
        yield "a release called cluster would have two commands of one name"


def _is_wheel(path: Path) -> bool:
    return path.is_file() and path.name.startswith("underway_runtime-") and path.suffix == ".whl"


def _words(name: str, module: str) -> dict[str, str]:
    """The words of the templates, which are the names of a project that works as it is."""
    application = name.replace("-", "_")
    return {"app-name": name, "app_name": application, "APP_NAME": application.upper(), "app_module": module}


def _copy(source: Path, target: Path, words: dict[str, str]) -> None:
    for file in sorted(source.rglob("*")):
        if file.is_dir() or "__pycache__" in file.parts:
            continue
        copy = target / _filled(str(file.relative_to(source)), words)
        if copy.name == "gitignore":
            copy = copy.with_name(".gitignore")
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            copy.write_text(_filled(file.read_text(encoding="utf-8"), words), encoding="utf-8")
        except OSError as error:
            raise BuildError(f"{copy} can't be written: {error.strerror}") from error


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text
