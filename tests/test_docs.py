"""The reference says what the code does."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import fields
from pathlib import Path

import click

from underway.cli import COMMANDS as CLI_COMMANDS
from underway.cli import underway
from underway.project.options import OPTIONS, TOP_ONLY
from underway_runtime.cluster import cli
from underway_runtime.cluster.node import MODES
from underway_runtime.configuration import schema
from underway_runtime.configuration.runtime_schema import Runtime
from underway_runtime.control import connection, frames, requests, server
from underway_runtime.node.phases import Phase
from underway_runtime.release import errors
from underway_runtime.release.command_table import COMMANDS
from underway_runtime.release.gates import KINDS

REFERENCE = Path(__file__).resolve().parents[1] / "docs/reference"


def test_every_option_has_a_row_and_every_row_is_an_option() -> None:
    """docs/reference/options.md names the options that there are, all and no others."""
    rows = [
        line.split("|")[1] for line in (REFERENCE / "options.md").read_text().splitlines() if line.startswith("| `")
    ]
    documented = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)}

    assert documented == (OPTIONS.keys() | TOP_ONLY.keys()) - {"releases"}


def test_every_key_of_a_gate_is_in_the_reference() -> None:
    """docs/reference/gates.md names the keys that there are."""
    documented = set(re.findall(r"`([a-z]+)`", (REFERENCE / "gates.md").read_text()))

    assert {field.name for kind in KINDS.values() for field in fields(kind)} <= documented


def test_every_link_leads_somewhere() -> None:
    """No page of the docs names a file that is not there."""
    root = REFERENCE.parents[1]
    for page in (*root.glob("*.md"), *root.glob("docs/**/*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(root)} links to {target}"


def written_commands(kind: str) -> list[tuple[str, str, str]]:
    """What the docs type after `kind`, a pattern: page, the word that follows, and the rest."""
    root = REFERENCE.parents[1]
    pages = (root / "README.md", *root.glob("docs/**/*.md"), *root.glob("src/underway/templates/**/README*"))
    return [
        (page.name, match[1], match[2])
        for page in pages
        for typed in re.findall(r"`([^`\n]+)`|^[$#] (.*)$", page.read_text(), re.MULTILINE)
        if (match := re.search(rf"(?:^|[\s/]){kind}\s+([a-z-]+)(?=\s|$)(.*)", typed[0] or typed[1]))
    ]


def test_every_command_that_the_docs_type_is_one() -> None:
    """Of bin/NAME and of underway, with the options that it has; what follows a program or code is its own."""
    wrong = []
    for page, name, rest in written_commands(r"bin/(?:NAME|chat|hello|@RELEASE_NAME@)"):
        known = {option.name for option in COMMANDS[name].options} if name in COMMANDS else set()
        options = [] if name in ("run", "eval") else re.findall(r"(?<!\S)--[a-z0-9-]+", rest)
        wrong += [f"{page}: {name} {option}" for option in options if option not in known]
        wrong += [] if name in COMMANDS else [f"{page}: {name}"]
    for page, name, rest in written_commands("(?<!/)underway"):
        if (command := underway.get_command(click.Context(underway), name)) is None:
            continue  # a word of a sentence
        known = {option for parameter in command.params for option in parameter.opts}
        wrong += [f"{page}: {name} {each}" for each in re.findall(r"(?<!\S)--[a-z0-9-]+", rest) if each not in known]

    assert wrong == []
    assert {"upgrade", "logs", "run", "config"} <= {name for _, name, _ in written_commands("bin/(?:NAME|chat)")}


def documented_options(*pages: str) -> set[str]:
    """All options that pages of the reference name, long and short."""
    text = "\n".join((REFERENCE / page).read_text() for page in pages)
    return set(re.findall(r"(?<![\w-])--?[a-z0-9][a-z0-9-]*", text))


def test_every_command_of_bin_name_is_in_the_reference() -> None:
    """docs/reference/commands.md has a row for each, and for no other; it, or the page on releases, names each option."""
    text, _, _ = (REFERENCE / "commands.md").read_text().partition("## How a node starts")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith(("| `", "| none"))]
    named = {match for row in rows for match in re.findall(r"`([a-z][a-z-]*)", row)}
    options = {
        name for command in COMMANDS.values() for option in command.options for name in (option.name, option.short)
    }

    assert named == COMMANDS.keys()
    assert options - {"", "--follow", "--lines"} <= documented_options("commands.md", "release-handler.md")


def test_every_command_and_option_of_underway_is_in_the_reference() -> None:
    """docs/reference/underway.md has a row for each command; an option is there, or on the command's own page."""
    text = (REFERENCE / "underway.md").read_text()
    commands = {match for line in text.splitlines() for match in re.findall(r"^\| `([a-z]+)", line)}
    pages = ("underway.md", "plan.md", "relup.md", "rehearse.md", "archive.md")
    parameters = [
        parameter
        for name in CLI_COMMANDS
        if (command := underway.get_command(click.Context(underway), name)) is not None
        for parameter in command.params
        if isinstance(parameter, click.Option)
    ]

    assert commands == {*CLI_COMMANDS, "help"}
    assert {option for parameter in parameters for option in parameter.opts} <= documented_options(*pages)


def test_every_option_of_bin_cluster_has_a_row_and_every_row_is_an_option() -> None:
    """docs/reference/cluster.md names all options that nodes and deploy have, and no others."""
    _, _, text = (REFERENCE / "cluster.md").read_text().partition("## Options")
    rows = [line.split("|")[1] for line in text.partition("## Hosts")[0].splitlines() if line.startswith("| `-")]
    named = {
        option
        for row in rows
        for option in re.findall(r"`(-[a-z-]+)|, `(-[a-z-]+)", row)
        for option in option
        if option
    }
    parsers = [cli.parser_of(mode) for mode in (*MODES, "deploy")]
    taken = {option for parser in parsers for action in parser._actions for option in action.option_strings}

    assert named | {"--file"} == taken - {"-h", "--help", "--cookie"}


def test_every_exit_code_has_a_row() -> None:
    """docs/reference/exit-codes.md names those of the code."""
    rows = re.findall(r"^\| (\d+) \|", (REFERENCE / "exit-codes.md").read_text(), re.MULTILINE)

    assert {value for name, value in vars(errors).items() if name.startswith("EXIT_")} | {0, 130} == {*map(int, rows)}


def test_every_variable_of_a_cluster_and_of_a_build_has_a_row() -> None:
    """docs/reference/cluster.md and options.md name them, all and no others."""
    root = REFERENCE.parents[1]
    code = "".join(file.read_text() for room in ("src", "runtime/src") for file in (root / room).rglob("*.py"))
    internal = {"UNDERWAY_KEEPER"}
    for page, prefix in (("cluster.md", "CLUSTER"), ("options.md", "UNDERWAY")):
        documented = set(re.findall(rf"`({prefix}_[A-Z_]+)`", (REFERENCE / page).read_text()))
        assert documented == set(re.findall(rf'"({prefix}_[A-Z_]+)"', code)) - internal


def test_the_requests_of_the_control_socket_are_those_of_the_code() -> None:
    """docs/reference/control.md has a row for each, with its fields, and says which a member of the group may send."""
    text = (REFERENCE / "control.md").read_text()
    rows = [
        [*re.findall(r'"(\w+(?: \w+)*)":', row), name]
        for row, name in re.findall(r'^\| `(\{"do": "([^"]+)".*?)` \|', text, re.MULTILINE)
    ]
    members = next(line for line in text.splitlines() if line.startswith("| a member of `control_group` |"))

    assert {row[-1]: {*row[1:-1]} for row in rows} == {name: {*form.fields} for name, form in requests.REQUESTS.items()}
    allowed = {name for name, form in requests.REQUESTS.items() if form.who == requests.MEMBERS or form.enabled_by}
    assert {*re.findall(r"`([a-z ]+)`", members)} - {"control_group"} == allowed


def test_every_state_that_status_shows_is_in_the_reference() -> None:
    """docs/reference/control.md names those of the code; before the first one nobody is answered."""
    [row] = [row for row in (REFERENCE / "control.md").read_text().splitlines() if row.startswith("| `state` |")]

    assert {*re.findall(r"`([a-z ]+)`", row)} - {"state", "name", "not running"} == {
        phase.value for phase in Phase if phase is not Phase.PREPARING
    }


def test_every_variable_that_is_read_has_a_row() -> None:
    """docs/reference/environment.md names the RELEASE_ variables of launcher and runtime, all and no others."""
    root = REFERENCE.parents[1]
    readers = [
        *root.glob("src/underway/templates/*.sh"),
        *(
            root / "runtime/src/underway_runtime" / file
            for file in ("process/settings.py", "release/channel/__init__.py", "upgrade/trust.py")
        ),
    ]
    placeholders = {"RELEASE_VERSION"}
    read = {name for file in readers for name in re.findall(r"\bRELEASE_[A-Z_]+[A-Z]", file.read_text())}
    rows = [
        line.split("|")[1] for line in (REFERENCE / "environment.md").read_text().splitlines() if line.startswith("| `")
    ]

    assert {name for row in rows for name in re.findall(r"`(RELEASE_\w+)`", row)} == read - placeholders


def test_the_limits_of_the_control_socket_are_those_of_the_code() -> None:
    """docs/reference/control.md names the numbers that hold."""
    page = (REFERENCE / "control.md").read_text()

    assert f"At most {frames.FIRST} bytes until the handshake is done,\n{frames.LARGEST} after it" in page
    assert f"| connections | {server.MOST}, " in page
    assert f"| known clients | {server.MOST_KNOWN} |" in page
    assert f"| handshake | {server.DEADLINE:g} s |" in page
    assert f"is disconnected after {connection.PATIENCE:g} s |" in page
    assert f"most {connection.MOST_OUTPUT >> 20} Mi characters wait" in page


def test_every_key_that_underway_reads_has_a_row() -> None:
    """docs/reference/commands.md names them, all and no others, with the defaults of `underway_runtime`."""
    _, _, table = (REFERENCE / "commands.md").read_text().partition("## Configuration that underway reads")
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in table.splitlines() if line.startswith("| ")][2:]
    own = {
        key: default.strip("`")
        for application, keys, default in rows
        if "underway_runtime" in application
        for key in re.findall(r"`(\w+)`", keys)
    }
    of_any = {
        key for application, keys, _ in rows if application.startswith("any") for key in re.findall(r"`(\w+)`", keys)
    }

    assert own == {
        field.name: "none" if field.default is None else json.dumps(field.default).removesuffix(".0")
        for field in dataclasses.fields(Runtime)
    }
    assert of_any == schema.READ_BY_THE_NODE


def test_every_key_of_the_runtime_is_read() -> None:
    """What its schema knows is asked for somewhere in the code, and nothing else is."""
    places = [*REFERENCE.parents[1].glob("runtime/src/underway_runtime/**/*.py")]
    code = "".join(place.read_text() for place in places if place.name != "runtime_schema.py")
    asked = re.findall(r'(?:"underway_runtime", |\bseconds\(|is_enabled\()"(\w+)"', code)

    assert {*asked, "rpc", "remote"} == {field.name for field in dataclasses.fields(Runtime)}


def test_every_test_that_the_docs_name_is_there() -> None:
    """docs/explanation/defects.md claims nothing without a test."""
    tests = REFERENCE.parents[1] / "tests"
    rows = [
        row for row in (tests.parent / "docs/explanation/defects.md").read_text().splitlines() if row.startswith("| ")
    ]
    rows = [row for row in rows if not row.startswith(("| theirs", "| was", "| ---"))]
    named = [re.findall(r"`([\w/]+\.py)::(\w+)`", row.split("|")[3]) for row in rows]

    assert all(named)
    for file, name in (each for row in named for each in row):
        assert re.search(rf"^def {name}\(", (tests / file).read_text(), re.MULTILINE), f"{file}::{name}"


def test_every_function_of_otp_s_release_handler_has_a_row() -> None:
    """docs/reference/release-handler.md says what ours is, or why there is none: the exports of OTP 25."""
    _, _, table = (REFERENCE / "release-handler.md").read_text().partition("## From OTP's release_handler")
    rows = {
        name for line in table.splitlines() for name in re.findall(r"`(\w+)", line.split("|")[1] if "|" in line else "")
    }

    assert rows >= {
        "check_install_release",
        "create_RELEASES",
        "install_file",
        "install_release",
        "make_permanent",
        "reboot_old_release",
        "remove_release",
        "set_removed",
        "set_unpacked",
        "unpack_release",
        "which_releases",
        "upgrade_app",
        "upgrade_script",
        "downgrade_app",
        "downgrade_script",
        "eval_appup_script",
        "error_action",
        "code_change_timeout",
        "suspend_timeout",
        "update_paths",
    }
