"""The step that makes a release run over a cluster: what it brings, and what it refuses to overwrite."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from underway.cli.deployments import over_hosts
from underway.errors import StepError
from underway.project.options import Options
from underway.release import Application, BuildContext, Release, changed_read_only
from underway.steps import ASSEMBLE, TAR
from underway.steps.boot import make_boot_script, rel_templates_path
from underway.steps.cluster import CHECK, FIRST, check_configuration, step
from underway.steps.configuration import RUNTIME_FILE, Evaluated, make_sys_config
from underway_runtime.configuration.config import config
from underway_runtime.configuration.config_file import evaluate
from underway_runtime.release import boot_script
from underway_runtime.release.errors import ConfigError

TEMPLATE = Path(__file__).parents[1] / "src/underway/templates/cluster/cluster.py"


@pytest.fixture
def release(tmp_path: Path) -> Release:
    path = tmp_path / "wc"
    return Release(
        name="wc",
        version="0.1.0",
        path=path,
        version_path=path / "releases/0.1.0",
        applications={"underway_runtime": Application("underway_runtime", "1.0")},
        interpreter_source=None,
        interpreter_version="3.11.2",
        boot_scripts={"start": (("underway_runtime", "permanent"),)},
        config_providers=(("theirs:Provider", None),),
        context=BuildContext(project=tmp_path),
        options=Options(cluster={"hosts": ["alpha:x"]}, rel_templates_path=str(tmp_path / "rel")),
        overlays=("theirs",),
        steps=(ASSEMBLE, TAR),
    )


def test_the_step_brings_what_a_cluster_needs(release: Release) -> None:
    """bin/cluster, our templates, the hosts as stated, the engine first, and the environment as the last provider."""
    after = step(release)

    command = release.path / "bin/cluster"
    assert os.access(command, os.X_OK)
    assert "@" not in command.read_text().replace('"$@"', "")
    assert json.loads((release.version_path / "cluster.json").read_text()) == {"hosts": ["alpha:x"]}
    assert after.overlays == ("theirs", "bin/cluster", "releases/0.1.0/cluster.py", "releases/0.1.0/cluster.json")
    assert after.config_providers == (("theirs:Provider", None), (RUNTIME_FILE, {"path": "cluster.py"}))
    assert after.steps == (ASSEMBLE, CHECK, TAR)
    assert "CLUSTER_MODE" in rel_templates_path(after, "env.sh").read_text()
    assert rel_templates_path(after, "python.args").parent.name == "cluster"
    assert rel_templates_path(after, "systemd.service").is_file()

    assert changed_read_only(release, after) == []

    rel = make_boot_script(after, release.path / "start", (("underway_runtime", "permanent"),))
    script = boot_script.read(rel.with_suffix(".script"))
    [preload] = [each for each in script.instructions if isinstance(each, boot_script.PrimLoad)]
    assert preload == boot_script.PrimLoad("underway_runtime", (FIRST,))
    [load] = [each for each in script.instructions if isinstance(each, boot_script.Load)]
    assert load.start == {"class": "underway_runtime.cluster.application:Cluster"}


@pytest.mark.parametrize(("hosts", "typed"), [({"hosts": ["alpha"]}, "deploy"), ({}, "deploy HOST...")])
def test_the_build_says_how_it_is_brought_to_hosts(release: Release, hosts: dict[str, Any], typed: str) -> None:
    """With the word for hosts where the project states none; of any other release nothing is said."""
    assert [*over_hosts(release)] == []

    lines = [*over_hosts(step(replace(release, options=replace(release.options, cluster=hosts))))]
    assert [line.strip() for line in lines if "bin/cluster" in line] == [
        f"{os.path.relpath(release.path)}/bin/cluster {typed}"
    ]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"steps": ("theirs:step", ASSEMBLE, TAR)}, "not the last step before"),
        ({"name": "cluster"}, "is called cluster"),
    ],
)
def test_the_step_has_its_place(release: Release, changes: dict[str, Any], problem: str) -> None:
    """Last before assemble, in a release whose command is not called as its own."""
    with pytest.raises(StepError, match=problem):
        step(replace(release, **changes))


def test_the_step_refuses_by_name_to_overwrite_what_the_project_has_set(release: Release, tmp_path: Path) -> None:
    """Templates elsewhere, executables for others, and templates in rel/: all that is wrong, at once."""
    options = {"rel-templates-path": str(tmp_path / "own"), "include-executables-for": ["windows"]}
    with pytest.raises(StepError) as raised:
        step(replace(release, options=Options.of({**release.options, **options})))
    assert "include-executables-for is ['windows']" in str(raised.value)
    assert f"rel-templates-path is '{tmp_path / 'own'}'" in str(raised.value)

    (tmp_path / "rel").mkdir()
    (tmp_path / "rel/env.sh").write_text("ulimit -n 1\n")
    with pytest.raises(StepError, match=r"rel holds env\.sh, which"):
        step(release)


def test_the_step_refuses_a_configuration_that_states_what_it_generates(release: Release) -> None:
    """underway_runtime.cluster is each node's own, from its environment; at build and at boot."""
    release.version_path.mkdir(parents=True)
    make_sys_config(release, Evaluated({"underway_runtime": {"stop_timeout": 1}}))
    assert check_configuration(release) is release

    make_sys_config(release, Evaluated({"underway_runtime": {"cluster": {"mode": "local"}}}))
    with pytest.raises(StepError, match=r"states underway_runtime\.cluster"):
        check_configuration(release)


@pytest.mark.parametrize(
    ("environ", "stated"),
    [
        ({}, {}),
        (
            {"CLUSTER_MODE": "worker", "CLUSTER_MASTER": "alpha:1", "CLUSTER_TAGS": "x y", "CLUSTER_LOG": "false"},
            {"mode": "worker", "master": "alpha:1", "tags": ["x", "y"], "log": False},
        ),
        (
            {"CLUSTER_MODE": "master", "CLUSTER_WORKERS": "a@b c@d", "CLUSTER_DEPLOY": "f(1, 'a b')"},
            {"mode": "master", "workers": ["a@b", "c@d"], "deploy": "f(1, 'a b')"},
        ),
        (
            {"CLUSTER_SHUTDOWN_WITH_WORKERS": "true", "CLUSTER_SHUTDOWN_WITH_MASTER": "", "CLUSTER_JOIN_TIMEOUT": "5"},
            {"shutdown_with_workers": True, "join_timeout": 5.0, "start": 60.0},
        ),
        ({"CLUSTER_JOIN_TIMEOUT": "300"}, {"join_timeout": 300.0, "start": 360.0}),
    ],
)
def test_a_node_is_configured_from_its_environment(environ: dict[str, str], stated: dict[str, Any]) -> None:
    """Each variable is a key; one that is empty is as one that is not set, which the original took for true. A start may take as long as
    workers may take to join."""
    defaults: dict[str, Any] = {
        "mode": "local",
        "name": "me@here",
        "master": None,
        "workers": [],
        "tags": [],
        "listen": None,
        "certificates": None,
        "deploy": None,
        "shutdown_with_master": True,
        "shutdown_with_workers": False,
        "log": True,
        "join_timeout": 60.0,
    }

    start = {"start_timeout": stated["start"]} if "start" in stated else {}
    cluster = {key: value for key, value in stated.items() if key != "start"}
    found = evaluate(TEMPLATE, {"RELEASE_NODE": "me@here", **environ})
    assert found == {"underway_runtime": {**start, "cluster": {**defaults, **cluster}}}


@pytest.mark.parametrize("environ", [{"CLUSTER_LOG": "1"}, {"CLUSTER_JOIN_TIMEOUT": "soon"}])
def test_a_variable_that_says_nothing_stops_the_boot(environ: dict[str, str]) -> None:
    """With the file and line."""
    with pytest.raises(ConfigError, match=r"cluster\.py, line"):
        evaluate(TEMPLATE, {"RELEASE_NODE": "me", **environ})


def test_a_runtime_configuration_that_states_it_stops_the_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """What config/runtime.py says of the cluster would be overwritten, so it is refused by name."""
    monkeypatch.setattr(config, "_values", {"underway_runtime": {"cluster": {"mode": "local"}}})
    with pytest.raises(ConfigError, match=r"underway_runtime\.cluster is configured already"):
        evaluate(TEMPLATE, {"RELEASE_NODE": "me"})


def test_the_command_finds_its_release_through_links(release: Release, tmp_path: Path) -> None:
    """bin/cluster hands over to bin/NAME next to it, wherever it was called from."""
    step(release)
    command = release.path / "bin/wc"
    command.write_text('#!/bin/sh\nprintf "%s|" "$0" "$@"\n')
    command.chmod(0o755)
    (tmp_path / "one").symlink_to("wc/bin/cluster")
    (tmp_path / "two").symlink_to(tmp_path / "one")

    done = subprocess.run([tmp_path / "two", "deploy", "a b"], capture_output=True, text=True, timeout=30)
    assert done.stdout.endswith("/bin/wc|cluster|deploy|a b|")
