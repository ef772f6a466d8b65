"""Upgrade notes of applications: ``appup.py`` of the project, and those that libraries bring, compiled to ``lib/APP-V/APP.appup``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path

from underway_runtime import appup
from underway_runtime.release.directory import ReleaseDirectory

from ..errors import ProjectError, listing
from ..release import Release
from .release_code import ask

GROUP = "underway.appup"
"""The entry point group by which a wheel names its notes, ``"module:attribute"``."""

_PROGRAM = "from underway_runtime.appup import evaluate; evaluate()"


def write_appups(release: Release) -> list[Path]:
    """Compile every appup, put it with its application's code, and return what was written.

    Raises ProjectError with what is wrong with them: what raised, what makes no appup, one that is for another version.
    """
    directory = ReleaseDirectory(release.path)
    written, problems = [], []
    for name, question in _questions(release):
        text = _compiled(release, question)
        made, version = appup.parse(text), release.applications[name].version
        if made.version != version:
            where = os.path.relpath(question["file"]) if "file" in question else question["reference"]
            problems.append(f"{where} is for {name} {made.version}, and the release has {version}")
        file = directory.appup(release.applications[name].directory, name)
        file.write_text(text, encoding="utf-8")
        written.append(file)
    if problems:
        raise ProjectError(listing("upgrade notes are for other versions:", problems))
    return written


def _questions(release: Release) -> Iterator[tuple[str, dict[str, str]]]:
    """Each application that has notes, with where they are; the project's own file wins."""
    project_application = release.context.project_application
    if file := release.options.appup:
        if project_application not in release.applications:
            raise ProjectError(
                f"appup is {file!r}, and the project is not an application of the release that it could be for"
            )
        yield project_application, {"file": file}
    lib = ReleaseDirectory(release.path).lib
    for name, application in release.applications.items():
        if not application.dist_info or (file and name == project_application):
            continue
        points = Distribution.at(lib / application.directory / application.dist_info).entry_points
        for point in points.select(group=GROUP):
            yield name, {"reference": point.value}


def _compiled(release: Release, question: dict[str, str]) -> str:
    where = question.get("file") or question["reference"]
    return str(ask(release, ["-c", _PROGRAM], question, where, release.context.project))
