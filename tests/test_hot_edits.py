"""Edits of the kind that is made daily, of services of well-known frameworks: in the process that runs, as in a fresh start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TypeAlias

import pytest

import edits_aiohttp
import edits_depot
import edits_django
import edits_fastapi
import edits_flask
import edits_office
import edits_starlette
import edits_texts
import edits_till
import edits_worker
from code_server_helpers import Interpreter
from node_helpers import MakeNode, nodes
from service_edits import Edit, Running, edited

pytestmark = pytest.mark.in_place

TABLES = {
    "fastapi": edits_fastapi,
    "starlette": edits_starlette,
    "flask": edits_flask,
    "django": edits_django,
    "aiohttp": edits_aiohttp,
    "worker": edits_worker,
    "till": edits_till,
    "depot": edits_depot,
    "office": edits_office,
    "texts": edits_texts,
}
IN_THE_GATE = ("fastapi", "flask", "django", "worker")
ROWS = [
    pytest.param(
        *(name, edit),
        id=f"{name}: {edit.name}",
        marks=() if name in IN_THE_GATE and edit.up != "RESTART" else (pytest.mark.drill,),
    )
    for name, table in TABLES.items()
    for edit in table.EDITS
]
"""The gate tries one of each of these services, of those that a process follows."""
Runs: TypeAlias = dict[str, Running]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, interpreter: Interpreter) -> Iterator[Runs]:
    """A service of each framework, made when it is first asked for; each stays in one process for all its edits."""
    with ExitStack() as cleanup:
        make = cleanup.enter_context(nodes(tmp_path_factory.mktemp("services"), interpreter))

        class Services(dict[str, Running]):
            made = 0

            def __missing__(self, name: str) -> Running:
                table = TABLES[name]
                self.made += 1
                self[name] = Running(table.SERVICE, make, interpreter, f"{name}-{self.made}")
                self[name].serves([*table.SERVICE.requests, *(each for edit in table.EDITS for each in edit.requests)])
                return self[name]

        yield Services()


@pytest.mark.sample("name")
@pytest.mark.parametrize(("name", "edit"), ROWS)
def test_an_edit_has_its_verdict_and_the_process_becomes_as_a_fresh_start(running: Runs, name: str, edit: Edit) -> None:
    """The plan says exactly this, up and down; where that is in place the process answers as a fresh start, and keeps what it holds.

    Where only the way up is, the next edit is of another process.
    """
    service = running[name]
    version, made = service.planned(edited(service.service.files, edit.changes), edit.library)
    assert (made.up[0].verdict, made.down[0].verdict) == (edit.up, edit.down), [
        made.up[0].changes,
        made.down[0].changes,
    ]
    if edit.up == "RESTART":
        return
    requests = (*service.service.requests, *edit.requests)
    held = service.held()

    assert service.become(version, requests) == service.fresh(version, requests)
    assert service.held() == held
    if edit.down == "RESTART":
        running.pop(name).end()
        return
    assert service.become("1", requests) == service.first(requests)
    assert service.held() == held


IN_A_ROW = {
    "fastapi": ("handler body", "route added to a router", "route renamed", "constant", "template"),
    "django": ("view body", "route added to an application", "setting", "template", "filter added"),
    "starlette": ("handler body", "route added to a mount", "route added", "body of a function handler", "template"),
    "flask": ("handler body", "route added", "route added to a blueprint", "setting", "template"),
    "aiohttp": ("handler body", "route added", "constant", "method of a class of state", "log line"),
    "till": (
        *("field of a model within another", "default of a dependency", "required field and the handler that fills it"),
        *("header of a dependency of a dependency", "configuration of a model"),
    ),
    "worker": ("task body", "task added", "constant", "new module", "version"),
}
"""By service, edits of its table that follow each other."""


@pytest.mark.drill
@pytest.mark.parametrize("name", list(IN_A_ROW))
def test_five_edits_in_a_row_are_as_fresh_starts_up_and_down(
    make: MakeNode, interpreter: Interpreter, name: str
) -> None:
    """One process becomes five versions, each after the other, and the first again; it answers as each would when it starts."""
    table = {edit.name: edit for edit in TABLES[name].EDITS}
    service = Running(TABLES[name].SERVICE, make, interpreter)
    requests = (*service.service.requests, *(each for of in IN_A_ROW[name] for each in table[of].requests))
    files, versions = service.service.files, ["1"]
    for edit in IN_A_ROW[name]:
        files = edited(files, table[edit].changes)
        version, made = service.planned(files, before=versions[-1])
        assert [made.up[0].verdict, made.down[0].verdict] == ["HOT", "HOT"], made.up[0].changes
        versions.append(version)
    service.serves(requests)
    held = service.held()
    told = {"1": service.first(requests)}

    for version in versions[1:]:
        told[version] = service.fresh(version, requests)
        assert service.become(version, requests) == told[version]
    for version in versions[-2::-1]:
        assert service.become(version, requests) == told[version]
    assert service.held() == held
