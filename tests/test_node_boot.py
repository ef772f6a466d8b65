"""Nodes that boot, run and stop: real processes, from a release directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from code_server_helpers import installed
from node_helpers import (
    TIMEOUT,
    App,
    MakeNode,
    eventually,
    finish,
    read_until,
    recorder,
    terminate,
)
from underway_runtime.release.boot_script import Start


def test_a_node_starts_in_order_and_stops_in_reverse(make: MakeNode) -> None:
    """SIGTERM stops what runs, in reverse, and the status is 0."""
    node = make(recorder("one"), recorder("two", requires=("one",)))
    process = node.spawn("start")
    read_until(process.stdout, "start two")

    status, out, err = terminate(process)

    assert (status, out.split("\n"), err) == (0, ["stop two", "stop one", ""], "")


def test_the_pid_is_known_while_the_node_runs(make: MakeNode) -> None:
    """`pid` prints it, the pid file has it, and afterwards both are gone."""
    node = make(recorder("one"))
    process = node.spawn("start")
    read_until(process.stdout, "start one")

    assert node.run("pid").stdout == f"{process.pid}\n"
    assert (node.var / "run/pid").read_text() == f"{process.pid}\n"
    terminate(process)
    after = node.run("pid")

    assert (after.returncode, after.stdout, after.stderr) == (1, "", "error: hello is not running\n")
    assert not (node.var / "run/pid").exists()


def test_stop_returns_when_the_node_has_stopped(make: MakeNode) -> None:
    """Whoever calls `stop` may start the next one right away; a second stop says that nothing runs."""
    node = make(recorder("one", stop="await asyncio.sleep(0.2); print('late', flush=True)"))
    process = node.spawn("start")
    read_until(process.stdout, "start one")

    stop = node.run("stop")
    again = node.run("stop")

    assert (stop.returncode, stop.stdout, stop.stderr) == (0, "", "")
    assert process.poll() == 0
    assert process.communicate()[0] == "stop one\nlate\n"
    assert (again.returncode, again.stderr) == (1, "error: hello is not running\n")


def test_a_second_start_is_refused(make: MakeNode) -> None:
    """One node per var: the error names the pid of the one that runs, which goes on."""
    node = make(recorder("one"))
    process = node.spawn("start")
    read_until(process.stdout, "start one")

    second = node.run("start")

    assert second.returncode == 1
    assert f"error: hello is running already, pid {process.pid}" in second.stderr
    assert terminate(process)[0] == 0


def test_another_var_makes_another_node(make: MakeNode, tmp_path: Path) -> None:
    """RELEASE_VAR separates nodes of one release directory, whose own var is not made."""
    node = make(recorder("one"))
    node.environ["RELEASE_VAR"] = str(tmp_path / "elsewhere")
    process = node.spawn("start")
    read_until(process.stdout, "start one")

    assert node.run("pid").stdout == f"{process.pid}\n"
    assert not node.var.exists()
    assert sorted(p.name for p in (tmp_path / "elsewhere").iterdir()) == ["COOKIE", "run"]
    terminate(process)


def test_a_failed_start_stops_the_boot(make: MakeNode) -> None:
    """What had started is stopped; the application, the cause and its line are shown; the status is 1."""
    node = make(recorder("one"), recorder("two", start='raise RuntimeError("no database")'))

    done = node.run("start")

    assert (done.returncode, done.stdout) == (1, "start one\nstart two\nstop one\n")
    assert done.stderr.endswith("error: two could not start: RuntimeError: no database\n")
    assert f'File "{node.root}/lib/two-1.0/two.py", line' in done.stderr
    assert "underway_runtime" not in done.stderr.replace("from underway_runtime import", "")
    assert not (node.var / "run/pid").exists()


ENDS = """
import asyncio
from underway_runtime import Application

class App(Application):
    async def start(self):
        print("start", self.name, flush=True)
        return asyncio.create_task(self.work())

    async def work(self):
        await asyncio.sleep(0)
        if self.config("fails"):
            raise RuntimeError("lost")

    async def stop(self):
        print("stop", self.name, flush=True)
"""


@pytest.mark.parametrize(("fails", "status"), [(False, 0), (True, 1)])
def test_a_permanent_application_takes_the_node_with_it(make: MakeNode, fails: bool, status: int) -> None:
    """The status says whether it failed, and everything is stopped in order."""
    node = make(recorder("one"), App("job", ENDS, {"class": "job:App"}))
    node.configure(job={"fails": fails})

    done = node.run("start")

    assert done.returncode == status
    assert done.stdout.splitlines() == ["start one", "start job", "stop job", "stop one"]
    assert f"hello stopped, because job {'failed' if fails else 'ended'}\n" in done.stderr


def test_a_transient_application_may_end_well(make: MakeNode) -> None:
    """The others go on, and editing its mode in the script changes that."""
    node = make(recorder("one"), App("job", ENDS, {"class": "job:App"}, mode="transient"))
    process = node.spawn("start")
    read_until(process.stdout, "stop job")
    assert terminate(process)[:2] == (0, "stop one\n")

    script = json.loads(node.script.read_text())
    script["instructions"][-1]["mode"] = "permanent"
    node.script.write_text(json.dumps(script))

    assert node.run("start").returncode == 0


def test_the_order_in_the_script_is_the_order_of_the_starts(make: MakeNode) -> None:
    """The boot obeys the script, not the order in which the build wrote it."""
    apps = (recorder("one"), recorder("two"))
    node = make(*apps)
    node.write_script(apps, [Start("two", "permanent"), Start("one", "permanent")])
    process = node.spawn("start")

    assert [read_until(process.stdout, "start").string for _ in apps] == ["start two\n", "start one\n"]
    assert terminate(process)[1] == "stop one\nstop two\n"


def test_an_order_that_breaks_a_requirement_stops_the_boot(make: MakeNode) -> None:
    """Both applications are named."""
    apps = (recorder("one"), recorder("two", requires=("one",)))
    node = make(*apps)
    node.write_script(apps, [Start("two", "permanent"), Start("one", "permanent")])

    done = node.run("start")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: two can't start: it requires one, not started")


def test_a_missing_script_stops_the_boot(make: MakeNode) -> None:
    """The error names the file and what to do."""
    node = make(recorder("one"))
    node.script.unlink()

    done = node.run("start")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: the boot script {node.script} is missing; restore it from the release's archive, or name another with"
        " RELEASE_BOOT_SCRIPT\n"
    )


def test_a_missing_application_stops_the_boot(make: MakeNode) -> None:
    """Before anything of the release is imported, all that is missing is listed."""
    node = make(recorder("one"), recorder("two"))
    for name in ("one", "two"):
        (node.root / f"lib/{name}-1.0").rename(node.root / f"lib/gone-{name}")

    done = node.run("start")

    assert done.returncode == 1
    assert done.stderr == (
        "error: applications are missing; restore them from the release's archive:\n"
        f"  - {node.root}/lib/one-1.0\n  - {node.root}/lib/two-1.0\n"
    )


def test_modules_are_imported_before_anything_starts(make: MakeNode) -> None:
    """Embedded mode finds what can't be imported at boot; interactive mode when it is used."""
    node = make(recorder("one"), App("two", "import nowhere", {"class": "two:App"}))

    embedded = node.run("start")
    node.environ["RELEASE_MODE"] = "interactive"
    interactive = node.run("start")

    assert (embedded.returncode, embedded.stdout) == (1, "")
    assert "  - two: ModuleNotFoundError: No module named 'nowhere'\n" in embedded.stderr
    assert "RELEASE_MODE=interactive" in embedded.stderr
    assert "PYTHONPATH is not read: code of the host is put on sys.path by config/runtime.py" in embedded.stderr
    assert (interactive.returncode, interactive.stdout) == (1, "start one\nstop one\n")
    assert interactive.stderr.endswith("two could not start: ModuleNotFoundError: No module named 'nowhere'\n")


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("one:Nothing", "one could not start: one has no 'Nothing', which 'one:Nothing' names"),
        ("one.two:App", "one could not start: there is no module 'one.two', which 'one.two:App' names"),
        ("one:sys", "one could not start: one:sys is not a class that derives from underway_runtime.Application"),
    ],
)
def test_what_starts_must_be_there(make: MakeNode, reference: str, problem: str) -> None:
    """A reference that leads nowhere is told as such."""
    app = recorder("one")
    node = make(App("one", app.source, {"class": reference}))

    done = node.run("start")

    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, f"error: {problem}")


def test_a_stop_that_hangs_is_bounded(make: MakeNode) -> None:
    """The node ends within its deadline, the others are stopped, and the status says that not all went well."""
    node = make(recorder("one"), recorder("two", stop="await asyncio.sleep(1000)"))
    node.configure(underway_runtime={"stop_timeout": 0.2})
    process = node.spawn("start")
    read_until(process.stdout, "start two")

    assert node.run("stop").returncode == 0
    status, out, err = finish(process)

    assert (status, out) == (1, "stop two\nstop one\n")
    assert "two has not stopped within 0.2 s and is abandoned" in err


BLOCKS = """
import sys, threading, time
from underway_runtime import Application

class App(Application):
    def start(self):
        print("start", self.name, threading.current_thread().name, flush=True)

    def stop(self):
        print("stop", self.name, threading.current_thread().name, flush=True)
        {stop}
"""


def test_ordinary_methods_run_in_a_thread_of_their_application(make: MakeNode) -> None:
    """Both in the same one, so that what has to be closed where it was opened is."""
    node = make(App("one", BLOCKS.format(stop="pass"), {"class": "one:App"}))
    process = node.spawn("start")
    read_until(process.stdout, "start one one")

    assert terminate(process)[:2] == (0, "stop one one\n")


def test_what_was_just_starting_is_stopped_too(make: MakeNode) -> None:
    """A signal while an ordinary start runs: it can't be cancelled, so it is waited for and its stop is called."""
    source = BLOCKS.format(stop="pass").replace("flush=True)\n\n", "flush=True)\n        time.sleep(0.5)\n\n", 1)
    node = make(App("one", source, {"class": "one:App"}))
    process = node.spawn("start")
    read_until(process.stdout, "start one one")

    assert terminate(process)[:2] == (0, "stop one one\n")


LEFT_BEHIND = "threading.Thread(target=time.sleep, args=(1000,), daemon=False).start()"


@pytest.mark.sample
@pytest.mark.parametrize("interpreter", list(installed()), indirect=True)
@pytest.mark.parametrize("stop", ["time.sleep(1000)", LEFT_BEHIND], ids=["blocks", "leaves a thread behind"])
def test_threads_do_not_keep_the_node(make: MakeNode, stop: str) -> None:
    """Neither a blocking stop nor a thread that an application forgot makes `stop` wait for ever."""
    node = make(App("one", BLOCKS.format(stop=stop), {"class": "one:App"}))
    node.configure(underway_runtime={"stop_timeout": 0.5})
    process = node.spawn("start", "--shell", stdin=-1)
    read_until(process.stdout, "start one")

    assert node.run("stop").returncode == 0
    status, _, err = finish(process)

    assert status == 1
    assert "abandoned" in err or "its process has not ended; threads: Thread-" in err
    assert not (node.var / "run/pid").exists()


def test_stop_says_when_a_node_does_not_stop(make: MakeNode) -> None:
    """It is not killed: the error names its pid and the command that would."""
    node = make(recorder("one"))
    node.configure(underway_runtime={"stop_timeout": 0.1})
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    process.send_signal(signal.SIGSTOP)
    try:
        done = node.run("stop")
    finally:
        process.send_signal(signal.SIGCONT)

    assert done.returncode == 1
    assert f"hello (pid {process.pid}) was asked to stop and has not within 5.1 s" in done.stderr
    assert finish(process)[0] == 0


def test_a_signal_in_the_middle_of_the_boot_stops_what_had_started(make: MakeNode) -> None:
    """A start that waits does not keep the node from stopping."""
    node = make(recorder("one"), recorder("two", start="await asyncio.sleep(1000)"))
    process = node.spawn("start")
    read_until(process.stdout, "start two")

    assert terminate(process)[:2] == (0, "stop one\n")


def test_a_signal_during_an_import_ends_the_boot(make: MakeNode) -> None:
    """Nothing runs yet, so there is nothing to wait for; the pid file is gone."""
    node = make(App("one", "import time\nprint('importing', flush=True)\ntime.sleep(1000)", {"class": "one:App"}))
    process = node.spawn("start")
    read_until(process.stdout, "importing")

    status, _, err = terminate(process)

    assert (status, err) == (0, "hello was stopped before it had started\n")
    assert not (node.var / "run/pid").exists()


def test_ctrl_c_stops_and_a_second_one_forces(make: MakeNode) -> None:
    """The first SIGINT is as SIGTERM; who can't wait presses it again."""
    node = make(recorder("one", stop="await asyncio.sleep(1000)"))
    process = node.spawn("start")
    read_until(process.stdout, "start one")

    process.send_signal(signal.SIGINT)
    read_until(process.stdout, "stop one")
    process.send_signal(signal.SIGINT)
    status, _, err = finish(process)

    assert (status, err) == (1, "hello is ended by force; what still ran has not stopped\n")
    assert not (node.var / "run/pid").exists()


def test_sys_exit_in_a_task_stops_the_node_in_order(make: MakeNode) -> None:
    """It means to end the process, and everything is stopped first."""
    node = make(recorder("one"), recorder("two", start="asyncio.get_running_loop().call_soon(sys.exit, 5)"))

    done = node.run("start")

    assert (done.returncode, done.stdout.splitlines()[-2:]) == (1, ["stop two", "stop one"])
    assert "SystemExit in a task; hello stops" in done.stderr


def test_a_var_that_cannot_be_written_is_told(make: MakeNode, tmp_path: Path) -> None:
    """One error, which names RELEASE_VAR."""
    node = make(recorder("one"))
    (tmp_path / "file").touch()
    node.environ["RELEASE_VAR"] = str(tmp_path / "file")

    done = node.run("start")

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}/file/run can't be written: Not a directory; set RELEASE_VAR")


def test_the_environment_and_the_command_line_hold_no_cookie(make: MakeNode) -> None:
    """The cookie that the node made is in its file and nowhere that others look."""
    node = make(recorder("one"))
    process = node.spawn("start")
    read_until(process.stdout, "start one")

    secret = (node.var / "COOKIE").read_text().strip()
    seen = [Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]

    assert secret
    assert not any(secret.encode() in each for each in seen)
    assert secret not in "".join(terminate(process)[1:])


def test_no_other_process_runs_code_in_a_release_unless_asked_for(make: MakeNode) -> None:
    """What Python 3.14 can do to another process is off in keeper and node, by arguments that older ones ignore."""
    node = make(recorder("one"))
    process = node.spawn("start")
    read_until(process.stdout, "start one")

    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in {process.pid, *node.running()}]
    answer = node.run("eval", "import sys; print(getattr(sys, 'is_remote_debug_enabled', bool)())")

    assert len(lines) == 2
    assert all(b"disable-remote-debug" in line for line in lines)
    assert answer.stdout == "False\n"


def test_a_crashed_node_is_not_in_the_way(make: MakeNode) -> None:
    """After a SIGKILL `pid` says that nothing runs, and `start` works."""
    node = make(recorder("one"))
    first = node.spawn("start")
    read_until(first.stdout, "start one")
    for pid in node.running():
        os.kill(pid, signal.SIGKILL)
    first.wait(timeout=TIMEOUT)
    eventually(lambda: node.running() == [], "its node has ended too")

    assert (node.var / "run/pid").exists()
    assert node.run("pid").returncode == 1
    second = node.spawn("start")
    read_until(second.stdout, "start one")
    assert node.run("pid").stdout == f"{second.pid}\n"
    assert terminate(second)[0] == 0


def test_application_reads_its_own_name_version_and_configuration(make: MakeNode) -> None:
    """Already in __init__, without arguments."""
    source = """
    from underway_runtime import Application, config

    class App(Application):
        def __init__(self):
            print(self.name, self.version, self.config("port"), self.config("no", 7), flush=True)

        def start(self):
            print(config.get("one", "port"), flush=True)
    """
    node = make(App("one", source, {"class": "one:App"}))
    node.configure(one={"port": 8000})
    process = node.spawn("start")

    assert read_until(process.stdout, ".").string == "one 1.0 8000 7\n"
    assert read_until(process.stdout, ".").string == "8000\n"
    assert terminate(process)[0] == 0


AS_NOBODY = """
import os, sys
from underway_runtime import boot
from underway_runtime.control.client import client  # while the interpreter can be read
from underway_runtime.node import commands
from underway_runtime.process import leftovers, termination
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.argv = ["boot", "stop"]
sys.exit(boot.main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_node_of_another_user_is_not_stopped(make: MakeNode) -> None:
    """Who may not signal it is told whose it is."""
    node = make(recorder("one"))
    with tempfile.TemporaryDirectory() as var:
        Path(var).chmod(0o755)
        node.environ["RELEASE_VAR"] = var
        process = node.spawn("start")
        read_until(process.stdout, "start one")
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY],
            env={"RELEASE_ROOT": str(node.root), "RELEASE_NAME": "hello", "RELEASE_VSN": "1", "RELEASE_VAR": var},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )

        assert (done.returncode, done.stderr) == (
            1,
            f"error: hello (pid {process.pid}) belongs to user 0; stop it as that user or as root\n",
        )
        assert terminate(process)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            ("start", "--shel"),
            "error: start does not take '--shel'; did you mean '--shell'? usage: hello start [--shell]",
        ),
        (("pid", "now"), "error: pid does not take 'now'; usage: hello pid"),
        (("eval",), "error: eval needs CODE; usage: hello eval CODE [ARGS...]"),
    ],
)
def test_a_wrong_command_line_is_status_2(make: MakeNode, arguments: tuple[str, ...], problem: str) -> None:
    """The error says how the command is used."""
    done = make(recorder("one")).run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(problem)


def test_importing_the_runtime_costs_nothing() -> None:
    """An application that imports it gets names that are loaded when they are used."""
    code = (
        "import sys, underway_runtime as u; ours = lambda: sorted(n for n in sys.modules if n.startswith(u.__name__));"
        " print(ours()); print(u.Application.__module__, u.config.get('a', 'b', 1), callable(u.env), hasattr(u, 'nothing'))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT)

    assert done.stdout == "['underway_runtime']\nunderway_runtime.application 1 True False\n"


@pytest.mark.parametrize(
    ("commands", "others"),
    [
        (
            "node.commands",
            (
                "asyncio underway_runtime.control.client.client underway_runtime.process.process_table"
                " underway_runtime.release.boot_script underway_runtime.release.decode"
            ),
        ),
        (
            "upgrade.commands, underway_runtime.upgrade.sentences",
            (
                "asyncio underway_runtime.apps underway_runtime.configuration underway_runtime.node"
                " underway_runtime.release.archives.archive underway_runtime.release.boot_script underway_runtime.upgrade.install"
                " underway_runtime.upgrade.preflight underway_runtime.upgrade.unpack"
            ),
        ),
    ],
    ids=["pid", "releases"],
)
def test_commands_that_only_ask_import_little(commands: str, others: str) -> None:
    """Asking for a `pid`, or for the `releases`, does not pay for the loop of a node, nor for what other commands do."""
    code = f"import sys, underway_runtime.{commands}; print(sorted(set({others!r}.split()) & sys.modules.keys()))"

    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=TIMEOUT)

    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_eval_imports_nothing_that_runs_applications(make: MakeNode) -> None:
    """Code is run with the configuration alone."""
    done = make(recorder("one")).run("eval", "import sys; print({'underway_runtime.apps'} & sys.modules.keys())")

    assert (done.stdout, done.stderr, done.returncode) == ("set()\n", "", 0)
