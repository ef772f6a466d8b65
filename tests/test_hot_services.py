"""Services of FastAPI, Starlette and Flask become another version in the process that runs, without an appup."""

from __future__ import annotations

import pytest

from handover_helpers import start, status
from hot_helpers import planned, run
from node_helpers import MakeNode, terminate
from services import Request, ask, service, source

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
    ("GET", "/nowhere", None),
)

SERVICES = [
    pytest.param("fastapi", "asgi", ("POST", "/orders", {"name": "tea", "count": 2}), ORDERS, id="fastapi"),
    pytest.param("starlette", "asgi", ("POST", "/bump?text=milk", None), NOTES, id="starlette"),
    pytest.param("flask", "wsgi", ("POST", "/stock/milk/2", None), PRICES, id="flask"),
]
LIBRARIES = {"fastapi": "uvicorn", "starlette": "uvicorn", "flask": "waitress"}


@pytest.mark.parametrize(("framework", "kind", "change", "requests"), SERVICES)
def test_a_service_answers_as_a_fresh_start_would_after_it_was_upgraded_in_place(
    make: MakeNode, framework: str, kind: str, change: Request, requests: tuple[Request, ...]
) -> None:
    """A handler, constants and a version changed, a route added: HOT without an appup, up and down, and what it holds stays."""
    first, second = (service(source(f"{framework}_service", version), kind) for version in ("v1", "v2"))
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
