"""A service that is stopped is upgraded too; and what somebody goes back from has not failed."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from node_helpers import MakeNode, Node, eventually, once_ready, read_until, recorder, terminate
from underway_runtime.release import ledger
from underway_runtime.release.directory import ReleaseDirectory, VarDirectory
from underway_runtime.release.errors import BusyError, DamagedRelease
from underway_runtime.upgrade.handler import Handler, make_permanent
from upgrade_helpers import make_host
from versions import add_sealed


def states(node: Node) -> dict[str, str]:
    return {one["version"]: one["state"] for one in json.loads(node.run("releases", "--json").stdout)}


def test_a_stopped_service_boots_the_new_version(make: MakeNode) -> None:
    """It is checked and made permanent; that nothing runs is said, and the next start runs it."""
    node = make(recorder("one"))
    add_sealed(node, "2", recorder("one"))

    done = node.run("upgrade", "2")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "2 is permanent, and boots at the next start; no node runs now, so its gates were not tried\n"
    assert states(node) == {"1": "old", "2": "permanent"}
    assert node.run("upgrade", "2").stdout.startswith("2 is permanent already, and boots at the next start")
    assert node.run("version").stdout == "hello 2\n"
    process = node.spawn("start", stderr=subprocess.DEVNULL)
    read_until(process.stdout, "start one")
    eventually(lambda: node.run("rpc", "1").returncode == 0, "it answers")
    assert json.loads(node.run("status", "--json").stdout)["version"] == "2"
    assert terminate(process)[0] == 0
    assert node.run("rollback").stdout == "1 is permanent; 2 is old\n"
    assert json.loads(node.run("upgrade", "2", "--json").stdout) == {
        "version": "2",
        "before": "1",
        "state": "permanent",
        "changed": True,
        "how": "start",
    }


@pytest.mark.parametrize("wrong", ["a module", "the configuration", "a file"])
def test_what_would_not_boot_is_refused_while_stopped_too(make: MakeNode, wrong: str) -> None:
    """As check has it; what boots is as before."""
    node = make(recorder("one"))
    app = recorder("one")
    place = add_sealed(node, "2", replace(app, source="import nowhere\n") if wrong == "a module" else app)
    if wrong == "the configuration":
        (place / "sys.config").write_text("{")
    elif wrong == "a file":
        (place / "start.script").unlink()

    done = node.run("upgrade", "2")

    assert done.returncode == 1
    assert "nothing changes" in done.stderr
    assert node.run("version").stdout == "hello 1\n"


def test_a_version_that_has_failed_needs_again(make: MakeNode) -> None:
    """Stopped or not."""
    node = make(recorder("one"))
    add_sealed(node, "2", recorder("one"))
    node.var.mkdir()
    records = ledger.rebuilt(ReleaseDirectory(node.root), "1")
    ledger.write(VarDirectory(node.var), {**records, "2": ledger.Record("unpacked", "", "2026", failed="gate")})

    assert "it has failed before: gate" in node.run("upgrade", "2").stderr
    assert node.run("upgrade", "2", "--again").returncode == 0
    assert "failed" not in node.run("releases").stdout


def test_what_is_started_meanwhile_is_not_overtaken(tmp_path: Path) -> None:
    """The node is asked for again within the transaction."""
    host = make_host(tmp_path)
    host.archive("1.1")
    host.unpack("1.1")
    handler = Handler(host.directory, host.var, "1.0", lambda: "1.0")

    with pytest.raises(BusyError, match=r"1\.0 has been started meanwhile"):
        make_permanent(handler, "1.1")

    assert host.boots == "1.0"


def test_install_of_a_stopped_service_names_upgrade(make: MakeNode) -> None:
    """Nothing can hand over; there is a way all the same."""
    node = make(recorder("one"))
    add_sealed(node, "2", recorder("one"))

    assert "`hello upgrade 2` makes it the one that boots" in node.run("install", "2").stderr


def test_what_somebody_went_back_from_may_be_installed_again(make: MakeNode) -> None:
    """Without --again, by check too; `releases` says that it was gone back from, and not that it failed."""
    node = make(recorder("one"))
    add_sealed(node, "2", recorder("one"))
    assert node.run("upgrade", "2").returncode == 0
    assert node.run("rollback").returncode == 0

    listed = json.loads(node.run("releases", "--json").stdout)

    assert [(one["version"], one["failed"], one["left"]) for one in listed] == [
        ("1", None, None),
        ("2", None, "rolled back to 1"),
    ]
    assert "2  old, rolled back to 1, since " in node.run("releases").stdout
    assert node.run("check", "2").returncode == 0
    assert node.run("upgrade", "2").returncode == 0
    assert "rolled back" not in node.run("releases").stdout


def test_what_is_tried_again_is_not_left(make: MakeNode) -> None:
    """From its install on it is a version like others; gone back from once more, it is left once more."""
    node = make(recorder("one"))
    add_sealed(node, "2", recorder("one"))
    process = node.spawn("start", stderr=subprocess.DEVNULL)
    read_until(process.stdout, "start one")
    eventually(lambda: node.run("rpc", "1").returncode == 0, "it answers")
    for _ in range(2):
        assert node.run("install", "2").returncode == 0
        assert "2  current, runs, since" in node.run("releases").stdout
        assert node.run("rollback").returncode == 0
        assert "rolled back to 1, since" in node.run("releases").stdout
    assert terminate(process)[0] == 0


def test_a_ledger_of_an_earlier_runtime_is_understood_and_understands(tmp_path: Path) -> None:
    """It wrote as a failure that somebody had gone back; and what is new stands where it does not look."""
    host = make_host(tmp_path)
    host.upgrade("1.1")
    document = json.loads(host.var.ledger.read_text())
    document["releases"]["1.0"]["failed"] = "rolled back to 1.1"
    host.var.ledger.write_text(json.dumps(document))

    record = ledger.recorded(host.var)["1.0"]
    assert (record.failed, record.left) == (None, "rolled back to 1.1")
    assert ledger.previous(ledger.recorded(host.var)) is None

    ledger.write(host.var, ledger.recorded(host.var))
    document = json.loads(host.var.ledger.read_text())
    assert document["left"] == {"1.0": "rolled back to 1.1"}
    assert all("left" not in fields for fields in document["releases"].values())


@pytest.mark.parametrize("left", [["1.0"], {"1.0": 1}, "1.0", 3, {"nowhere": 5}])
def test_what_a_ledger_says_there_is_looked_at(tmp_path: Path, left: object) -> None:
    """Another type is a ledger that can't be read, unless it is of no version."""
    host = make_host(tmp_path)
    host.upgrade("1.1")
    document = json.loads(host.var.ledger.read_text())
    host.var.ledger.write_text(json.dumps({**document, "left": left}))

    if left == {"nowhere": 5}:
        assert set(ledger.recorded(host.var)) == {"1.0", "1.1"}
    else:
        with pytest.raises(DamagedRelease, match="can't be read"):
            ledger.recorded(host.var)


def test_a_service_that_fails_again_and_again_is_told_the_way(make: MakeNode) -> None:
    """While its keeper waits before the next start nothing can hand over: stop, and the same command once more."""
    dies = "asyncio.get_running_loop().call_soon(__import__('os')._exit, 3)"
    node = make(recorder("one", start=once_ready(dies)))
    add_sealed(node, "2", recorder("one"))
    (node.version / "heart").write_text('{"restarts": 5, "within": 60, "delay": 60}')
    assert node.run("daemon").returncode == 0
    eventually(lambda: "is started again in" in node.run("logs").stdout, "the keeper waits")

    done = node.run("upgrade", "2")

    assert done.returncode == 1
    assert "`hello stop` ends that, and the same upgrade then makes 2 the one that boots" in done.stderr
    assert states(node) == {"1": "permanent", "2": "unpacked"}
    assert node.run("stop").returncode == 0
    assert node.run("upgrade", "2").returncode == 0
    assert node.run("version").stdout == "hello 2\n"
