"""Whatever names a version is a version: nothing that the service's user, or a member of the group, writes there is executed by another."""

from __future__ import annotations

import json

import pytest

from grounds import OPERATOR, PLACE, SERVICE, Ground

EVIL = "../var/evil"
VERSIONS = [
    EVIL,
    f"{PLACE}/hello/var/evil",
    f"2/../{EVIL}",
    f"{EVIL}/.",
    "..",
    "",
    "-c",
    "2 ",
    "2\x00",
    "$(id)",
    "`id`",
    "2;id",
    "*",
    "é2",
    "2" * 5000,
]
COMMANDS = ("status", "version", "releases", "stop", "rollback", "check 2", "eval 1", "pid", "logs", "verify")


def ran_nothing(ground: Ground, *words: str, **environ: str) -> str:
    """What root's command says; no launcher of the service's is run."""
    done = ground.hello(OPERATOR, *words, **environ)
    said = done.stdout + done.stderr
    assert "Traceback" not in said, (words, said)
    assert said.replace("\n", "").isprintable(), said
    ground.assert_nobody_was(OPERATOR)
    return said


@pytest.mark.sample(most=5)
@pytest.mark.parametrize("version", VERSIONS, ids=ascii)
def test_start_data_runs_no_launcher_but_a_release_s(ground: Ground, version: str) -> None:
    """Root's commands read it, and execute what is in the release or nothing."""
    ground.evil("evil", launcher="evil/launcher")
    for text in (f"3.11.7 {version}\n", f"3.11.7 {version}", f"{version} {version}\n", f"3.11.7\t{version}\r\n"):
        ground.as_service(f"open('start.data', 'wb').write({text.encode()!r})")
        for command in ("version", "status"):
            ran_nothing(ground, *command.split())
    for command in COMMANDS[2:]:
        ran_nothing(ground, *command.split())


@pytest.mark.sample(most=2)
@pytest.mark.parametrize("version", [EVIL, f"2/../{EVIL}", "..", "$(id)"])
def test_no_file_of_var_names_what_is_run(ground: Ground, version: str) -> None:
    """Not the ledger, the lock, the transaction that is to go on, nor what the keeper notes."""
    ground.evil("evil", launcher="evil/launcher")
    record = {"state": "unpacked", "release_id": "x", "when": "2026-01-01T00:00:00Z"}
    files = {
        "RELEASES": json.dumps({"format": 1, "releases": {version: {**record, "state": "permanent"}, "1": record}}),
        "transaction": json.dumps(
            {"to": version, "from": version, "removes": version, "command": "rollback", "pid": 1}
        ),
        "run/lock": json.dumps({"pid": 1, "version": version, "started_as": version, "release": version}),
        "journal/replaced": f"id {version} why",
    }
    ground.as_service("os.mkdir('run'); os.mkdir('journal')")
    for name, text in files.items():
        ground.as_service(f"open({name!r}, 'w').write({text!r})")
    for command in (
        *COMMANDS,
        "commit",
        "rollback 2",
        "remove 2",
        "create-releases",
        "upgrade 2",
        f"upgrade {version}",
    ):
        ran_nothing(ground, *command.split())


@pytest.mark.parametrize("version", [EVIL, "..", "-x", "2\n"], ids=ascii)
def test_a_version_that_root_types_is_one(ground: Ground, version: str) -> None:
    """From the command line and from the environment."""
    ground.evil("evil", launcher="evil/launcher")
    ran_nothing(ground, "status", RELEASE_VSN=version)
    for command in ("check", "install", "commit", "remove", "unpack", "rollback"):
        ran_nothing(ground, command, version)


def test_a_node_that_names_other_versions_steers_nothing(ground: Ground) -> None:
    """The lock that it holds says another version and another directory; root's commands refuse what is none."""
    ground.evil("evil", launcher="evil/launcher")
    ground.start()
    ground.as_service(
        "import json; said = json.load(open('run/lock')); said.update(version='../var/evil', started_as='../var/evil',"
        " root='/mnt/hello/var/evil'); open('run/lock', 'r+').write(json.dumps(said).ljust(1023) + '\\n')"
    )
    for command in ("releases", "check 2", "install 2", "upgrade 2", "remove 2", "restart --graceful", "rollback"):
        ran_nothing(ground, *command.split())
    assert SERVICE not in [uid for uids in ground.pwned_by().values() for uid in uids]
