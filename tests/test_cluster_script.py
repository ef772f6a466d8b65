"""bin/cluster: what each command line asks for, as exact values; and what it refuses."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from underway_runtime.cluster import cli, node
from underway_runtime.cluster.answers import Answer
from underway_runtime.cluster.deploy import remote_commands
from underway_runtime.cluster.deploy.remote_commands import Installed, Settings
from underway_runtime.cluster.deploy.ssh import Ssh
from underway_runtime.cluster.inventory import Host, Limits
from underway_runtime.cluster.node import Wanted
from underway_runtime.configuration.runtime_schema import Cluster as Section
from underway_runtime.release.directory import VarDirectory
from underway_runtime.release.errors import UnderwayError, UsageError

THERE = Installed("/srv/wc", "wc", "0.1.0")
ENV = ["env", "RELEASE_VSN=0.1.0"]
VAR = VarDirectory(Path("/srv/wc/var"))


def asked(line: str) -> Wanted:
    mode, *words = shlex.split(line)
    return cli.node_of(mode, words, "wc")[0]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("local start", Wanted("local", ("start",))),
        ("local s", Wanted("local", ("start",))),
        ("local S", Wanted("local", ("start", "--shell"))),
        ("local start --shell", Wanted("local", ("start", "--shell"))),
        ("local D", Wanted("local", ("daemon", "--shell"))),
        ("local start_iex", Wanted("local", ("start", "--shell"))),
        ("local start -d 'f(1, \"a b\")'", Wanted("local", ("start",), deploy='f(1, "a b")')),
        ("local daemon --no-log --working-dir '/a b'", Wanted("local", ("daemon",), log=False, working_dir="/a b")),
        ("master daemon", Wanted("master", ("daemon",))),
        (
            "master d alpha b@beta:x --listen 10.0.0.1:1 --within 5 --shutdown-with-workers",
            Wanted(
                "master",
                ("daemon",),
                workers=("wc_worker@alpha", "b@beta"),
                listen="10.0.0.1:1",
                timeout=5.0,
                shutdown_with_workers=True,
            ),
        ),
        ("worker daemon alpha", Wanted("worker", ("daemon",), master="alpha:8786")),
        (
            "worker start [fe80::1]:9 -t x -t y,z -n me --no-shutdown-with-master -c /c",
            Wanted(
                "worker",
                ("start",),
                master="[fe80::1]:9",
                tags=("x", "y", "z"),
                name="me",
                shutdown_with_master=False,
                cookie_file="/c",
            ),
        ),
        ("worker stop -n me -c /c", Wanted("worker", ("stop",), name="me", cookie_file="/c")),
        ("worker restart", Wanted("worker", ("restart",))),
        ("worker restart --graceful", Wanted("worker", ("restart", "--graceful"))),
        ("master remote", Wanted("master", ("remote",))),
        ("local pid", Wanted("local", ("pid",))),
        ("local status --json", Wanted("local", ("status", "--json"))),
        ("worker run -n me rpc '1 + 1'", Wanted("worker", ("rpc", "1 + 1"), name="me")),
        ("worker run install 0.2.0 --again", Wanted("worker", ("install", "0.2.0", "--again"))),
    ],
)
def test_a_command_line_says_which_node_does_what(line: str, wanted: Wanted) -> None:
    """Each mode and command, with its short forms and all of its options."""
    assert asked(line) == wanted


@pytest.mark.parametrize(
    "line",
    [
        "local",
        "local --shell",
        "local strat",
        "local start alpha",
        "local start --hlep",
        "local start --lis 1:1",
        "worker start a b",
        "worker start alpha:x",
        "worker start --listen 1",
        "worker start -t 'a b'",
        "worker start --shutdown-with-workers",
        "worker start -d f",
        "master start --tag x",
        "master start -- -x",
        "master start --within soon",
        "master start --within -1",
        "worker stop now",
        "worker stop --tag x",
        "worker pid --json",
        "worker run",
        "local start --cookie secret",
        "local start --cookie=secret",
    ],
)
def test_what_is_no_command_is_refused(line: str) -> None:
    """With the status for usage; an unknown option never becomes a worker."""
    with pytest.raises(UsageError):
        asked(line)


@pytest.mark.parametrize(
    "line", ["d -x", "deploy --hlep", "deploy alpha --wait-time 5", "deploy --mode now", "frobnicate"]
)
def test_options_that_deploy_does_not_have_are_refused(line: str) -> None:
    """The original took them for hosts, and handed them to ssh."""
    mode, *words = shlex.split(line)
    with pytest.raises((UsageError, SystemExit)):
        cli._deploy_parser().parse_args(words if mode in {"d", "deploy"} else ["--frobnicate"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "stop --name a",
            "'stop' is a command for a node; type: bin/cluster MODE stop --name a; modes are local, master,",
        ),
        (
            "upgrade x.zst",
            "'upgrade' is a command for a node; type: bin/cluster MODE run upgrade x.zst; modes are local,",
        ),
        ("depoly", "'depoly' is not a mode; did you mean 'deploy'? modes are local, master, worker and deploy"),
    ],
)
def test_a_command_without_its_mode_is_met_with_what_to_type(tmp_path: Path, line: str, said: str) -> None:
    """Those of bin/NAME too."""
    (tmp_path / "releases/1.0").mkdir(parents=True)
    (tmp_path / "releases/1.0/cluster.py").touch()
    environ = {"RELEASE_ROOT": str(tmp_path), "RELEASE_NAME": "wc", "RELEASE_VSN": "1.0"}
    with pytest.raises(UsageError) as refused:
        cli.run(shlex.split(line), environ)
    assert str(refused.value).startswith(said)


def test_a_worker_without_a_master_is_told_how_to_say_it() -> None:
    """It may be said on the command line, or by a variable."""
    with pytest.raises(
        ValueError, match="a worker needs its master: bin/cluster worker daemon HOST:PORT, or CLUSTER_MASTER"
    ):
        Section(mode="worker")


@pytest.mark.parametrize(
    "option", ["--directory", "--listen", "-f", "--deploy", "--working-dir", "--ssh-config", "--revoke"]
)
def test_an_option_that_says_nothing_is_refused(option: str) -> None:
    """As one does with a variable that is not set: it is not taken for one that was not given."""
    with pytest.raises(UsageError, match="is given, and says nothing"):
        cli._deploy_parser().parsed(["alpha", option, ""])


@pytest.mark.parametrize(
    "line", ["worker start --name=", "master daemon --listen=", "worker stop --name=", "local start -d ''"]
)
def test_a_node_is_not_asked_for_with_an_option_that_says_nothing(line: str) -> None:
    """Nor is one that is stopped: another would be meant."""
    mode, *words = shlex.split(line)
    with pytest.raises(UsageError, match="is given, and says nothing"):
        cli.node_of(mode, words, "wc")


def test_a_master_waits_for_the_workers_of_a_file(tmp_path: Path) -> None:
    """A list, or a table, whose masters are no workers; what can't be understood is refused with the file's name."""
    (tmp_path / "list").write_text("alpha:x # one\nb@beta")
    (tmp_path / "table.toml").write_text('hosts = ["alpha", { host = "gamma", role = "master" }]')
    (tmp_path / "wrong").write_text("--all")

    assert asked(f"master daemon -f {tmp_path}/list").workers == ("wc_worker@alpha", "b@beta")
    assert asked(f"master daemon delta -f {tmp_path}/table.toml").workers == ("wc_worker@delta", "wc_worker@alpha")
    with pytest.raises(UsageError, match="wrong: the hosts can't be understood"):
        asked(f"master daemon -f {tmp_path}/wrong")
    with pytest.raises(UnderwayError, match="No such file"):
        asked(f"master daemon -f {tmp_path}/none")


def test_hosts_of_a_file_and_of_the_command_line_are_one_cluster(tmp_path: Path) -> None:
    """What is there twice, or differs only in case, is refused wherever the two come from."""
    (tmp_path / "list").write_text("alpha Gamma")

    for word, said in (("alpha", "worker@alpha is there 2 times"), ("gamma", "gamma and Gamma differ only in case")):
        with pytest.raises(UsageError, match=said):
            asked(f"master daemon {word} -f {tmp_path}/list")


def test_a_tilde_in_the_name_of_a_file_is_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no shell has seen it: in a table, or behind an equals sign."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "list").write_text("alpha")
    (tmp_path / "cookie").write_text("secret")
    (tmp_path / "cookie").chmod(0o600)

    assert asked("master daemon --file=~/list").workers == ("wc_worker@alpha",)
    assert node.read_cookie("~/cookie") == "secret"


def test_a_cookie_is_read_from_a_file_of_its_owner(tmp_path: Path) -> None:
    """And never from an argument; one that others can read, or that is none, is refused."""
    file = tmp_path / "cookie"
    file.write_text("secret\n")
    file.chmod(0o600)
    assert node.read_cookie(str(file)) == "secret"

    file.chmod(0o644)
    with pytest.raises(UnderwayError, match="chmod 600"):
        node.read_cookie(str(file))
    file.chmod(0o600)
    file.write_text("")
    with pytest.raises(UnderwayError, match="holds no cookie"):
        node.read_cookie(str(file))
    with pytest.raises(UnderwayError, match="No such file"):
        node.read_cookie(str(tmp_path / "none"))


def test_a_node_is_its_environment() -> None:
    """What bin/NAME finds set, for a worker with everything; what was not said is left to the environment."""
    wanted = asked("worker start alpha -t x -t y -n me --listen 10.0.0.2:0 --no-log --no-shutdown-with-master")

    assert node.environment(wanted, "me@beta", VAR) == {
        "CLUSTER_MODE": "worker",
        "RELEASE_NODE": "me@beta",
        "RELEASE_TMP": "/srv/wc/var/cluster/me@beta",
        "CLUSTER_MASTER": "alpha:8786",
        "CLUSTER_TAGS": "x y",
        "CLUSTER_LISTEN": "10.0.0.2:0",
        "CLUSTER_LOG": "false",
        "CLUSTER_SHUTDOWN_WITH_MASTER": "false",
    }
    assert node.environment(Wanted("local", ("stop",)), "wc_local@beta", VAR) == {
        "CLUSTER_MODE": "local",
        "RELEASE_NODE": "wc_local@beta",
        "RELEASE_TMP": "/srv/wc/var/cluster/wc_local@beta",
    }


def test_the_same_options_find_a_node_again() -> None:
    """stop, restart and remote of a named node ask where start has put it; the original's could not."""
    started, stopped = (asked(line) for line in ("worker daemon alpha -n me", "worker stop -n me"))

    names = {node.name_of(wanted, {}, "wc") for wanted in (started, stopped)}
    assert len(names) == 1
    assert {node.environment(w, names.copy().pop(), VAR)["RELEASE_TMP"] for w in (started, stopped)} == {
        f"/srv/wc/var/cluster/{names.pop()}"
    }


def test_a_node_is_named_by_option_variable_or_mode() -> None:
    """And at this host, unless it says another."""
    host = os.uname().nodename

    assert node.name_of(Wanted("worker", ("start",)), {}, "wc") == f"wc_worker@{host}"
    assert node.name_of(Wanted("worker", ("start",)), {"RELEASE_NODE": "a"}, "wc") == f"a@{host}"
    assert node.name_of(Wanted("worker", ("start",), name="b@x"), {"RELEASE_NODE": "a"}, "wc") == "b@x"
    with pytest.raises(UsageError):
        node.name_of(Wanted("worker", ("start",), name="../a"), {}, "wc")


def test_what_runs_on_hosts_is_said_as_words() -> None:
    """An expression with spaces stays one word, and each word is what the other side parses."""
    host = Host("beta", "me", ("x", "y"))
    settings = Settings(
        deploy="run(1, 'a b'); -x", log=False, working_dir="/a b", shutdown_with_master=False, timeout=7.0
    )
    worker = remote_commands.worker(THERE, host, "10.0.0.1:8786", "10.0.0.2:0", settings)
    master = remote_commands.master(THERE, "m@alpha", "start --shell", "10.0.0.1:8786", ["me@beta"], settings)

    assert worker == [
        *ENV,
        *("/srv/wc/bin/cluster", "worker", "daemon", "10.0.0.1:8786", "--name", "me@beta", "--listen", "10.0.0.2:0"),
        *("--tag", "x", "--tag", "y", "--working-dir=/a b", "--no-log", "--no-shutdown-with-master"),
    ]
    assert master == [
        *ENV,
        *("/srv/wc/bin/cluster", "master", "start", "--shell", "me@beta", "--name", "m@alpha"),
        *("--listen", "10.0.0.1:8786", "--deploy=run(1, 'a b'); -x", "--within", "7", "--working-dir=/a b"),
        "--no-log",
    ]
    assert remote_commands.stop(THERE, "worker", "me@beta") == [
        *ENV,
        *("/srv/wc/bin/cluster", "worker", "stop", "--name", "me@beta"),
    ]
    assert cli.node_of("master", master[4:], "wc")[0].deploy == settings.deploy
    assert cli.node_of("worker", worker[4:], "wc")[0].tags == ("x", "y")


def test_a_cookie_is_in_no_list_of_words() -> None:
    """It is the first line of standard input."""
    words = remote_commands.with_cookie(["sh", "-c", 'printf %s "$RELEASE_COOKIE"'], 60)

    assert subprocess.run(words, input=b"a b$c\nrest", capture_output=True, timeout=30).stdout == b"a b$c"


def test_what_ssh_is_given_leaves_nothing_to_a_shell_or_its_options() -> None:
    """Every word arrives as it is; keys of hosts are checked, nothing is asked, and each wait has an end."""
    argv = Ssh(Limits(connect=3), Path("/tmp/uw"), "/tmp/config").argv(
        Host("[fe80::1]", user="deploy", port=2222), ["echo", "a b", "$x;`y`"]
    )

    assert argv[:3] == ["ssh", "-F", "/tmp/config"]
    assert argv[-3:] == ["--", "fe80::1", "echo 'a b' '$x;`y`'"]
    assert argv[argv.index("-l") + 1] == "deploy"
    assert argv[argv.index("-p") + 1] == "2222"
    for option in ("StrictHostKeyChecking=yes", "BatchMode=yes", "ConnectTimeout=3", "ServerAliveInterval=1"):
        assert option in argv


def test_an_answer_says_why() -> None:
    """What was said on standard error, or the status."""
    assert Answer(1, "", "error: no\n").reason == "no"
    assert Answer(3).reason == "it ended with status 3"


def test_the_room_of_clusters_needs_nothing_but_the_standard_library() -> None:
    """``bin/cluster`` works on a host before anything of the engine is imported."""
    code = "import underway_runtime.cluster.cli, sys; print({'distributed', 'dask', 'cryptography'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.stdout == "set()\n", done.stderr
