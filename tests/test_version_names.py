"""Whatever names a version is checked to be one wherever it is read: by ``bin/NAME``, by each launcher, in Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from code_server_helpers import TIMEOUT
from test_cluster_preflight import SAID
from test_launcher import Release, make_release
from underway_runtime.cluster.deploy import preflight
from underway_runtime.process import settings
from underway_runtime.release import ledger
from underway_runtime.release.directory import ReleaseDirectory, VarDirectory
from underway_runtime.release.errors import DamagedRelease, UnderwayError
from underway_runtime.upgrade.handler import rollback
from upgrade_helpers import make_host

SERVICE = 65534
"""Who owns ``var``, where the commands are root's."""

ROOT = os.geteuid() == 0

NOT_START_DATA = [
    "3.11.7 ../../var/evil\n",
    "3.11.7 ../var/evil",
    "3.11.7 /tmp/evil\n",
    "3.11.7 1.0/../../var/evil\n",
    "3.11.7 .\n",
    "3.11.7 ..\n",
    "3.11.7 -1.0\n",
    "3.11.7 1.0 ../../var/evil\n",
    "../../var/evil 1.0\n",
    "3.11.7 $(touch pwned)\n",
    "3.11.7 `touch pwned`\n",
    "3.11.7 *\n",
    "3.11.7 1.?\n",
    "3.11.7 [1].0\n",
    "3.11.7 1.0\x1b[2J\n",
    "3.11.7 1.0\r\n",
    "3.11.7 1\N{NO-BREAK SPACE}0\n",
    "3.11.7 é\n",
    "3.11.7 \\1.0\n",
    "3.11.7 " + "1" * 101 + "\n",
    "3.11.7 " + "../" * 100_000 + "\n",
    "\n3.11.7 1.0\n",
]


@pytest.fixture(params=["dash", "bash"])
def release(tmp_path: Path, request: pytest.FixtureRequest) -> Release:
    """hello 1.0, whose ``var`` holds what would be executed: the proof is a file that it makes."""
    shell = shutil.which(request.param)
    assert shell is not None
    made = Release(make_release(tmp_path / "hello").root, shell)
    evil = made.root / "var/evil"
    evil.mkdir(parents=True)
    for place in (evil, tmp_path / "evil"):
        place.mkdir(exist_ok=True)
        (place / "launcher").write_text(f"#!/bin/sh\nid >{tmp_path}/pwned\n")
        (place / "launcher").chmod(0o755)
    return made


def give_to_service(path: Path) -> None:
    """Give what is below a directory to the service, where we can."""
    if ROOT:
        for place in (path, *path.rglob("*")):
            os.chown(place, SERVICE, SERVICE, follow_symlinks=False)


@pytest.mark.sample
@pytest.mark.parametrize("content", NOT_START_DATA, ids=range(len(NOT_START_DATA)))
def test_nothing_in_var_names_what_is_executed(release: Release, tmp_path: Path, content: str) -> None:
    """What in start.data is not a version is told in one line that has none of it, and nothing is executed; Python agrees."""
    file = release.root / "var/start.data"
    file.write_text(content, newline="")
    give_to_service(release.root / "var")

    done = release.run("status", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {file} does not say what to boot; it is one line, INTERPRETER-VERSION RELEASE-VERSION\n"
    )
    assert not list(tmp_path.rglob("pwned"))
    with pytest.raises(DamagedRelease) as refused:
        ledger.boots(ReleaseDirectory(release.root), VarDirectory(release.root / "var"))
    assert str(refused.value).isprintable()


@pytest.mark.sample
@pytest.mark.parametrize("kind", ["fifo", "link", "zeros", "long", "directory", "dangling"])
def test_a_start_data_that_is_no_small_file_is_refused_at_once(release: Release, tmp_path: Path, kind: str) -> None:
    """No command waits for it, follows it, or reads it all into memory; RELEASE_VSN is the way around."""
    file = release.root / "var/start.data"
    match kind:
        case "fifo":
            os.mkfifo(file)
        case "link":
            (tmp_path / "data").write_text("3.11.7 1.0\n")
            file.symlink_to(tmp_path / "data")
        case "dangling":
            file.symlink_to("nowhere")
        case "zeros":
            file.symlink_to("/dev/zero")
        case "long":
            file.touch()
            os.truncate(file, 1 << 40)
        case "directory":
            file.mkdir()
    give_to_service(release.root / "var")

    done = release.run("status")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {file} ")
    assert done.stderr.count("\n") == 1
    assert release.python_output("version", RELEASE_VSN="1.0") == "hello 1.0\n"


@pytest.mark.parametrize("version", ["../../var/evil", "../var/evil/.", ".", "a b", "1.0\n", "*", "", "$(id)"])
@pytest.mark.parametrize("entry", ["bin/hello", "releases/1.0/launcher"])
def test_the_environment_names_a_version_or_nothing_starts(
    release: Release, tmp_path: Path, version: str, entry: str
) -> None:
    """RELEASE_VSN is checked in bin/NAME and in the launcher, which an older bin/NAME calls; empty is as if not set."""
    done = release.run(
        "version", called=release.root / entry, RELEASE_VSN=version, RELEASE_ROOT=str(release.root), cwd=tmp_path
    )

    assert not list(tmp_path.rglob("pwned"))
    if version:
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "error: RELEASE_VSN does not name a version of a release\n"
    else:
        assert done.stdout == "hello 1.0\n"


@pytest.mark.parametrize("version", ["1.0", "1!2.0.post1+linux-x86_64", "A" * 100, "2024_01"])
def test_every_version_that_is_built_boots(release: Release, version: str) -> None:
    """The rule of the shell is that of the build."""
    if version != "1.0":
        shutil.copytree(release.version, release.root / "releases" / version)
    (release.root / "var/start.data").write_text(f"3.11.7 {version}\n")

    assert release.python_output("version") == f"hello {version}\n"
    assert ledger.words_of((release.root / "var/start.data").read_bytes()) == ("3.11.7", version)


@pytest.mark.parametrize("arguments", [("start",), ("daemon",), ("node", "start"), ("cluster", "master", "start")])
def test_what_is_not_unpacked_is_not_started(release: Release, arguments: tuple[str, ...]) -> None:
    """Where versions have manifests, a directory without one is not a version, whatever launcher is in it."""
    shutil.copytree(release.version, release.root / "releases/2.0")
    (release.version / "manifest.json").write_text("{}")

    done = release.run(*arguments, RELEASE_VSN="2.0")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: release '2.0' can't start: it is not unpacked here, as there is no"
        f" {release.root}/releases/2.0/manifest.json\n"
    )
    assert "argument" in release.python_output(*arguments, RELEASE_VSN="1.0")


@pytest.mark.skipif(not ROOT, reason="root alone can be somebody else")
def test_what_root_wrote_can_be_replaced_and_is_not_believed_for_that(release: Release, tmp_path: Path) -> None:
    """A start.data of root's in a directory of the service's says what the service wants: a version, or nothing."""
    (release.root / "var/start.data").write_text("3.11.7 1.0\n")
    os.chown(release.root / "var", SERVICE, SERVICE)
    tmp_path.chmod(0o755)
    for above in list(tmp_path.parents)[:-2]:
        above.chmod(above.stat().st_mode | 0o011)
    subprocess.run(
        ["/bin/sh", "-c", "mv start.data gone; echo 3.11.7 ../../var/evil >start.data"],
        cwd=release.root / "var",
        user=SERVICE,
        group=SERVICE,
        extra_groups=[],
        check=True,
        timeout=TIMEOUT,
    )

    done = release.run("status")

    assert (done.returncode, (tmp_path / "pwned").exists()) == (1, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RELEASE_VSN", "../../var/evil"),
        ("RELEASE_VSN", "1.0\n"),
        ("RELEASE_NAME", "../../../etc/cron.d/x"),
        ("RELEASE_NAME", "a/b"),
        ("RELEASE_BOOT_SCRIPT", "../../../var/evil"),
        ("RELEASE_BOOT_SCRIPT_CLEAN", "/tmp/evil"),
    ],
)
def test_names_in_the_environment_are_names(tmp_path: Path, name: str, value: str) -> None:
    """What becomes part of a path is one name, in Python too."""
    environ = {"RELEASE_ROOT": str(tmp_path), "RELEASE_NAME": "hello", "RELEASE_VSN": "1.0", name: value}

    with pytest.raises(UnderwayError, match=name) as refused:
        settings.from_environ(environ)

    assert str(refused.value).replace("\n", " ").isprintable()


@pytest.mark.parametrize("version", ["../../var/evil", "1.0\x1b[2J", "", "a/b", "x" * 101])
def test_a_ledger_that_names_what_is_no_version_is_damaged(tmp_path: Path, version: str) -> None:
    """It is told as any damage of the ledger, with the command that makes it again, and without its bytes."""
    record = {"state": "old", "release_id": "", "when": "2026-01-01T00:00:00Z", "committed": True}
    var = VarDirectory(tmp_path)
    var.ledger.write_text(json.dumps({"format": 1, "releases": {version: record}}))

    with pytest.raises(DamagedRelease, match="create-releases") as refused:
        ledger.recorded(var)

    assert str(refused.value).isprintable()


def test_a_directory_that_no_version_can_have_is_none(tmp_path: Path) -> None:
    """What lies in releases under such a name is passed over, as a version that is not here."""
    for name in ("1.0", "-x", "a b"):
        (tmp_path / "releases" / name).mkdir(parents=True)
        (tmp_path / "releases" / name / "manifest.json").write_text("{}")

    assert list(ledger.rebuilt(ReleaseDirectory(tmp_path), "1.0")) == ["1.0"]


@pytest.mark.parametrize("version", ["../../evil", "\x1b]0;owned\x07", "a b", "", 7, None])
def test_an_unfinished_rollback_is_between_versions_or_none(tmp_path: Path, version: object) -> None:
    """What the service has written into var/transaction is not taken up, and nobody is told of it."""
    host = make_host(tmp_path)
    host.upgrade("1.1")
    host.var.transaction.write_text(json.dumps({"command": "rollback", "to": "1.0", "from": version}))

    outcome = rollback(host.handler)

    assert (outcome.version, outcome.left, host.boots) == ("1.0", "1.1", "1.0")


@pytest.mark.parametrize("version", ["../../evil", "..", "a/b", "\x1b[2J", "-1"])
def test_what_a_host_says_that_it_has_is_a_version(version: str) -> None:
    """Others are not looked for here, and a delta is not made from them."""
    assert preflight.read(SAID.replace("release 0.2.0", f"release {version}"), 1000, 1001).releases == {"0.1.0": "abc"}
