"""What ends a deploy before its time, or cuts off a host: nothing stays of it here, and nothing waits for the rest there."""

from __future__ import annotations

import argparse
import contextlib
import json
import linecache
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from archive_helpers import File, make_tree
from node_helpers import eventually
from test_cluster_preflight import FACTS
from test_cluster_remembered import asked
from underway_runtime.cluster import answers, interruption
from underway_runtime.cluster.answers import Answer
from underway_runtime.cluster.deploy import deploy, receive, remote_commands, ssh, start
from underway_runtime.cluster.deploy.plan import DeployPlan, OnlyPart
from underway_runtime.cluster.interruption import Interrupted, Unfinished
from underway_runtime.release.directory import VarDirectory
from underway_runtime.release.errors import UnderwayError

# --------------------------------------------------------------------------------------------------- who deploys


@pytest.fixture
def unheard() -> Iterator[None]:
    """A SIGTERM that nobody looks at ends nothing."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


class SignalAt:
    """Sends a signal to this process where the code of a deploy has come to its so manieth line."""

    FILES = frozenset({interruption.__file__, deploy.__file__, ssh.__file__, contextlib.__file__})

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        file, line = frame.f_code.co_filename, frame.f_lineno
        if file not in self.FILES:
            return None
        if event in ("call", "line") and linecache.getline(file, line).strip() != "try:":  # where no signal is taken
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGTERM)
        return self


@pytest.mark.usefixtures("unheard")
@pytest.mark.parametrize("fails", [False, True])
def test_a_signal_leaves_no_directory_whenever_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """At any line, from before the first directory is made until the last one is gone; and it says so, or has done what was asked."""
    (tmp_path / "ssh").write_text("#!/bin/sh\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    make_tree(tmp_path / "wc", "1.0", {"releases/1.0/cluster.json": File(b"{}")})
    plans = asked(VarDirectory(tmp_path / "wc/var"), "beta")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    options = argparse.Namespace(stop=False, renew=False, revoke=[])

    def done(*_: object) -> dict[str, Any]:
        if fails:
            raise UnderwayError("on purpose")
        return {"done": True}

    monkeypatch.setattr(deploy, "deploy", done)
    ends: set[type] = set()
    for number in range(1, 1000):
        tracer = SignalAt(number)
        sys.settrace(tracer)
        try:
            outcome = deploy._ended(options, plans)
        except UnderwayError as error:
            ends.add(type(error))
        else:
            ends.add(type(outcome))
        finally:
            sys.settrace(None)
        left = [*(tmp_path / "scratch").iterdir(), *Path("/tmp").glob(f"uw-{os.getpid()}-*")]
        assert left == [], number
        if tracer.left > 0:
            break
    assert ends == {Unfinished, UnderwayError if fails else dict}


LOOK: Any = {}
SSH: Any = None


@pytest.fixture
def plan(tmp_path: Path) -> DeployPlan:
    """A deploy to one host."""
    make_tree(tmp_path / "wc", "1.0", {"releases/1.0/cluster.json": File(b"{}")})
    (plan,) = asked(VarDirectory(tmp_path / "wc/var"), "beta")
    return plan


def test_a_master_in_the_foreground_is_waited_for_though_a_host_boots_another_version(
    tmp_path: Path, plan: DeployPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so at once, and ends with that when the master does: nothing is left that nobody waits for."""
    said: list[str] = []

    def report(text: str) -> None:
        said.append(text)
        if text.startswith("the master is ready"):
            (tmp_path / "end").touch()

    def commit(*_: object) -> None:
        raise OnlyPart("beta boots another")

    monkeypatch.setattr(start, "commit", commit)
    monkeypatch.setattr(start, "status_here", lambda _: {"state": "running"})
    command = ["sh", "-c", f"until [ -e {tmp_path}/end ]; do sleep 0.05; done"]

    with pytest.raises(OnlyPart, match="beta boots another"):
        start._in_the_foreground(replace(plan, report=report), SSH, LOOK, command)

    assert [line.partition(";")[0] for line in said] == ["beta boots another", "the master is ready"]


def test_a_commit_that_fails_says_what_to_type(plan: DeployPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each host, by its name: the same deploy is refused, since all of it runs."""
    monkeypatch.setattr(start, "on", lambda *_: Answer(255, errors="no route"))
    facts = replace(FACTS, releases={"1.0": "a", "0.9": "b"})
    with pytest.raises(OnlyPart) as failed:
        start.commit(plan, SSH, {plan.hosts[0]: facts})

    typed = f"env RELEASE_VSN=1.0 {FACTS.directory}/bin/cluster worker run --name wc_worker@beta commit"
    assert str(failed.value).splitlines()[1:] == ["  - beta: no route", f"type there: {typed}"]


def test_workers_that_have_joined_stay_where_the_commit_is_interrupted(
    plan: DeployPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it runs: what makes the version boot is done to the end."""
    commits: list[str] = []

    def commit(*_: object) -> None:
        commits.append("begun")
        if len(commits) == 1:
            raise Interrupted(signal.SIGINT)

    monkeypatch.setattr(start, "commit", commit)
    monkeypatch.setattr(start, "here", lambda *_: Answer(0, "wc_worker@beta\n"))
    said: list[str] = []

    start._join(replace(plan, report=said.append), SSH, LOOK, [], ["wc_worker@beta"])

    assert len(commits) == 2
    assert said[0] == "interrupted by Ctrl-C; all of it runs, and is made to boot on every host first"
    assert said[1].startswith("1 workers have joined wc_master@")


def test_a_stop_that_is_interrupted_lists_what_it_has_stopped(
    plan: DeployPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says that others may run on."""

    def stop(plan: DeployPlan, ssh: object, stopped: list[str]) -> None:
        stopped.append("wc_master@here")
        raise Interrupted(signal.SIGHUP)

    monkeypatch.setattr(deploy, "stop", stop)
    with pytest.raises(Unfinished) as ended:
        deploy._stop([plan], SSH)

    assert str(ended.value).endswith("goes on where this ended\nstopped: wc_master@here")
    assert ended.value.exit_code == 129


# ---------------------------------------------------------------------------------------------------------- a host


def begun(words: list[str]) -> subprocess.Popen[bytes]:
    """A command of a host that is cut off: what it is to read does not come, and does not end."""
    return subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


@pytest.mark.parametrize(
    "words",
    [
        answers.asking(["cat"], "5eed", reads=True, limit=0.1),
        remote_commands.with_cookie(["cat"], 0.1),
        ["bash", "--posix", *answers.asking(["cat"], "5eed", reads=True, limit=0.1)[1:]],
    ],
)
@pytest.mark.sample
@pytest.mark.parametrize("sent", [b"", b"\n\nunderway-inp"])
def test_a_host_that_is_cut_off_waits_for_nothing(words: list[str], sent: bytes) -> None:
    """Neither for what a command is to read, nor for a cookie; and nothing that it has started for that stays."""
    if sent.startswith(b"\n") and "with-cookie" in words:
        sent = b"half a cook"
    with begun(words) as process:
        assert process.stdin is not None
        process.stdin.write(sent)
        process.stdin.flush()
        assert process.wait(60) != 0

    def over() -> bool:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    eventually(over, "all of it has ended")


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_what_has_come_is_not_limited_any_more(shell: str) -> None:
    """When a command has its input, or its cookie, nothing ends it."""
    looks = 'while grep -qs "^sleep.98765" /proc/[0-9]*/cmdline; do read line || :; done; echo over'
    inner = remote_commands.with_cookie(["sh", "-c", looks], 98765)
    line = shlex.join([shell, *answers.asking(inner, "5eed", reads=True, limit=98765)[1:]])

    done = subprocess.run(
        ["sh", "-c", line], input=answers.before_input("5eed") + b"secret\n", capture_output=True, timeout=60
    )

    answer = answers.answer("5eed", done.returncode, done.stdout, done.stderr)
    assert (answer.status, answer.output, answer.errors) == (0, "over\n", "")


def test_certificates_have_to_come_in_time_and_whole() -> None:
    """Half of them is refused, and so is what does not end."""
    whole = receive.Certificates("leaf", "authority", "{}").dump()
    reading, writing = os.pipe()
    os.write(writing, whole)
    with pytest.raises(UnderwayError, match="has not come within"):
        receive._arrived(reading, 0.1)
    os.write(writing, whole)
    os.close(writing)
    assert receive.Certificates.read(receive._arrived(reading, 60)) == receive.Certificates("leaf", "authority", "{}")
    os.close(reading)

    for part in (b"", whole[:-1], whole[: len(whole) // 2], json.dumps({"leaf": "leaf"}).encode(), b"[]", b"1"):
        with pytest.raises(UnderwayError, match="not a whole certificate; nothing was changed"):
            receive.Certificates.read(part)
