"""Rules for frameworks that a look rests on: with each the smallest edit that it does not allow, which takes a fresh interpreter."""

from __future__ import annotations

import pytest

import edits_aiohttp
import edits_fastapi
import edits_flask
import edits_starlette
import edits_till
from code_server_helpers import Interpreter
from node_helpers import MakeNode
from service_edits import Changes, Running, Service, edited

pytestmark = pytest.mark.in_place

READING = '\n\ndef raw() -> str:\n    return (Path(__file__).parent / "templates" / "board.html").read_text()\n'

BEYOND = [
    pytest.param(
        edits_fastapi,
        (
            (
                edits_fastapi.ITEMS,
                '@router.post("/{number}/orders")',
                'kept = [label]\n\n\n@router.post("/{number}/orders")',
            ),
        ),
        "handler gets a parameter",
        "shop.items:label",
        id="handler that somebody else has too",
    ),
    pytest.param(
        edits_flask,
        (
            (
                edits_flask.WEB,
                "app.register_blueprint(books)\n",
                "for each in [books]:\n    app.register_blueprint(each)\n",
            ),
        ),
        "route added to a blueprint",
        "library.books:count",
        id="blueprint that no statement by itself registers",
    ),
    pytest.param(
        edits_flask,
        ((edits_flask.WEB, '@app.get("/about")', '@app.get("/about", endpoint="told")'),),
        ((edits_flask.WEB, '@app.get("/about", endpoint="told")', '@app.get("/info", endpoint="told")'),),
        "library.web:about",
        id="view of another name",
    ),
    pytest.param(
        edits_aiohttp,
        ((edits_aiohttp.MAIN, "app.add_routes(routes)", "app.add_routes(list(routes))"),),
        "route added",
        "relay.views:version",
        id="table of routes that was copied",
    ),
    pytest.param(
        edits_till,
        ((edits_till.MODELS, "    lines: list[Line]\n", '    lines: list["Line"]\n'),),
        "field of a model within another",
        "till.models:Line",
        id="model that a text names within a type",
        marks=pytest.mark.drill,
    ),
    pytest.param(
        edits_till,
        (
            (edits_till.MAIN, "sold: list[str] = []\n", "sold: list[str] = []\nadapter = TypeAdapter(Line)\n"),
            (edits_till.MAIN, "from .models import", "from pydantic import TypeAdapter\n\nfrom .models import"),
        ),
        "field of a model within another",
        "till.models:Line",
        id="model that a validator of its own was compiled of",
        marks=pytest.mark.drill,
    ),
    pytest.param(
        edits_till,
        ((edits_till.MAIN, "app = FastAPI(", "app = FastAPI(dependencies=[Depends(page)], "),),
        "default of a dependency",
        "till.parts:page",
        id="dependency of an application",
        marks=pytest.mark.drill,
    ),
    pytest.param(
        edits_starlette,
        ((edits_starlette.HANDLERS, "\n\nclass Notices", f"{READING}\n\nclass Notices"),),
        "template",
        "board:board/templates/board.html",
        id="template that a module reads by itself",
    ),
]


@pytest.mark.sample("table", most=2)
@pytest.mark.parametrize(("table", "before", "edit", "restarts"), BEYOND)
def test_the_smallest_edit_beyond_a_rule_takes_a_fresh_interpreter(
    make: MakeNode, interpreter: Interpreter, table: object, before: Changes, edit: Changes | str, restarts: str
) -> None:
    """Where something stands a little otherwise, the edit that is put in place next to it is none that a process can follow."""
    service: Service = vars(table)["SERVICE"]
    by_name = {row.name: row.changes for row in vars(table)["EDITS"]}
    running = Running(service, make, interpreter)
    files = edited(service.files, before)
    changed = edited(files, by_name[edit] if isinstance(edit, str) else edit)

    _, made = running.planned(changed, before=running.added(files))

    rows = {f"{row.module}:{row.definition}": row.verdict for row in made.up[0].changes}
    assert rows[restarts] == "RESTART", made.up[0].changes
