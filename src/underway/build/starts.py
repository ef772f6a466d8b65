"""What starts in a release: what the project and the members of its workspace say, and which application that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from underway_runtime.release import references

from ..errors import ProjectError, did_you_mean, listing
from ..packages import unpackaged
from ..packages.applications import application_name, owner_of
from ..project import sources
from ..project.lock import workspace_members
from ..project.project import Definition, member_start
from ..release import Application

SERVERS = {"asgi": "uvicorn", "wsgi": "waitress"}
"""What serves in the release; the project locks it, so that it chooses the version."""


def starts_of(
    chosen: Definition,
    applications: Mapping[str, Application],
    owner: Callable[[Mapping[str, Application], str], str] = owner_of,
) -> dict[str, Mapping[str, Any]]:
    """What the project and the members of its workspace say starts, by the application that holds the module.

    `owner` says which application holds a module. Raises ProjectError where none does.
    """
    projects = workspace_members(chosen.project.root) if chosen.project.umbrella else {}
    given = [chosen.start, *(member_start(projects[name]) for name in members(chosen))]
    starts: dict[str, Mapping[str, Any]] = {}
    for start in filter(None, given):
        by_default = start.get("by-default", False)
        table = {key: value for key, value in start.items() if key != "by-default"}
        try:
            name = owner(applications, module_of(table))
        except ProjectError as error:
            if sources.builds(chosen.project.root):
                raise
            modules = unpackaged.modules(chosen.project.root)
            raise ProjectError(
                f"{error}; {chosen.project.root} has no [build-system], so its modules are taken as they lie, in it and in its"
                f" src: {', '.join(modules) or 'there are none'}{did_you_mean(module_of(table), modules)}"
            ) from None
        if not (by_default and applications[name].start):  # an Application class says more than a script
            starts[name] = table
    return starts


def members(chosen: Definition) -> list[str]:
    """The members of a workspace that the release lists."""
    if not chosen.project.umbrella:
        return []
    listed = {application_name(name) for name in chosen.options.applications}
    return [name for name in workspace_members(chosen.project.root) if application_name(name) in listed]


def lies(chosen: Definition) -> bool:
    """Whether what starts is a module of the project that nothing builds: it is taken from where it lies."""
    project, start = chosen.project, chosen.start
    if project.umbrella or sources.builds(project.root) or not start:
        return False
    return unpackaged.holds(project.root, module_of(start))


def module_of(start: Mapping[str, Any]) -> str:
    """The module in which what starts is."""
    return references.module_of(str(next(start[kind] for kind in ("asgi", "wsgi", "main") if kind in start)))


def check_servers(applications: Mapping[str, Application]) -> None:
    """Raise ProjectError with each application whose server is not in the lock."""
    problems = [
        f"{name} starts by {kind}, which {server} serves, and {server} is not in the lock: `uv add {server}`"
        for name, application in applications.items()
        for kind, server in SERVERS.items()
        if application.start and kind in application.start and server not in applications
    ]
    if problems:
        raise ProjectError(listing("servers are missing from the lock:", problems))


def nothing_starts(chosen: Definition) -> str:
    """The message for a release in which nothing starts: what could, and how to say so."""
    scripts = chosen.project.scripts
    hint = (
        f"; its scripts are {', '.join(f'{name} = {target!r}' for name, target in scripts.items())}" if scripts else ""
    )
    if not scripts and not sources.builds(chosen.project.root) and "main" in unpackaged.modules(chosen.project.root):
        hint = '; main.py of the project starts with main = "main:main"'
    return (
        f'nothing in this release starts{hint}; say what does: asgi = "module:app", wsgi = "module:app",'
        ' main = "module:function" in [tool.underway], or an Application class in the entry point group underway.application'
    )
