"""A process that has become another version is looked at before that is final: as a fresh start, or as it was."""

from __future__ import annotations

import pytest

from handover_helpers import asgi, start, status
from hot_helpers import changed, get, planned, run
from node_helpers import MakeNode, terminate

pytestmark = pytest.mark.in_place

SOURCE = """
import os

class Registry:
    def __init__(self, *names, mode=""):
        self.names, self.mode = list(names), mode

registry = Registry("a", "b", mode="old")

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = f"{registry.mode} {' '.join(registry.names)}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""
LEFT = "import gc, sys; print(gc.get_freeze_count() > 0, 'underway_runtime.observation.compare' in sys.modules)"
OLD = changed(('Registry("a", "b"', 'Registry(*["a", "b"]'), source=SOURCE)
NEW = changed(('["a", "b"], mode="old"', '["a", "b", "c"], mode="new"'), source=OLD)


def test_an_element_that_was_exchanged_at_run_time_undoes_the_install(make: MakeNode) -> None:
    """The list has as many elements as the module has made, and others: status 4, the path is named, and all is as it was."""
    node = make(asgi(OLD), libraries=("uvicorn",))
    made = planned(node, NEW)
    assert [entry.verdict for entry in (*made.up, *made.down)] == ["HOT", "HOT"], made.up[0].changes
    process, port = start(node)
    run(node, "rpc", "import web; web.registry.names[1] = 'live'")

    said = run(node, "install", "2", "--at-least", "hot", status=4)

    assert "web.registry.names[1] is 'live', and not as in a fresh start" in said
    assert (status(node)["version"], get(port)) == ("1", "old a live")
    assert terminate(process)[0] == 0


def test_what_was_set_at_run_time_is_handed_over(make: MakeNode) -> None:
    """A value that is not what the module has made is somebody's, and found beforehand; nor does a look that raises blame anybody."""
    node = make(asgi(OLD), libraries=("uvicorn",))
    planned(node, NEW)
    process, port = start(node)
    run(node, "rpc", "import web; web.registry.mode = 'live'")

    said = run(node, "install", "2", "--at-least", "hot", status=3)

    assert "web.registry.mode is 'live', and not 'old' as the module has made it" in said
    run(node, "rpc", "import web; web.registry.mode = 'old'")
    proof = "from underway_runtime.upgrade.hot import proof; "
    run(node, "rpc", f"{proof}proof.walk, proof.differences = proof.differences, lambda wanted: [].pop()")
    assert "could not be looked at: IndexError" in run(node, "install", "2", "--at-least", "hot", status=3)
    assert (get(port), "failed" in run(node, "releases")) == ("old a b", False)
    run(node, "rpc", f"{proof}proof.differences = proof.walk")
    run(node, "install", "2", "--at-least", "hot")
    assert get(port) == "new a b c"
    assert terminate(process)[0] == 0


def test_a_member_that_was_exchanged_at_run_time_is_handed_over(make: MakeNode) -> None:
    """A pattern, or a static method, of a class is made again where it is what the module has made, and is somebody's else."""
    old = f"{SOURCE}import re\ndef one(): ...\ndef two(): ...\nclass Known:\n    legal = re.compile('a')\n    make = staticmethod(one)\n"
    node = make(asgi(old), libraries=("uvicorn",))
    made = planned(node, old.replace("'a')\n", "'b')\n").replace("(one)", "(two)"))
    assert made.up[0].verdict == "HOT", made.up[0].changes
    process, _ = start(node)
    run(node, "rpc", "import re, web; web.Known.legal, web.Known.make = re.compile('z'), staticmethod(lambda: 7)")

    said = run(node, "install", "2", "--at-least", "hot", status=3)

    assert "web.Known.legal" in said
    assert "web.Known.make" in said
    run(node, "rpc", "import re, web; web.Known.legal, web.Known.make = re.compile('a'), staticmethod(web.one)")
    run(node, "install", "2", "--at-least", "hot")
    assert run(node, "rpc", "import web; print(web.Known.legal.pattern, web.Known.make is web.two)") == "b True\n"
    assert terminate(process)[0] == 0


def test_a_version_that_is_another_on_this_host_is_handed_over(make: MakeNode) -> None:
    """What import makes of the environment of the node is seen there: check says so, and nothing is swapped.

    Nor is anything left behind by either: what the collector had set aside is again, and another process has compared the pictures.
    """
    new = changed(
        ('mode="new"', 'mode="new" if "WEB_MODE" not in os.environ else [os.environ["WEB_MODE"]]'), source=NEW
    )
    node = make(asgi(OLD), libraries=("uvicorn",))
    made = planned(node, new)
    assert made.up[0].verdict == "HOT"
    node.environ["WEB_MODE"] = "here"
    process, port = start(node)

    assert "something differs from a fresh start: web.registry.mode" in run(node, "check", "2")
    assert run(node, "rpc", LEFT) == "True False\n"
    assert "takes a new interpreter" in run(node, "install", "2", "--at-least", "hot", status=3)
    assert run(node, "rpc", LEFT) == "True False\n"
    assert (status(node)["version"], get(port)) == ("1", "old a b")
    assert terminate(process)[0] == 0
