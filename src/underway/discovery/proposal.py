"""What a project's table should be, what is missing before its release can be made, and the next command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from underway_runtime.release.references import module_of

from ..errors import ProjectError
from ..project import project as projects
from . import choice as choices
from . import files
from .choice import Choice
from .findings import Below, Findings
from .servers import WORKERS
from .shipped import Shipped, shipped
from .survey import survey

_SERVERS = {"asgi": "uvicorn", "wsgi": "waitress"}
_WORKERS_NOTE = "{0} workers are told; `processes = {1}` in the table says in how many processes it runs"


@dataclass(frozen=True)
class Line:
    """A line of the table, who says so, and how sure it is."""

    key: str
    value: Any
    source: str
    sure: str


@dataclass(frozen=True)
class Proposal:
    """All that `underway init` has to say of a project."""

    findings: Findings
    choice: Choice
    lines: tuple[Line, ...]
    """What the table would be; empty where nothing was taken."""
    present: Mapping[str, Any] | None
    """The project's [tool.underway], or None where it has none."""
    shipped: Shipped
    notes: tuple[str, ...]
    missing: tuple[str, ...]
    """What stands in the way of the table, each with what to do; empty where it can be written."""
    next: tuple[str, ...]
    """Commands that come next, in their order."""

    @property
    def table(self) -> dict[str, Any]:
        """The lines as they are written."""
        return {line.key: line.value for line in self.lines}


def propose(root: Path, picked: str | None = None, listen: str | None = None) -> Proposal:
    """Look at the project in `root` and say what its table should be. Writes nothing.

    Raises ProjectError for a pyproject.toml that can't be read, and for a `picked` that was not found.
    """
    document = _document(root)
    findings = survey(root)
    name = canonicalize_name(str(document.get("project", {}).get("name", root.name)))
    brought = shipped(root, name, document)
    choice = choices.choose(findings.starts, brought.names, picked)
    if findings.below:
        findings = replace(findings, below=tuple(_below(root, below) for below in findings.below))
    present = document.get("tool", {}).get("underway")
    lines = _lines(choice, listen)
    missing = _missing(root, document, findings, choice)
    notes = _notes(choice, findings, document)
    return Proposal(
        findings=findings,
        choice=choice,
        lines=lines,
        present=present,
        shipped=brought,
        notes=tuple(notes),
        missing=tuple(missing),
        next=tuple(_next(root, document, choice, brought, findings, bool(missing))),
    )


def check(root: Path, table: Mapping[str, Any]) -> None:
    """Raise ProjectError where a release can't be described by this table; looks up nothing."""
    project = projects.read(root)
    projects.definition(replace(project, table=dict(table)))


def _document(root: Path) -> Mapping[str, Any]:
    path = root / "pyproject.toml"
    try:
        return projects.document_of(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ProjectError(f"{path} can't be read: {error}") from None


def _below(root: Path, below: Below) -> Below:
    findings = survey(root / below.directory)
    document = files.Tree(root / below.directory).document
    taken = choices.choose(findings.starts, shipped(root / below.directory, "", document).names).taken
    return Below(below.directory, (taken.start,) if taken else ())


def _lines(choice: Choice, listen: str | None) -> tuple[Line, ...]:
    taken = choice.taken
    if taken is None:
        return ()
    start = taken.start
    sources = ", ".join(dict.fromkeys(f"{line.place} ({line.how})" for line in taken.evidence))
    lines = [Line(start.kind, start.reference, sources, start.sure)]
    if start.args:
        lines.append(Line("args", list(start.args), str(start.place), start.sure))
    addresses, source, sure = ((listen,), "--listen", "certain") if listen else choices.listen_of(taken)
    if addresses:
        lines.append(Line("listen", list(addresses), source, sure))
    return tuple(lines)


def _missing(root: Path, document: Mapping[str, Any], findings: Findings, choice: Choice) -> list[str]:
    workspace = "workspace" in document.get("tool", {}).get("uv", {})
    named = isinstance(document.get("project", {}).get("name"), str)
    if not (root / "pyproject.toml").is_file():
        if findings.below:
            return ["there is no pyproject.toml here; the projects are below"]
        return ["there is no pyproject.toml; a release is made from a project that has one, and a lock"]
    if not named and not workspace:
        if "poetry" in document.get("tool", {}):
            return ["pyproject.toml has no [project]; what [tool.poetry] says belongs there"]
        return ["pyproject.toml has no [project] with a name; a release is made from a project"]
    if workspace and not named:
        return ["this is the root of a workspace; init its members, and name here which of them a release starts"]
    return []


def _notes(choice: Choice, findings: Findings, document: Mapping[str, Any]) -> list[str]:
    notes: list[str] = []
    if choice.taken:
        start = choice.taken.start
        notes += start.notes
        server = next((line.server for line in choice.taken.evidence if line.server in ("gunicorn", "uwsgi")), "")
        if start.kind == "wsgi" and server:
            notes.append(f"{server} serves it now; in a release waitress does")
        if start.workers and start.workers not in ("0", "1") and start.kind in _SERVERS:
            number = start.workers if start.workers.isdecimal() else '"auto"'
            notes.append(_WORKERS_NOTE.format(start.workers, number))
        for other in choice.candidates:
            if other is not choice.taken and other.has(0) and not other.start.problem and other.start.kind == "main":
                notes.append(
                    f"{other.start.place} starts another process, {other.start.how}: a release of its own"
                    " ([tool.underway.releases.NAME]); it is not in this table"
                )
    points = document.get("project", {}).get("entry-points", {})
    if isinstance(points, dict) and "underway.application" in points:
        notes.append(
            'pyproject.toml has entry points "underway.application": these start by themselves, and need no line here'
        )
    if findings.relative:
        places = ", ".join(f"{line} ({text})" for line, text in findings.relative)
        notes.append(
            f"paths that depend on the working directory: {places}; a release has another: Path(__file__).parent / ... finds what is"
            " next to the module"
        )
    if findings.migrations:
        notes.append("a release does not run migrations by itself; they are run where the tool finds its files")
    return notes


def _next(
    root: Path, document: Mapping[str, Any], choice: Choice, brought: Shipped, findings: Findings, is_missing: bool
) -> list[str]:
    if not (root / "pyproject.toml").is_file() and not findings.below:
        requirements = ["uv add -r requirements.txt"] if (root / "requirements.txt").is_file() else []
        return ["uv init --bare", *requirements, "underway init"]
    if "poetry" in document.get("tool", {}) and "project" not in document:
        return ["uvx migrate-to-uv", "underway init"]
    if is_missing or (choice.taken is None and not choice.candidates):
        startable = [below.directory for below in findings.below if below.starts]
        return [
            f"cd {directory} && underway init" for directory in (startable or [b.directory for b in findings.below])
        ]
    if choice.taken is None:
        usable = [candidate.start for candidate in choice.candidates if not candidate.start.problem]
        named = Counter(start.reference for start in usable)
        return [f"underway init --start {s.reference if named[s.reference] == 1 else s.place}" for s in usable]
    commands = []
    start = choice.taken.start
    needed = _SERVERS.get(start.kind)
    if start.reference in {reference for reference, _ in WORKERS.values()}:
        needed = module_of(start.reference).partition(".")[0]
    adds = bool(needed and needed not in brought.names)
    if adds:
        commands.append(f"uv add {needed}")
    if brought.lock is None and not adds:
        commands.append("uv lock")
    return [*commands, "underway release"]
