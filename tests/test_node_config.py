"""The configuration of a real node: its own file, what a start refuses, what `config` shows, and what eval leaves alone."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from code_server_helpers import installed
from disks import small_disk
from node_helpers import App, MakeNode, Node, finish, read_until, recorder, terminate

RUNTIME = "underway_runtime.providers:PythonFile"


def configure(node: Node, runtime: str, *flags: str, **config: Any) -> None:
    """A sys.config with these values, whose one provider is config/runtime.py with this text."""
    document = {
        "format": 1,
        "config": config,
        "providers": [[RUNTIME, {"path": "runtime.py"}]],
        "flags": dict.fromkeys(flags, True),
    }
    (node.version / "sys.config").write_text(json.dumps(document))
    (node.version / "runtime.py").write_text(f"from underway_runtime import config, env\n{runtime}\n")


def resolved(node: Node) -> list[Path]:
    """The files of resolved configuration that there are, half written ones too."""
    return [file for file in (node.var / "run").iterdir() if ".config" in file.name]


def test_each_boot_has_a_file_of_its_own(make: MakeNode) -> None:
    """0600 and whole; that of a boot that was killed goes with the next boot, the own one with the node."""
    node = make(recorder("one"))
    configure(node, "config('one', port=int(env('PORT')), listen=[])")
    node.environ["PORT"] = "1"
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    [first] = resolved(node)
    process.kill()
    finish(process)
    (node.var / "run/.hello-1-abc.config.77").write_text("half")

    process = node.spawn("start")
    read_until(process.stdout, "start one")
    [second] = resolved(node)

    assert first != second
    assert stat.S_IMODE(second.stat().st_mode) == 0o600
    assert json.loads(second.read_text())["config"]["one"]["port"] == 1
    terminate(process)
    assert resolved(node) == []


DIES = """
import os, signal, sys
left = int(env('DIES_AT', '0'))
def hook(event, arguments):
    global left
    changes = event in ('os.chmod', 'os.remove', 'os.rename', 'os.mkdir')
    if changes or (event == 'open' and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
config('one', port=1)
"""
"""Dies at the Nth change of the disk from here on."""


def test_a_boot_killed_at_any_write_leaves_a_whole_file_or_none(make: MakeNode) -> None:
    """And the next boot leaves nothing of it."""
    node = make(recorder("one"))
    configure(node, DIES)
    died = 0
    while True:
        node.environ["DIES_AT"] = str(died + 1)
        process = node.spawn("start")
        if "start one" in (process.stdout.readline() if process.stdout else ""):
            terminate(process)
            break
        finish(process)
        died += 1
        for file in resolved(node):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            if not file.name.startswith("."):
                assert json.loads(file.read_text())["config"]["one"]["port"] == 1

        node.environ["DIES_AT"] = "0"
        process = node.spawn("start")
        read_until(process.stdout, "start one")
        assert len(resolved(node)) == 1
        terminate(process)
    assert died >= 3


def test_two_boots_at_once_do_not_meet(make: MakeNode) -> None:
    """A second start is refused before it resolves anything, and the file of the first is as it was."""
    node = make(recorder("one"))
    configure(node, "print('resolving', flush=True)\nconfig('one', port=int(env('PORT')))")
    node.environ["PORT"] = "1"
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    [file] = resolved(node)
    before = file.read_bytes()

    node.environ["PORT"] = "2"
    second = node.run("start")

    assert (second.returncode, second.stdout) == (1, "")
    assert "is running already" in second.stderr
    assert resolved(node) == [file]
    assert file.read_bytes() == before


def test_of_many_starts_and_evals_at_once_each_has_its_own_configuration(make: MakeNode) -> None:
    """One start wins, and the one file is the winner's; each eval sees what its own caller configured."""
    node = make(recorder("one", start="print('port', self.config('port'), flush=True)"))
    configure(node, "config('one', port=int(env('PORT')))")
    code = "from underway_runtime import config; print(config.get('one', 'port'))"
    starts, evals = [], []
    for port in range(1, 5):
        node.environ["PORT"] = str(port)
        starts.append(node.spawn("start"))
        evals.append(node.spawn("eval", code))

    assert [finish(process)[1] for process in evals] == ["1\n", "2\n", "3\n", "4\n"]
    losers = [process for process in starts if "start one" not in (process.stdout.readline() if process.stdout else "")]
    assert [finish(process)[0] for process in losers] == [1, 1, 1]
    [winner] = set(starts) - set(losers)
    port = int(read_until(winner.stdout, r"port (\d)")[1])
    [file] = resolved(node)
    assert json.loads(file.read_text())["config"]["one"]["port"] == port == starts.index(winner) + 1
    terminate(winner)


def test_eval_reads_the_configuration_and_writes_none(make: MakeNode) -> None:
    """Another environment of the caller's reaches eval, and never the running node or its file."""
    node = make(recorder("one"))
    configure(node, "config('one', port=int(env('PORT')))")
    code = "from underway_runtime import config; print(config.get('one', 'port'))"
    node.environ["PORT"] = "3"
    assert node.run("eval", code).stdout == "3\n"
    assert not (node.var / "run").exists()

    node.environ["PORT"] = "1"
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    [file] = resolved(node)
    before = file.read_bytes(), file.stat().st_mtime_ns
    node.environ["PORT"] = "2"

    assert node.run("eval", code).stdout == "2\n"
    assert resolved(node) == [file]
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_config_shows_the_running_node_and_otherwise_what_a_start_would_get(make: MakeNode) -> None:
    """The value that the live node has, whatever the caller's environment says; resolved afresh without one."""
    node = make(recorder("one"))
    configure(node, "config('one', port=int(env('PORT')), password='hunter2')", one={"port": 1, "url": "db://u:pw@h"})
    node.environ["PORT"] = "5"
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    node.environ["PORT"] = "6"
    runtime_py = node.version / "runtime.py"

    live = node.run("config")
    terminate(process)
    afresh = json.loads(node.run("config", "--json").stdout)

    assert live.stdout.splitlines() == [
        f'one.password = "[redacted]"  ({runtime_py}:2)',
        f"one.port = 5  ({runtime_py}:2)",
        'one.url = "db://u:[redacted]@h"  (sys.config)',
        f"# read from the environment: PORT  ({runtime_py}:2)",
    ]
    assert afresh["source"] == "a start now"
    assert [row["value"] for row in afresh["settings"]] == ["[redacted]", 6, "db://u:[redacted]@h"]
    assert afresh["variables"] == {"PORT": f"{runtime_py}:2"}


def test_config_explains_one_key(make: MakeNode) -> None:
    """What it is, who set it, and what it was before that; the boot script's defaults too."""
    node = make(App("web", "def app(): ...", {"asgi": "web:app", "listen": ["tcp://127.0.0.1:80"]}, mode="load"))
    configure(node, "config('web', port=2)", web={"port": 1})

    done = node.run("config", "--explain", "web.port")

    assert done.stdout.splitlines() == [
        f"web.port = 2  ({node.version}/runtime.py:2)",
        "    before: 1  (sys.config)",
    ]
    assert node.run("config", "--explain", "web.listen").stdout == (
        'web.listen = ["tcp://127.0.0.1:80"]  (the boot script start)\n'
    )
    assert len(node.run("config", "--explain", "web").stdout.splitlines()) == 3
    wrong = node.run("config", "--explain", "web.prot")
    assert (wrong.returncode, wrong.stderr) == (1, "error: web.prot is not configured; did you mean 'web.port'?\n")
    assert node.run("config", "--explian", "x").returncode == 2


def test_config_prints_what_a_terminal_would_not_obey(make: MakeNode) -> None:
    """Whatever bytes a variable has, in its name too: one line each, escaped."""
    node = make(recorder("one"))
    configure(node, "import os\nconfig('one', **{os.environ['KEY']: os.environ['VALUE']})")
    node.environ |= {"KEY": "a\x9b\udcff", "VALUE": "é\x1b[2J\n\udcfe"}

    done = node.run("config")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith('"one.a\\u009b\\udcff" = "\\u00e9\\u001b[2J\\n\\udcfe"  (')
    assert json.loads(node.run("config", "--json").stdout)["settings"][0]["key"] == "one.a\x9b\udcff"


def test_nothing_is_kept_when_it_is_pruned(make: MakeNode) -> None:
    """With prune-runtime-sys-config-after-boot there is no file; `config` says that it shows something else."""
    node = make(recorder("one"))
    configure(node, "config('one', port=1)", "prune-runtime-sys-config-after-boot")
    process = node.spawn("start")
    read_until(process.stdout, "start one")

    shown = node.run("config")

    assert resolved(node) == []
    assert "hello runs and keeps no record of its configuration" in shown.stderr
    assert shown.stdout.startswith("one.port = 1")


@pytest.mark.parametrize("interpreter", list(installed()), indirect=True)
def test_nothing_that_providers_import_stays_after_a_reboot(make: MakeNode) -> None:
    """With reboot-system-after-config the node's interpreter never ran a provider; without it, it has."""
    source = """
    import os, sys
    from underway_runtime import Application

    class App(Application):
        def start(self):
            print("has", "calendar" in sys.modules, self.config("pid") == os.getpid(), flush=True)
    """
    node = make(App("one", source, {"class": "one:App"}))
    text = "import calendar, os\nconfig('one', pid=os.getpid())\nprint('said by runtime.py', flush=True)"
    for flags, answer in (((), "has True True"), (("reboot-system-after-config",), "has False False")):
        configure(node, text, *flags)
        process = node.spawn("start")
        read_until(process.stdout, "said by runtime.py")
        read_until(process.stdout, answer)
        assert terminate(process)[0] == 0


def test_everything_that_does_not_fit_is_told_before_anything_starts(make: MakeNode) -> None:
    """Two applications, one class with a schema: one message, nothing started, no traceback; `config` says the same."""
    source = """
    from dataclasses import dataclass
    from underway_runtime import Application

    @dataclass
    class Settings:
        port: int
        password: str = ""

    class App(Application):
        config_schema = Settings
        def start(self):
            print("started", flush=True)
    """
    node = make(App("one", source, {"class": "one:App"}), App("two", source, {"class": "two:App"}))
    configure(node, "config('one', prot=1, password=5)\nconfig('two', port='x')", underway_runtime={"stop_timeot": 5})

    done = node.run("start")

    runtime_py = node.version / "runtime.py"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "error: the configuration is not what the applications ask for:",
        "  - underway_runtime.stop_timeot (sys.config) is not in its schema; did you mean 'stop_timeout'?",
        f"  - one.prot ({runtime_py}:2) is not in one:Settings; did you mean 'port'?",
        "  - one.port is missing; one:Settings wants int",
        f"  - one.password is int ({runtime_py}:2); one:Settings wants str",
        f'  - two.port is "x", str ({runtime_py}:3); two:Settings wants int',
    ]
    assert node.run("config").stderr == done.stderr


def test_a_pydantic_model_of_the_release_is_a_schema(make: MakeNode) -> None:
    """The release's own pydantic checks; a SecretStr is not shown, and its defaults are configuration."""
    source = """
    from pydantic import BaseModel, SecretStr
    from underway_runtime import Application, config

    class Settings(BaseModel):
        port: int
        login: SecretStr = SecretStr("")
        colour: str = "red"

    class App(Application):
        config_schema = Settings
        def start(self):
            print("colour", self.config("colour"), flush=True)
    """
    node = make(App("one", source, {"class": "one:App"}), libraries=("pydantic",))
    configure(node, "config('one', port=[], login=5)")
    assert node.run("start").stderr.splitlines()[1:] == [
        f"  - one.port is [], list ({node.version}/runtime.py:2); one:Settings wants Input should be a valid integer",
        f"  - one.login is int ({node.version}/runtime.py:2); one:Settings wants another value",
    ]
    configure(node, "config('one', port=1, login='hunter2')")

    process = node.spawn("start")

    read_until(process.stdout, "colour red")
    assert 'one.login = "[redacted]"' in node.run("config").stdout
    terminate(process)


@pytest.mark.sample
@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("1 / 0", "runtime.py, line 2: ZeroDivisionError: division by zero"),
        ("env('NO_SUCH')", "runtime.py, line 2: the environment variable NO_SUCH is not set and has no default"),
        ("import threading; threading.Event().wait()", "has not returned within 0.2 s"),
    ],
)
@pytest.mark.parametrize("flags", [(), ("reboot-system-after-config",)], ids=["in the node", "before a reboot"])
def test_a_provider_that_fails_or_hangs_is_one_clear_error(
    make: MakeNode, text: str, part: str, flags: tuple[str, ...]
) -> None:
    """The node ends with status 1, the cause, and no traceback."""
    node = make(recorder("one"))
    configure(node, text, *flags, underway_runtime={"start_timeout": 0.2} if "wait" in text else {})

    done = node.run("start")

    assert (done.returncode, done.stdout) == (1, "")
    assert part in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flags", [(), ("reboot-system-after-config",)], ids=["in the node", "before a reboot"])
def test_a_node_that_waits_for_a_provider_can_be_stopped(make: MakeNode, flags: tuple[str, ...]) -> None:
    """SIGTERM ends the wait, and the process that it waits for."""
    node = make(recorder("one"))
    configure(node, "import threading\nprint('waiting', flush=True)\nthreading.Event().wait()", *flags)
    process = node.spawn("start")
    read_until(process.stdout, "waiting")

    status, out, err = terminate(process)

    assert (status, out) == (0, "")
    assert err == "hello was stopped before it had started\n"


def test_a_node_whose_configuration_is_pruned_can_be_restarted(make: MakeNode) -> None:
    """And is configured as it is then, after a crash too."""
    node = make(recorder("one", start="print('colour', config.get('one', 'colour'), flush=True)"))
    source = node.root / "lib/one-1.0/one.py"
    source.write_text(source.read_text().replace("import Application", "import Application, config"))
    node.environ["RELEASE_HEART"] = "true"
    configure(node, "config('one', colour='red')", "prune-runtime-sys-config-after-boot")
    process = node.spawn("start")
    read_until(process.stdout, "colour red")

    configure(node, "config('one', colour='blue')", "prune-runtime-sys-config-after-boot")
    assert node.run("restart").returncode == 0
    read_until(process.stdout, "colour blue")
    os.kill(node.lock_contents()["node"], signal.SIGKILL)
    read_until(process.stdout, "colour blue")

    assert resolved(node) == []
    assert terminate(process)[0] == 0


EARLY = "start-distribution-during-config"


@pytest.mark.parametrize(
    "flags", [(EARLY,), (EARLY, "reboot-system-after-config")], ids=["in the node", "before a reboot"]
)
def test_a_node_may_answer_before_its_providers_have_loaded(
    make: MakeNode, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """With start-distribution-during-config `status` says that it starts; code is refused until the loop runs."""
    node = make(recorder("one"))
    os.mkfifo(gate := tmp_path / "gate")
    configure(node, f"print('loading', flush=True)\nopen({str(gate)!r}).read()\nconfig('one', colour='red')", *flags)
    process = node.spawn("start")
    read_until(process.stdout, "loading")

    status, code = node.run("status", "--json"), node.run("rpc", "1")
    gate.write_text("")
    read_until(process.stdout, "start one")

    assert json.loads(status.stdout)["state"] == "starting"
    assert code.returncode == 1
    assert code.stderr == "error: hello is starting and can't run code yet; try again when it is ready\n"
    assert node.run("rpc", "config.get('one', 'colour')").stdout == "'red'\n"
    assert terminate(process)[0] == 0


def test_a_node_does_not_answer_before_its_providers_have_loaded(make: MakeNode, tmp_path: Path) -> None:
    """Without the flag: what they configure decides who may ask."""
    node = make(recorder("one"))
    os.mkfifo(gate := tmp_path / "gate")
    configure(node, f"print('loading', flush=True)\nopen({str(gate)!r}).read()")
    process = node.spawn("start")
    read_until(process.stdout, "loading")

    status = node.run("status")
    gate.write_text("")
    read_until(process.stdout, "start one")

    assert (status.returncode, "can't be asked" in status.stderr) == (1, True), status.stderr
    assert "it starts or stops" in status.stderr
    assert node.run("status").returncode == 0
    assert terminate(process)[0] == 0


def test_what_providers_turn_off_is_off_though_the_node_answers_before(make: MakeNode) -> None:
    """What was built in decides until they have loaded, and they do from then on."""
    node = make(recorder("one"))
    configure(node, "config('underway_runtime', rpc=False)", EARLY)
    process = node.spawn("start")
    read_until(process.stdout, "start one")

    assert "rpc is turned off in this release" in node.run("rpc", "1").stderr
    assert terminate(process)[0] == 0


def test_a_group_that_comes_too_late_is_told(make: MakeNode) -> None:
    """The socket has its permissions before a provider can say who may use it."""
    node = make(recorder("one"))
    configure(node, "config('underway_runtime', control_group='daemon')", EARLY)

    done = node.run("start")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: `control_group` of underway_runtime comes too late: with start-distribution")


@pytest.mark.parametrize("text", ["", '{"format": 1, "conf', "null"])
def test_a_truncated_sys_config_is_one_clear_error(make: MakeNode, text: str) -> None:
    """start, eval and config each name the file and the way out."""
    node = make(recorder("one"))
    (node.version / "sys.config").write_text(text)

    for command in (["start"], ["eval", "1"], ["config"]):
        done = node.run(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert "sys.config can't be read" in done.stderr
        assert "restore it from the archive" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.needs_tool("mount", "mount")
def test_a_full_disk_is_told_and_keeps_no_node_from_starting(make: MakeNode, tmp_path: Path) -> None:
    """No room for the resolved configuration: one line in the log, and nothing half written stays."""
    node = make(recorder("one"))
    configure(node, "config('one', text='x' * 100_000)")
    with small_disk(tmp_path / "disk", "size=32k") as disk:
        node.environ["RELEASE_TMP"] = str(disk)
        process = node.spawn("start")
        told = read_until(process.stderr, "can't be written").string
        read_until(process.stdout, "start one")
        left = sorted(file.name for file in (disk / "run").iterdir())
        assert terminate(process)[0] == 0

    assert "No space left on device; the node goes on" in told
    assert left == ["control", "lock", "pid"]


@pytest.mark.needs_tool("mount", "mount")
def test_a_disk_that_may_not_be_written_is_told(make: MakeNode, tmp_path: Path) -> None:
    """A read-only place for run/ is one sentence; eval and config need none."""
    node = make(recorder("one"))
    configure(node, "config('one', port=1)")
    with small_disk(tmp_path / "disk", "ro") as disk:
        node.environ["RELEASE_VAR"] = str(disk)
        done = node.run("start")
        shown = node.run("config")

    assert (done.returncode, done.stdout) == (1, "")
    assert "Read-only file system" in done.stderr
    assert "Traceback" not in done.stderr
    assert shown.stdout.startswith("one.port = 1")
