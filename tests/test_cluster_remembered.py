"""What was deployed from here is remembered, wherever that is, until it is stopped; and no other's cluster is taken over."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from archive_helpers import File, make_tree
from test_cluster_preflight import FACTS
from underway_runtime.cluster import certificates, cli, remembered, revocation
from underway_runtime.cluster.deploy import deploy, issuing, preflight
from underway_runtime.cluster.deploy.plan import DeployPlan, OnlyPart
from underway_runtime.cluster.deploy.ssh import Ssh
from underway_runtime.cluster.inventory import Fleet, Limits, from_words
from underway_runtime.process.settings import from_environ
from underway_runtime.release.directory import VarDirectory
from underway_runtime.release.errors import ConfigError, UnderwayError, UsageError

Where = dict[str | None, list[str]]


@pytest.fixture
def var(tmp_path: Path) -> VarDirectory:
    """Nothing was deployed from here."""
    make_tree(tmp_path / "wc", "1.0", {"releases/1.0/cluster.json": File(b"{}")})
    return VarDirectory(tmp_path / "wc/var")


def fleet(words: str, directory: str | None = None, user: str | None = None) -> Fleet:
    hosts = tuple(replace(host, user=user) for host in from_words(words.split()))
    return Fleet(hosts, directory)


def where(plans: list[DeployPlan] | list[Fleet]) -> Where:
    fleets = [plan.fleet if isinstance(plan, DeployPlan) else plan for plan in plans]
    return {each.directory: [host.host for host in each.hosts] for each in fleets}


def asked(var: VarDirectory, *words: str) -> list[DeployPlan]:
    """The plans of a command line of `deploy`."""
    environ = {"RELEASE_ROOT": str(var.path.parent), "RELEASE_NAME": "wc", "RELEASE_VSN": "1.0"}
    return deploy.plans_of(cli._deploy_parser().parsed(words), from_environ(environ))


def test_each_directory_that_was_deployed_to_is_remembered(var: VarDirectory) -> None:
    """Until what is there is stopped; the same host may be in several."""
    remembered.remember(var, fleet("alpha beta", "/srv/one"))
    remembered.remember(var, fleet("alpha gamma", "/srv/two"))
    remembered.remember(var, fleet("delta"))
    remembered.remember(var, fleet("beta epsilon", "/srv/one"))
    known: Where = {"/srv/one": ["alpha", "beta", "epsilon"], None: ["delta"], "/srv/two": ["alpha", "gamma"]}

    assert where(remembered.recall(var)) == known
    assert where(asked(var, "--stop")) == known
    assert where(asked(var, "--renew", "--directory", "/srv/two/")) == {"/srv/two": ["alpha", "gamma"]}
    assert where(asked(var, "--stop", "alpha")) == {None: ["alpha"], "/srv/one": ["alpha"], "/srv/two": ["alpha"]}

    remembered.forget(var, "/srv/two", from_words(["alpha"]))
    remembered.forget(var, None, from_words(["delta"]))
    assert where(asked(var, "--stop")) == {"/srv/one": ["alpha", "beta", "epsilon"], "/srv/two": ["gamma"]}
    assert var.deployed.stat().st_mode & 0o777 == 0o600


def test_the_homes_of_two_users_are_two_places(var: VarDirectory) -> None:
    """One host, and each its own directory there."""
    remembered.remember(var, fleet("alpha", user="ann"))
    remembered.remember(var, fleet("alpha", user="bob"))

    assert [host.user for plan in asked(var, "--stop") for host in plan.hosts] == ["bob", "ann"]


def test_a_master_that_alone_is_left_is_stopped_too(var: VarDirectory) -> None:
    """And before all others, so that it misses nobody."""
    hosts = Fleet(tuple(replace(host, role="master") for host in from_words(["alpha"])), "/srv/one")
    remembered.remember(var, hosts)
    remembered.remember(var, fleet("beta", "/srv/two"))

    assert [plan.fleet.directory for plan in asked(var, "--stop")] == ["/srv/one", "/srv/two"]
    remembered.forget(var, "/srv/two", from_words(["beta"]))
    assert where(asked(var, "--stop")) == {"/srv/one": ["alpha"]}


def test_what_an_older_version_has_remembered_is_known(var: VarDirectory) -> None:
    """It knew of one directory."""
    var.deployed.parent.mkdir(parents=True)
    var.deployed.write_text(json.dumps({"hosts": [{"host": "alpha", "role": "worker"}], "directory": "/srv/one"}))

    assert where(asked(var, "--stop")) == {"/srv/one": ["alpha"]}


@pytest.mark.parametrize("text", ["", "[]", '{"deployed": 1}', '{"deployed": [7]}', '{"hosts": "alpha"}'])
def test_what_can_not_be_read_is_said_with_the_way_out(var: VarDirectory, text: str) -> None:
    """Which is to name the hosts, and that goes; what is deployed next is remembered again."""
    var.deployed.parent.mkdir(parents=True)
    var.deployed.write_text(text)

    with pytest.raises(
        UnderwayError, match=r"(?s)which says where nodes were started, can't be read: .*; name the hosts"
    ):
        asked(var, "--stop")
    assert where(asked(var, "--stop", "alpha")) == {None: ["alpha"]}
    remembered.remember(var, fleet("alpha", "/srv/one"))
    assert where(asked(var, "--stop")) == {"/srv/one": ["alpha"]}


def test_where_nothing_is_known_hosts_are_asked_for(var: VarDirectory) -> None:
    """As where there are none to deploy to."""
    for option in ("--stop", "--renew", "--copy-only"):
        with pytest.raises(UsageError, match="there is no worker to deploy to; name hosts"):
            asked(var, option)


def test_deploys_at_once_forget_nothing_of_each_other(var: VarDirectory) -> None:
    """Each reads what is known, and writes it again with its own."""

    def both(number: int) -> None:
        remembered.remember(var, fleet(f"host{number}", f"/srv/{number % 4}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(both, range(40)))

    assert sorted(host for hosts in where(remembered.recall(var)).values() for host in hosts) == sorted(
        f"host{number}" for number in range(40)
    )


def test_what_fails_in_one_directory_keeps_no_other_from_being_stopped(
    var: VarDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that failed is listed, and what was stopped."""
    for directory in ("/srv/one", "/srv/two", "/srv/three"):
        remembered.remember(var, fleet("alpha", directory))

    def stop(plan: DeployPlan, ssh: Ssh, stopped: list[str]) -> dict[str, list[str]]:
        if plan.fleet.directory != "/srv/two":
            raise OnlyPart(f"{plan.fleet.directory} can't be reached")
        stopped.append("wc_worker@alpha")
        return {}

    monkeypatch.setattr(deploy, "stop", stop)
    with pytest.raises(OnlyPart) as refused:
        deploy._stop(asked(var, "--stop"), Ssh(Limits(), Path("/tmp/uw")))

    assert str(refused.value).splitlines() == [
        "/srv/three can't be reached",
        "/srv/one can't be reached",
        "stopped: wc_worker@alpha",
    ]


# -------------------------------------------------------------------------------------------------- another authority


def certified(place: Path, authority: Path, *, replaces: bool = False) -> None:
    """Give a node a certificate."""
    certificates.make_authority(authority, "wc")
    leaf = certificates.sign(authority, certificates.request(place, "beta"), hosts=["beta"], role="worker")
    certificates.install(place, leaf, (authority / "ca.pem").read_bytes(), replaces=replaces)


def test_certificates_of_another_authority_are_not_overwritten(tmp_path: Path) -> None:
    """Whoever has deployed first keeps the node; but here, where it is known whose it is."""
    certified(tmp_path / "node", tmp_path / "ann")
    before = (tmp_path / "node/ca.pem").read_bytes()
    certified(tmp_path / "node", tmp_path / "ann")

    with pytest.raises(ConfigError, match="has certificates of another authority, which another deploy has brought"):
        certified(tmp_path / "node", tmp_path / "bob")
    assert (tmp_path / "node/ca.pem").read_bytes() == before

    certified(tmp_path / "node", tmp_path / "bob", replaces=True)
    assert (tmp_path / "node/ca.pem").read_bytes() != before


@pytest.mark.parametrize(
    ("has", "authority", "refused"),
    [
        ({}, "", False),
        ({}, "A B\nC\n", False),
        ({"w@beta": "ABC"}, "A B\nC\n", False),
        ({"other@beta": "XYZ"}, "A B\nC\n", False),
        ({"w@beta": "XYZ"}, "A B\nC\n", True),
        ({"w@beta": "ABC"}, "", True),
    ],
)
def test_a_host_of_another_cluster_is_named_beforehand(has: dict[str, str], authority: str, refused: bool) -> None:
    """With what to do; a host whose other nodes are another's is not."""
    facts = replace(FACTS, authorities=has)

    problem = preflight.of_another_authority(facts, "w@beta", authority)

    assert (problem is not None) == refused
    if problem is not None:
        assert "w@beta has certificates of another authority there" in problem
        assert "remove /srv/wc/var/cluster/w@beta/certificates on that host" in problem


def test_a_dry_run_renews_nothing_and_says_so(
    var: VarDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints what would be run, and what would be renewed and removed, by each name; of what was, nothing. What would be refused is."""
    (plan,) = asked(var, "--renew", "--dry-run", "beta")
    host = replace(plan.hosts[0], address="10.0.0.2")
    plan = replace(plan, fleet=replace(plan.fleet, hosts=(host,)))
    certificates.make_authority(var.authority, "wc")
    facts = replace(FACTS, releases={"1.0": plan.manifest.release_id})
    monkeypatch.setattr(issuing, "ask", lambda *_: ({host: facts}, []))
    revocation.remember(var.authority, {"gamma": ["gamma", "10.0.0.7"]})
    before = {file.name: file.read_bytes() for file in var.authority.iterdir()}

    with Ssh(plan.fleet.limits, tmp_path) as ssh:
        outcome = issuing.renew(plan, ssh, ["gamma"])
        with pytest.raises(ConfigError, match="no certificate was given to delta; there are gamma"):
            issuing.renew(plan, ssh, ["delta"])

    assert outcome == {
        "would_renew": ["wc_worker@beta"],
        "would_remove": ["10.0.0.7", "gamma"],
        "renewed": [],
        "removed": [],
    }
    printed = capsys.readouterr().out
    assert "bin/cluster certificate request wc_worker@beta" in printed
    assert "revoked.json: 10.0.0.7, gamma\n" in printed
    assert {file.name: file.read_bytes() for file in var.authority.iterdir()} == before
