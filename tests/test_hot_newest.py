"""A service in the words that Python has since 3.14 and 3.15: ten edits of a day, in the process that runs, as in fresh starts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from code_server_helpers import Interpreter
from handover_helpers import status
from node_helpers import MakeNode
from service_edits import LONG, Changes, Files, Running, Service, edited
from services import ask

pytestmark = [
    pytest.mark.in_place,
    pytest.mark.skipif(sys.version_info < (3, 15), reason="Python reads `lazy import` from 3.15 on"),
]

MAIN = """
lazy import colorsys
lazy from statistics import median
lazy from mint.parts import priced
lazy from mint.parts import RATE
import concurrent.futures
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
KINDS = frozendict(tea=1, cake=2)
NOTHING = sentinel("NOTHING")
stock = []

class Order(BaseModel):
    lines: list[Line]

class Line(BaseModel):
    name: str
    count: int = 1

class Offer(BaseModel):
    kinds: dict[str, int]
    all: bool

def shown(template):
    return "".join(part if isinstance(part, str) else f"<{part.value}>" for part in template)

@app.get("/said")
def said(name: str = "tea"):
    return {"said": shown(t"one {name}, please")}

@app.get("/colour")
def colour():
    return {"colour": colorsys.rgb_to_hsv(1, 0, 0)}

@app.get("/kinds")
def kinds(of=NOTHING) -> Offer:
    return Offer(kinds=dict(KINDS), all=of is NOTHING)

@app.post("/orders")
def ordered(order: Order):
    return {"lines": [line.model_dump() for line in order.lines], "price": priced(len(order.lines)), "rate": RATE}

@app.get("/stock")
def counted():
    return {"stock": [*stock]}

@app.get("/worked")
def worked(n: int = 3):
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        return {"worked": pool.submit(priced, n).result()}
"""
PARTS = "RATE = 2\n\n\ndef priced(count):\n    return count * RATE\n"
PATHS = "mint/__init__.py", "mint/main.py", "mint/parts.py"
TEXTS: Files = dict(zip(PATHS, ("", MAIN, PARTS), strict=True))
ORDER = {"lines": [{"name": "tea"}, {"name": "cake", "count": 2}]}


@dataclass(frozen=True)
class Written(Service):
    """A service whose first version is given as text: tools of earlier Pythons can't read it."""

    sources: Files = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "mint"

    @property
    def files(self) -> dict[str, str]:
        return dict(self.sources)


SERVICE = Written(
    "mint",
    {"asgi": "mint.main:app", "listen": ["tcp://127.0.0.1:0"]},
    ("fastapi", "uvicorn"),
    before=(("rpc", "import mint.main; mint.main.stock.append('tea')", None),),
    requests=(
        ("GET", "/said?name=cake", None),
        ("GET", "/kinds", None),
        ("POST", "/orders", ORDER),
        ("GET", "/stock", None),
        ("GET", "/more", None),
        ("GET", "/colour", None),
    ),
    kept="from mint.main import stock; print(id(stock), stock)",
    sources=TEXTS,
)

WORKED = ("GET", "/worked", None)

_, OF_MAIN, OF_PARTS = PATHS
EDITS: dict[str, Changes] = {
    "a template": ((OF_MAIN, 't"one {name}, please"', 't"two {name}, please"'),),
    "what stands in a template": ((OF_MAIN, 't"two {name}', 't"two {name.title()!s:>8}'),),
    "a body that uses a lazy name": ((OF_MAIN, "colorsys.rgb_to_hsv(1, 0, 0)", "colorsys.rgb_to_hsv(0, 1, 0)"),),
    "a body that uses one nobody has used": ((OF_MAIN, "colorsys.rgb_to_hsv(0, 1, 0)", "median([1, 2, 3])"),),
    "a value that a lazy import stands for": ((OF_PARTS, "RATE = 2", "RATE = 3"),),
    "a function that a lazy import stands for": ((OF_PARTS, "count * RATE", "count * RATE + 1"),),
    "a dict that can't be changed": ((OF_MAIN, "frozendict(tea=1, cake=2)", "frozendict(tea=1, cake=3)"),),
    "a field of a model": ((OF_MAIN, "    all: bool\n", "    all: bool\n    unit: str | None = 'piece'\n"),),
    "a comprehension that unpacks": ((OF_MAIN, "[*stock]", "[*row for row in (stock, ['cake'])]"),),
    "a route": (
        (OF_MAIN, '@app.get("/stock")', '@app.get("/more")\ndef more():\n    return {"more": 1}\n\n@app.get("/stock")'),
    ),
}


@pytest.mark.timeout(900)
def test_ten_edits_of_a_day_are_as_fresh_starts_up_and_down(make: MakeNode, interpreter: Interpreter) -> None:
    """One process becomes ten versions, each after the other, and the first again; what it holds stays."""
    service = Running(SERVICE, make, interpreter)
    files, versions, verdicts = service.service.files, ["1"], {}
    for name, changes in EDITS.items():
        files = edited(files, changes)
        version, made = service.planned(files, before=versions[-1])
        rows = [(row.verdict, row.definition, row.reason) for row in (*made.up[0].changes, *made.down[0].changes)]
        verdicts[name] = [made.up[0].verdict, made.down[0].verdict, [row for row in rows if row[0] != "HOT"]]
        versions.append(version)
    assert verdicts == {name: ["HOT", "HOT", []] for name in EDITS}
    service.serves(SERVICE.requests)
    held = service.held()
    told = {"1": service.first(SERVICE.requests)}

    for version in versions[1:]:
        told[version] = service.fresh(version, SERVICE.requests)
        assert service.become(version, SERVICE.requests) == told[version]
    for version in versions[-2::-1]:
        assert service.become(version, SERVICE.requests) == told[version]
    assert service.held() == held


@pytest.mark.timeout(300)
def test_with_workers_of_a_fork_server_the_node_is_handed_over(make: MakeNode, interpreter: Interpreter) -> None:
    """The server that forks them has the code of the old version: the process is not changed, and who comes after it forks from the new."""
    service = Running(SERVICE, make, interpreter)
    version, made = service.planned(edited(SERVICE.files, EDITS["a value that a lazy import stands for"]))
    assert made.up[0].verdict == "HOT"
    service.serves(())
    assert ask(service.port, WORKED) == [(200, '{"worked":6}')]

    refused = service.node.spawn("install", version, "--at-least", "hot", stderr=subprocess.STDOUT)
    out, _ = refused.communicate(timeout=LONG)
    assert refused.returncode == 3, out
    assert "runs code of this release" in out
    assert status(service.node)["pid"] == service.pid

    handed = service.node.spawn("install", version, stderr=subprocess.STDOUT)
    out, _ = handed.communicate(timeout=LONG)
    assert handed.returncode == 0, out
    assert status(service.node)["pid"] != service.pid
    assert ask(service.port, WORKED) == [(200, '{"worked":9}')]
