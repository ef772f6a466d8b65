"""Models and dependencies that are made once more while a service runs: nobody goes on with the one before."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest

import edits_till
from code_server_helpers import Interpreter
from handover_helpers import status
from hot_helpers import run
from node_helpers import TIMEOUT, MakeNode, eventually
from service_edits import LONG, Running, edited

pytestmark = [pytest.mark.in_place, pytest.mark.drill]

FIELD = next(edit.changes for edit in edits_till.EDITS if edit.name == "field of a model within another")
BODY = json.dumps({"lines": [{"name": "milk"}]})
ANSWERING = (
    "import gc, types; "
    "print([o for o in gc.get_objects() if type(o) is types.CoroutineType and 'get_request_handler' in o.cr_code.co_qualname])"
)


@pytest.fixture
def till(make: MakeNode, interpreter: Interpreter) -> Iterator[Running]:
    """A till that runs, with a version 2 whose model has a field more."""
    running = Running(edits_till.SERVICE, make, interpreter)
    _, made = running.planned(edited(running.service.files, FIELD))
    assert made.up[0].verdict == "HOT", made.up[0].changes
    running.serves(())
    yield running
    running.end()


def installed(till: Running, status: int = 0) -> str:
    """What an install of the other version says, in place or not at all; it ends with this status."""
    process = till.node.spawn("install", "2", "--at-least", "hot", stderr=subprocess.STDOUT)
    out: str = process.communicate(timeout=LONG)[0]  # both versions are imported before
    assert process.returncode == status, out
    return out


def test_a_model_of_which_somebody_has_an_instance_is_not_made_once_more(till: Running) -> None:
    """The node says so and stays as it is; once the instance is gone, it becomes the other version in place."""
    run(till.node, "rpc", "import till.main as m; m.kept = [m.Line(name='x')]")
    said = installed(till, 3)
    assert "till.models.Line" in said
    assert "1 instances" in said
    assert status(till.node)["version"] == "1"

    run(till.node, "rpc", "import till.main as m; del m.kept")
    installed(till)
    assert (status(till.node)["version"], status(till.node)["pid"]) == ("2", till.pid)


def test_a_class_that_somebody_holds_is_not_made_once_more(till: Running) -> None:
    """What the process has made of it meanwhile, a validator, would go on with the one before."""
    run(till.node, "rpc", "import till.main as m, pydantic; m.kept = {'lines': pydantic.TypeAdapter(list[m.Line])}")
    assert "till.models.Line goes away" in installed(till, 3)


def test_a_request_with_a_route_is_waited_for(till: Running) -> None:
    """Who still sends its body has the models of the one before: it is named, and answered by these."""
    with closing(http.client.HTTPConnection("127.0.0.1", till.port, timeout=TIMEOUT)) as client:
        client.putrequest("POST", "/receipts")
        client.putheader("content-type", "application/json")
        client.putheader("content-length", str(len(BODY)))
        client.endheaders(BODY[:5].encode())
        eventually(lambda: "coroutine" in run(till.node, "rpc", ANSWERING), "it has a route")

        assert "get_request_handler" in installed(till, 3)
        client.send(BODY[5:].encode())
        answer = client.getresponse()
        assert (answer.status, "unit" in answer.read().decode()) == (200, False)
        installed(till)  # the server keeps what it had of the request, as long as the client stays
        assert (status(till.node)["version"], status(till.node)["pid"]) == ("2", till.pid)
