"""A node of a cluster becomes another version while it is in it, with what lives there."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cluster_helpers import CREW, Member, Nodes, start_cluster
from hot_helpers import planned, run
from node_helpers import App, MakeNode

pytestmark = pytest.mark.in_place

TEN_TIMES = App("crew", CREW.source.replace("self.count += number", "self.count += 10 * number"), CREW.start)


@pytest.fixture
def nodes(make: MakeNode, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    """A cluster of two versions, of which the second counts in tens."""
    cluster = Nodes(make)
    release = cluster.release
    write_script = release.write_script

    def write(apps: Sequence[App]) -> None:
        write_script(apps)
        start_cluster(release)

    monkeypatch.setattr(release, "write_script", write)
    made = planned(release, TEN_TIMES)
    assert [entry.verdict for entry in (*made.up, *made.down)] == ["HOT", "HOT"]
    return cluster


COUNT = "print(await crew.counter.call(crew.Counter.add, 1))"


def test_an_actor_keeps_its_state_and_counts_by_the_new_code(nodes: Nodes) -> None:
    """On a worker that is upgraded, and on its master: nobody leaves the cluster, and who joins later is of the new version."""
    worker = nodes.worker(1, "counters")
    master = nodes.master(["w1"]).ready()
    master.rpc("crew.counter = await cluster.actor(crew.Counter, 5, tag='counters')")
    assert master.rpc(COUNT) == "6"
    before = [member.node for member in (master, worker)]

    for member in (worker, master):
        run(member.release, "install", "2", "--at-least", "hot")

    assert [member.node for member in (master, worker)] == before
    assert master.rpc(COUNT) == "16"
    late = later(nodes)
    late.says("w2 has joined")
    assert master.rpc("print(sorted(each.name for each in cluster.members()))") == "['w1', 'w2']"

    for member in (master, worker):
        run(member.release, "install", "1", "--at-least", "hot")
    assert master.rpc(COUNT) == "17"
    assert [member.node for member in (master, worker)] == before


def later(nodes: Nodes) -> Member:
    """A worker that is started with the second version."""
    section = nodes.section("w2", "127.0.0.3", "worker", tags=[])
    return nodes.start(section, {"RELEASE_VSN": "2"})
