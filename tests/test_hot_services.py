"""Services of FastAPI, Starlette and Flask become another version in the process that runs, without an appup."""

from __future__ import annotations

import pytest

from handover_helpers import start, status
from hot_helpers import changed, planned, run
from node_helpers import MakeNode, Node, terminate
from services import Request, ask, planned_in_a_row, service
from sources import source

pytestmark = pytest.mark.in_place

ORDERS: tuple[Request, ...] = (
    ("GET", "/orders", None),
    ("GET", "/orders?size=100", None),
    ("GET", "/openapi.json", None),
    ("GET", "/orders/0", None),
    ("POST", "/orders", {"count": "many"}),
)
NOTES: tuple[Request, ...] = (("GET", "/", None), ("GET", "/count", None), ("GET", "/notes/last", None))
PRICES: tuple[Request, ...] = (
    ("GET", "/price/tea", None),
    ("GET", "/price/gold", None),
    ("GET", "/prices", None),
    ("GET", "/page", None),
    ("GET", "/nowhere", None),
)

SERVICES = [
    pytest.param("fastapi", "asgi", ("POST", "/orders", {"name": "tea", "count": 2}), ORDERS, id="fastapi"),
    pytest.param("starlette", "asgi", ("POST", "/bump?text=milk", None), NOTES, id="starlette"),
    pytest.param("flask", "wsgi", ("POST", "/stock/milk/2", None), PRICES, id="flask"),
]
LIBRARIES = {"fastapi": "uvicorn", "starlette": "uvicorn", "flask": "waitress"}


@pytest.mark.sample(most=1)
@pytest.mark.parametrize(("framework", "kind", "change", "requests"), SERVICES)
def test_a_service_answers_as_a_fresh_start_would_after_it_was_upgraded_in_place(
    make: MakeNode, framework: str, kind: str, change: Request, requests: tuple[Request, ...]
) -> None:
    """A handler, constants, a version and a route changed, one added: HOT without an appup, up and down, and what it holds stays."""
    first, second = (service(source(f"{framework}_service/{version}/web.py"), kind) for version in ("v1", "v2"))
    node = make(first, libraries=(framework, LIBRARIES[framework]))
    made = planned(node, second)
    assert [entry.verdict for entry in (*made.up, *made.down)] == ["HOT", "HOT"], made.up[0].changes
    process, port = start(node)
    pid = status(node)["pid"]
    ask(port, change)
    before = ask(port, *requests)

    run(node, "install", "2", "--at-least", "hot")
    after = ask(port, *requests)
    run(node, "commit")
    run(node, "rollback")
    back = ask(port, *requests)
    assert status(node)["pid"] == pid
    assert terminate(process)[0] == 0

    assert back == before
    node.environ["RELEASE_VSN"] = "2"
    process, port = start(node)
    ask(port, change)
    assert after == ask(port, *requests)
    assert terminate(process)[0] == 0


MIDDLEWARE = """

@app.middleware("http")
async def ping(request: Request, further: RequestResponseEndpoint) -> Response:
    return PlainTextResponse("pong") if request.url.path == "/ping" else await further(request)


@app.exception_handler(404)
async def missing(request: Request, error: Exception) -> Response:
    return PlainTextResponse("nothing", 404)
"""
IMPORTS = (
    "from pydantic import BaseModel\n",
    """from fastapi import Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel
from starlette.middleware.base import RequestResponseEndpoint
""",
)


def test_middleware_and_handlers_come_to_an_application_that_has_answered(make: MakeNode) -> None:
    """A framework that refuses middleware once it has built its stack, and asks no other handlers then, builds that again."""
    first = changed(IMPORTS, source=source("fastapi_service/v1/web.py"))
    node = make(service(first), libraries=("fastapi", "uvicorn"))
    assert planned(node, service(first + MIDDLEWARE)).up[0].verdict == "HOT"
    process, port = start(node)
    assert ask(port, ("GET", "/ping", None))[0][0] == 404

    run(node, "install", "2", "--at-least", "hot")
    assert ask(port, ("GET", "/ping", None), ("GET", "/nowhere", None)) == [(200, "pong"), (404, "nothing")]
    assert terminate(process)[0] == 0


ROUTE = ('        Mount("/notes"', '        Route("/first", first),\n        Mount("/notes"')
FIRST = (
    "app = Starlette(",
    "async def first(request: Request) -> Response:\n    return PlainTextResponse(notes[0])\n\n\napp = Starlette(",
)
HOME, BUMP = '        Route("/", home),\n', '        Route("/bump", bump, methods=["POST"]),\n'
EDITS = (
    (('{"notes": len(notes)}', '{"notes": len(notes), "v": 2}'),),
    (('GREETING = "hello"', 'GREETING = "good day"'), ("SMALLEST = 500", "SMALLEST = 5")),
    (FIRST, ROUTE),
    ((HOME + BUMP, BUMP + HOME), ("notes[0]", "notes[0].upper()")),
    (('Route("/bump", bump', 'Route("/note", bump'),),
    (('        Route("/first", first),\n', ""), (FIRST[1].replace("notes[0]", "notes[0].upper()"), FIRST[0])),
)
ALL = (*NOTES, ("GET", "/first", None), ("POST", "/bump?text=a", None), ("POST", "/note?text=b", None))


def test_edits_in_a_row_are_as_fresh_starts(make: MakeNode) -> None:
    """One process: bodies, constants that an object has taken, routes that come, change places, have other paths, go; and back."""
    texts = [source("starlette_service/v1/web.py")]
    for edits in EDITS:
        texts.append(changed(*edits, source=texts[-1]))
    node = make(service(texts[0]), libraries=("starlette", "uvicorn"))
    made = planned_in_a_row(node, *map(service, texts[1:]))
    assert [entry.verdict for each in made for entry in (*each.up, *each.down)] == ["HOT"] * 12, [
        e.up[0].changes for e in made
    ]
    process, port = start(node)
    pid = status(node)["pid"]
    told = {}
    for number in range(2, len(texts) + 1):
        run(node, "install", str(number), "--at-least", "hot")
        told[number] = _asked_afresh(node, port)
    for number in range(len(texts) - 1, 0, -1):
        run(node, "install", str(number), "--at-least", "hot")
        assert _asked_afresh(node, port) == told.setdefault(number, _asked_afresh(node, port))
    assert status(node)["pid"] == pid
    assert terminate(process)[0] == 0

    for number in told:
        node.environ["RELEASE_VSN"] = str(number)
        process, port = start(node)
        assert told[number] == _asked_afresh(node, port), number
        assert terminate(process)[0] == 0


def _asked_afresh(node: Node, port: int) -> list[tuple[int, str]]:
    """What is answered to all requests, the same notes taken before."""
    run(node, "rpc", "import web; web.notes[:] = ['milk']")
    return ask(port, *ALL)
