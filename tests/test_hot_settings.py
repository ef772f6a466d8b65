"""Settings that are made once more while a service runs: with what stands where they are read, and with nothing of what was set since."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

import edits_depot
import edits_office
from code_server_helpers import Interpreter
from hot_helpers import run
from node_helpers import MakeNode
from service_edits import LONG, Running, edited

pytestmark = [pytest.mark.in_place, pytest.mark.drill]

MORE_DESKS = edits_office.EDITS[0].changes
MOTTO = next(edit.changes for edit in edits_depot.EDITS if edit.name == "setting added")
TOLD = edits_depot.SERVICE.requests


@pytest.fixture
def depot(make: MakeNode, interpreter: Interpreter) -> Iterator[Running]:
    """A depot that runs with a name of the environment, and a version 2 whose settings have one more."""
    running = Running(edits_depot.SERVICE, make, interpreter)
    running.node.environ |= {"DEPOT_DOORS": "3", "DEPOT_KINDS": '["tea", "milk"]'}
    _, made = running.planned(edited(running.service.files, MOTTO))
    assert made.up[0].verdict == "HOT", made.up[0].changes
    running.serves(())
    yield running
    running.end()


@pytest.mark.parametrize(
    ("since", "named"),
    [
        pytest.param("depot.settings.settings.doors = 7", "settings.doors is 7", id="a setting that was set"),
        pytest.param("depot.settings.settings.kinds.append('x')", "settings.kinds", id="a list of one that got more"),
        pytest.param("depot.goods.kept = [depot.settings.settings]", "depot.settings.Settings", id="who holds them"),
        pytest.param("depot.goods.kept = depot.settings.Settings(doors=2)", "Settings", id="others of their kind"),
    ],
)
def test_settings_that_are_somebodys_state_are_not_made_once_more(depot: Running, since: str, named: str) -> None:
    """The node says what was set, or who holds them, and stays as it is; without that it becomes the other version in place."""
    run(depot.node, "rpc", f"import depot.settings, depot.goods; {since}")
    process = depot.node.spawn("install", "2", "--at-least", "hot", stderr=subprocess.STDOUT)
    said = process.communicate(timeout=LONG)[0]  # both versions are imported before
    assert process.returncode == 3, said
    assert named in said


def test_settings_are_read_again_where_a_start_reads_them(depot: Running) -> None:
    """What the environment says is in those that are made once more, as in a fresh start."""
    assert depot.become("2", TOLD) == depot.fresh("2", TOLD)
    assert "'doors': 3, 'motto': 'buy', 'kinds': ['tea', 'milk']" in run(depot.node, "rpc", TOLD[0][1])


@pytest.mark.parametrize(
    ("since", "named"),
    [
        pytest.param("s.get_settings().key = 'mine'", "get_settings().key is not what", id="a setting that was set"),
        pytest.param("import os; os.environ['OFFICE_KEY'] = 'mine'", "get_settings().", id="read from another by now"),
        pytest.param(
            "m.kept = [s.get_settings()]", "get_settings remembers a office.settings.Settings", id="who has them"
        ),
    ],
)
def test_settings_that_a_function_remembers_may_be_somebodys(
    make: MakeNode, interpreter: Interpreter, since: str, named: str
) -> None:
    """The node says what was set, or who holds them, and stays as it is."""
    office = Running(edits_office.SERVICE, make, interpreter)
    _, made = office.planned(edited(office.service.files, MORE_DESKS))
    assert made.up[0].verdict == "HOT", made.up[0].changes
    office.serves(edits_office.SERVICE.requests)
    run(office.node, "rpc", f"import office.settings as s, office.main as m; {since}")
    process = office.node.spawn("install", "2", "--at-least", "hot", stderr=subprocess.STDOUT)
    said = process.communicate(timeout=LONG)[0]  # both versions are imported before
    office.end()
    assert process.returncode == 3, said
    assert named in said
