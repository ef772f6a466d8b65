"""Edits of the kind that is made daily, of services of well-known frameworks: in the process that runs, as in a fresh start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TypeAlias

import pytest

import edits_aiohttp
import edits_django
import edits_fastapi
import edits_flask
import edits_starlette
import edits_worker
from code_server_helpers import Interpreter
from node_helpers import nodes
from service_edits import Edit, Running, Service, edited

TABLES = {
    "fastapi": edits_fastapi,
    "starlette": edits_starlette,
    "flask": edits_flask,
    "django": edits_django,
    "aiohttp": edits_aiohttp,
    "worker": edits_worker,
}
ROWS = [pytest.param(name, edit, id=f"{name}: {edit.name}") for name, table in TABLES.items() for edit in table.EDITS]
Runs: TypeAlias = dict[str, Running]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, interpreter: Interpreter) -> Iterator[Runs]:
    """A service of each framework, made when it is first asked for; each stays in one process for all its edits."""
    with ExitStack() as cleanup:
        make = cleanup.enter_context(nodes(tmp_path_factory.mktemp("services"), interpreter))

        class Services(dict[str, Running]):
            def __missing__(self, name: str) -> Running:
                service: Service = TABLES[name].SERVICE
                self[name] = Running(service, make, interpreter)
                return self[name]

        yield Services()


@pytest.mark.sample("name")
@pytest.mark.parametrize(("name", "edit"), ROWS)
def test_an_edit_has_its_verdict_and_the_process_becomes_as_a_fresh_start(running: Runs, name: str, edit: Edit) -> None:
    """The plan says exactly this, up and down; where that is in place the process answers as a fresh start, and keeps what it holds."""
    service = running[name]
    version, made = service.planned(edited(service.service.files, edit.changes), edit.library)
    assert (made.up[0].verdict, made.down[0].verdict) == (edit.up, edit.down), [
        made.up[0].changes,
        made.down[0].changes,
    ]
    if "RESTART" in (edit.up, edit.down):
        return
    requests = (*service.service.requests, *edit.requests)
    service.serves(requests)
    held = service.held()

    assert service.become(version, requests) == service.fresh(version, requests)
    assert service.held() == held
    assert service.become("1", requests) == service.first(requests)
    assert service.held() == held
