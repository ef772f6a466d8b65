"""A project's files -> what was found in them: each start once, with all the lines that say so, checked against the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..project import sources
from . import code, files, servers, surroundings
from .command_lines import command_lines
from .findings import CODE, DEPLOYED, HELPER, SCRIPT, Below, Findings, Place, Start

_UNPACKAGED = "the project has no [build-system], so that its modules are in a release only where one of them is what starts; give it one"
MAIN_FILES = ("main", "app", "api", "app.main", "app.app", "app.api")
"""Where `fastapi run` looks for an application, in this order."""
FLASK_FILES = ("wsgi", "app")
"""Where `flask run` does."""


def survey(root: Path) -> Findings:
    """Read the project in `root`; nothing of it is imported or run."""
    tree = files.read(root)
    parsed = code.modules(tree)
    scripts = _scripts(tree.document)
    raw = [*code.starts(parsed), *_from_scripts(tree, scripts)]
    for line in command_lines(tree):
        raw += servers.starts(line, scripts)
    raw += _from_settings(tree)
    if tree.below and not tree.is_project:
        raw = []  # what is started is below
    checked = [_checked(start, tree, parsed) for start in _resolved(raw, tree, parsed)]
    return Findings(
        root=root,
        starts=tuple(sorted(checked, key=lambda start: (start.rank, start.place))),
        settings=tuple(surroundings.settings(parsed)),
        env_files=surroundings.env_files(tree),
        migrations=tuple(surroundings.migrations(tree)),
        relative=tuple(surroundings.relative_paths(parsed)),
        below=tuple(Below(directory) for directory in tree.below),
        read=len(tree.texts),
        unread=tuple(tree.unread),
    )


def _scripts(document: Mapping[str, Any]) -> dict[str, str]:
    scripts = document.get("project", {}).get("scripts", {})
    return (
        {name: target for name, target in scripts.items() if isinstance(target, str)}
        if isinstance(scripts, dict)
        else {}
    )


def _from_scripts(tree: files.Tree, scripts: Mapping[str, str]) -> Iterator[Start]:
    for name, target in scripts.items():
        place = Place("pyproject.toml", _line(tree.texts["pyproject.toml"], name, target))
        yield Start("main", target.partition("[")[0].strip(), place, f"[project.scripts] {name}", SCRIPT)


def _from_settings(tree: files.Tree) -> Iterator[Start]:
    """What a table of FastAPI's own says."""
    entry = tree.document.get("tool", {}).get("fastapi", {}).get("entrypoint")
    if isinstance(entry, str):
        line = _line(tree.texts["pyproject.toml"], "entrypoint", entry)
        yield Start("asgi", entry, Place("pyproject.toml", line), "[tool.fastapi] entrypoint", DEPLOYED, "FastAPI")


def _line(text: str, *words: str) -> int:
    return next((n for n, line in enumerate(text.split("\n"), 1) if all(word in line for word in words)), 1)


def _resolved(raw: list[Start], tree: files.Tree, parsed: Mapping[str, code.Module]) -> Iterator[Start]:
    """The starts with whole references: what a server finds by itself is looked up as it does."""
    applications = [start for start in raw if start.rank == CODE and start.kind in ("asgi", "wsgi")]
    entry = next((start.reference for start in raw if start.how == "[tool.fastapi] entrypoint"), "")
    for written in raw:
        start, reference = written, written.reference
        if start.kind == "main" and start.framework.startswith("python"):
            module, _, name = reference.partition(":")
            module = next((end for end in _ends(module) if tree.path_of(end)), "")
            if not module and start.rank == HELPER:
                continue  # a tool, as python -m build
            start, reference = written, f"{module}:{name}" if module else reference
        directory, has_directory, rest = reference.partition("!")
        if has_directory:
            inner = f"{directory.replace('/', '.')}.{rest}"
            base = f"{directory}/" in tree.bases
            problem = (
                "" if base else f"it is started in the directory {directory}, from which a release does not import"
            )
            start, reference = replace(start, problem=start.problem or problem), rest if base else inner
        if reference.endswith(".py") or "/" in reference:  # fastapi run app/main.py, flask --app app/web.py
            reference = tree.module_of(reference.removeprefix("./")) or reference
        if not reference and tree.below:
            continue  # it is started in one of these
        if start.server not in ("", "flask", "fastapi") and not reference:
            continue  # a variable, or a file of settings, says it
        if start.kind in ("asgi", "wsgi") and ":" not in reference:
            reference = _looked_up(start, reference, entry, applications) or reference
            if ":" not in reference and start.framework not in ("flask", "fastapi"):
                continue  # an option that was taken for a module, or the server's own command
        yield replace(start, reference=reference)


def _ends(module: str) -> Iterator[str]:
    """The name of a module; of a file with an absolute path, which begins with a dot here, each name that it may have."""
    if not module.startswith("."):
        yield module
        return
    parts = module.strip(".").split(".")
    yield from (".".join(parts[index:]) for index in range(len(parts)))


def _looked_up(start: Start, module: str, entry: str, applications: list[Start]) -> str:
    if start.framework == "fastapi" and entry and not module:
        return entry
    order = (module,) if module else MAIN_FILES if start.framework == "fastapi" else FLASK_FILES
    for name in order:
        inside = [app for app in applications if app.reference.partition(":")[0] == name and not app.problem]
        named = [app for app in inside if app.reference.partition(":")[2] in ("app", "application", "api")]
        if named or len(inside) == 1:
            return (named or inside)[0].reference
    usable = [app for app in applications if not app.problem]
    return usable[0].reference if not module and len(usable) == 1 else ""


def _checked(start: Start, tree: files.Tree, parsed: Mapping[str, code.Module]) -> Start:
    """The start with what the code says of it: the kind that it really is, or why it can't be started."""
    if start.rank == CODE and start.kind in ("asgi", "wsgi") and start.how.endswith("application"):
        return start
    module_name, _, name = start.reference.partition(":")
    if start.kind == "main" and any("$" in arg or "{{" in arg for arg in start.args):
        return replace(start, problem="its arguments have variables, which a shell fills in and a release does not")
    if start.kind == "main" and start.reference in {reference for reference, _ in servers.WORKERS.values()}:
        return start if sources.builds(tree.root) else replace(start, problem=_UNPACKAGED)
    if start.how.startswith("python -m") or tree.path_of(f"{module_name}.__main__"):
        as_main = f"{module_name}.__main__"
        if start.kind == "main" and as_main in parsed:
            start, module_name = replace(start, reference=f"{as_main}:{name}"), as_main
    module = parsed.get(module_name)
    if start.problem and module is not None:
        return start
    if module is None:
        if start.rank == DEPLOYED or start.kind != "main" or not _is_elsewhere(module_name, parsed):
            what = (
                f"the project has no module {module_name!r} that is read"
                if module_name
                else "it does not say what it serves"
            )
            return replace(start, problem=start.problem or what)
        return start
    if not name:
        return replace(start, problem="it names no application, and several may be meant")
    binding = module.binds(name.partition(".")[0])
    if binding is None:
        return replace(start, problem=f"{module.path} has no {name!r} when it is imported")
    if start.kind == "main":
        if isinstance(binding, ast.AsyncFunctionDef):
            return replace(start, problem="it is async; a release calls a function: def start(): asyncio.run(...)")
        return start
    if name in module.factories and name not in module.applications:
        problem = f"{name} is a factory; a release takes the object that it makes: app = {name}() in a module, and that module:app"
        return replace(start, problem=problem)
    return _kind_by_code(start, module, name, parsed)


def _kind_by_code(start: Start, module: code.Module, name: str, parsed: Mapping[str, code.Module]) -> Start:
    known = module.applications.get(name)
    if known is None and name in module.imports:
        owner, _, inner = module.imports[name].rpartition(".")
        known = parsed[owner].applications.get(inner) if owner in parsed else None
    known = known or next(
        (parsed[star].applications[name] for star in module.stars if name in parsed.get(star, module).applications),
        None,
    )
    if known is None:
        return start
    kind, framework, _ = known
    if kind == "aiohttp":
        return replace(
            start,
            problem=f"{name} is an application of aiohttp, which serves itself: name a function that calls web.run_app",
        )
    if kind not in ("asgi", "wsgi"):
        return replace(start, problem=f"{name} is an application of {framework}, which is not served over HTTP")
    return replace(start, kind=kind, framework=framework)


def _is_elsewhere(module: str, parsed: Mapping[str, code.Module]) -> bool:
    top = module.partition(".")[0]
    return not any(name == top or name.startswith(f"{top}.") for name in parsed)
