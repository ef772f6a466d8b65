"""A member of `control_group` operates a service in which no code of his may run: status and upgrades, and nothing else."""

from __future__ import annotations

import json

import pytest

from grounds import PLACE, SERVICE, STRANGER, Ground

GROUP, GID = "daemon", 1
ASK = f"""
import glob, json, os, sys
sys.path.insert(0, glob.glob("{PLACE}/hello/lib/underway_runtime-*")[0])
from underway_runtime.control.client.client import Place, connect
from underway_runtime.release.errors import UnderwayError
place = Place({{"RELEASE_ROOT": "{PLACE}/hello", "RELEASE_NAME": "hello", "RELEASE_VSN": "1"}})
for request in json.loads(sys.argv[1]):
    try:
        connection = connect(place)
        connection._socket.settimeout(20)
        print(json.dumps(["answer", connection.ask(request)]))
        connection.close()
    except UnderwayError as error:
        print(json.dumps(["error", str(error)]))
"""


@pytest.fixture
def shared(ground: Ground) -> Ground:
    """The service runs, for the members of the group too; rpc, remote and eval are off."""
    config = {
        "format": 1,
        "config": {"underway_runtime": {"control_group": GROUP, "rpc": False, "remote": False, "eval": False}},
    }
    ground.as_service(f"open('sys.config', 'w').write({json.dumps(config)!r})")
    done = ground.run(
        SERVICE,
        ground.inside / "bin/hello",
        "daemon",
        groups=(GID,),
        RELEASE_SYS_CONFIG=f"{PLACE}/hello/var/sys.config",
    )
    assert done.returncode == 0, done.stderr
    evil = f"#!/bin/sh\nid -u >{PLACE}/pwned/evil-$(id -u)\n"
    code = f"import os\nos.makedirs('{PLACE}/pwned/evil')\nopen('{PLACE}/pwned/evil/launcher', 'w').write({evil!r})\n"
    assert ground.python(STRANGER, f"{code}os.chmod('{PLACE}/pwned/evil/launcher', 0o755)").returncode == 0
    return ground


def asked(ground: Ground, *requests: object) -> list[tuple[str, object]]:
    """What the node says to a member."""
    done = ground.run(STRANGER, ground.interpreter, "-I", "-S", "-c", ASK, json.dumps(requests), groups=(GID,))
    assert done.returncode == 0, done.stderr
    return [(kind, said) for kind, said in map(json.loads, done.stdout.splitlines())]


def ran(ground: Ground) -> list[str]:
    return [path.name for path in ground.look(PLACE / "pwned").iterdir() if path.name != "evil"]


def test_a_member_does_what_he_is_there_for(shared: Ground) -> None:
    """He sees the status, and has the service hand over to a version that is unpacked."""
    [(kind, said)] = asked(shared, {"do": "status"})
    assert kind == "answer"
    [(kind, said)] = asked(shared, {"do": "hand over", "version": "2", "id": "x", "to_commit": 0})
    assert kind == "answer", said
    assert ran(shared) == []


@pytest.mark.parametrize(
    "version",
    ["../../../pwned/evil", f"{PLACE}/pwned/evil", "2/../../../../pwned/evil", "..", "3", ["2"], {"a": 1}, 2, None],
    ids=str,
)
def test_a_member_names_no_version_but_one_that_is_here(shared: Ground, version: object) -> None:
    """Nothing of his is started, whatever he calls it, in whichever request."""
    requests = [
        {"do": do, "version": version, "id": "x", "to_commit": 0}
        for do in ("hand over", "install", "consider", "committed", "restart")
    ]
    for kind, said in asked(shared, *requests):
        assert kind == "error", said
    assert ran(shared) == []
    assert asked(shared, {"do": "status"})[0][0] == "answer"


def test_a_member_runs_no_code(shared: Ground) -> None:
    """Not by rpc and shell, not by fields that a request does not have, and not by what is not a request."""
    code = f"open('{PLACE}/pwned/code', 'w')"
    requests: list[object] = [
        {"do": "rpc", "code": code},
        {"do": "shell"},
        {"do": "shell", "code": code},
        {"push": code},
        {"do": "gates", "gates": [{"command": ["/bin/sh", "-c", code]}]},
        {"do": "hand over", "version": "2", "id": "../../x", "to_commit": 0},
        {"do": "hand over", "version": "2", "id": "x", "to_commit": 1e400},
        {"do": "hand over", "version": "2", "id": "x", "to_commit": 0, "environ": {"LD_PRELOAD": "x"}},
        {"do": "install", "version": "2", "id": "x", "to_commit": -1},
        {"do": "__class__"},
        {"do": ["status"]},
        {},
    ]
    for kind, said in asked(shared, *requests):
        assert kind == "error", said
    assert ran(shared) == []
    for words in (["rpc", code], ["remote"]):
        done = shared.run(STRANGER, shared.inside / "bin/hello", *words, groups=(GID,))
        assert done.returncode == 1
    assert ran(shared) == []


def test_a_stranger_is_no_member(shared: Ground) -> None:
    """Without the group neither the socket nor the cookie is for him."""
    done = shared.hello(STRANGER, "status")
    assert done.returncode == 1
    for name in ("COOKIE", "run/control"):
        assert shared.python(STRANGER, f"open('{PLACE}/hello/var/{name}')").returncode != 0
