"""The command line of bin/NAME: its table, its help, and what is said of mistakes."""

from __future__ import annotations

import argparse
import inspect
import os
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from node_helpers import MakeNode, recorder
from underway.cli import underway
from underway_runtime.cluster.cli import node_of, parser_of
from underway_runtime.cluster.node import MODES
from underway_runtime.release.command_line import function_of, help_text, parse, unknown
from underway_runtime.release.command_table import COMMANDS, overview, placeholders
from underway_runtime.release.errors import UsageError

REFERENCE = Path(__file__).resolve().parents[1] / "docs/reference"


def test_the_table_can_stand_in_the_launcher() -> None:
    """Nothing in it ends the quotes that it stands in, and no placeholder is empty."""
    assert not {*overview()} & {"'", "\\"}
    assert all(placeholders().values())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_a_row(name: str) -> None:
    """Help names each option and argument; the reference has a row."""
    text = help_text(name, "hello")
    pages = "".join((REFERENCE / page).read_text() for page in ("commands.md", "release-handler.md"))

    assert text.startswith(f"Usage: hello {COMMANDS[name].usage}\n")
    assert all(re.search(rf"^    .*{option.name}\b.*  \S", text, re.MULTILINE) for option in COMMANDS[name].options)
    assert re.search(rf"^\| [^|]*`{name}\b", pages, re.MULTILINE)


@pytest.mark.parametrize("name", [name for name, row in COMMANDS.items() if row.room not in ("launcher", "keeper")])
def test_every_command_is_a_function_that_takes_what_its_row_says(name: str) -> None:
    """One that changes releases takes a request, which is made of that; any other each option and argument by its name."""
    row = COMMANDS[name]

    first, *others = inspect.signature(function_of(name)).parameters

    assert first == {"control": "place", "node": "settings", "upgrade": "request"}[row.room]
    assert sorted(others) == ([] if row.room == "upgrade" else sorted(row.parameters))


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["1.1"], {"as_json": False, "dry_run": False, "version": "1.1"}),
        (["--json", "1.1", "--dry-run"], {"as_json": True, "dry_run": True, "version": "1.1"}),
        (["--", "--json"], {"as_json": False, "dry_run": False, "version": "--json"}),
    ],
)
def test_options_and_arguments_come_in_any_order(words: list[str], given: dict[str, Any]) -> None:
    """Until two dashes, after which all are arguments."""
    assert parse("remove", words, "hello") == given


@pytest.mark.parametrize("words", [["a", "--x", "-1"], ["--", "a", "--x", "-1"], ["a", "--", "--x", "-1"]])
def test_what_follows_code_is_the_code_s(words: list[str]) -> None:
    """Options too."""
    assert parse("eval", words, "hello") == {"code": "a", "args": ["--x", "-1"]}


def test_code_may_begin_with_a_minus() -> None:
    """It is the first argument all the same."""
    assert parse("eval", ["-1"], "hello")["code"] == parse("rpc", ["-1"], "hello")["code"] == "-1"


@pytest.mark.parametrize("words", [["--sha256", "00", "f"], ["--sha256=00", "f"], ["f", "--sha256", "00"]])
def test_a_value_is_given_in_either_way(words: list[str]) -> None:
    """After a space or an equals sign."""
    assert (parse("unpack", words, "hello")["sha256"], parse("unpack", words, "hello")["version_or_file"]) == (
        "00",
        "f",
    )


@pytest.mark.parametrize(
    ("command", "words", "problems"),
    [
        ("upgrade", ["--sha", "1", "a"], ["upgrade does not take '--sha'; did you mean '--sha256'?"]),
        ("upgrade", ["--sha256"], ["--sha256 needs a value: --sha256 DIGEST", "upgrade needs VERSION or FILE"]),
        ("status", ["--json=yes"], ["--json takes no value"]),
        ("rollback", ["1", "2", "3"], ["rollback does not take '2 3'"]),
        ("stop", ["now", "-f"], ["stop does not take '-f'", "stop does not take 'now'"]),
        ("systemd", ["--notify_reload"], ["did you mean '--notify-reload'?"]),
    ],
)
def test_a_wrong_command_line_is_told_at_once(command: str, words: list[str], problems: list[str]) -> None:
    """All that is wrong, what may have been meant, and how it is used."""
    with pytest.raises(UsageError) as raised:
        parse(command, words, "hello")

    assert all(problem in str(raised.value) for problem in problems)
    assert str(raised.value).endswith(f" usage: hello {COMMANDS[command].usage}")


@pytest.mark.parametrize(
    ("command", "words", "what"),
    [
        (
            "unpack",
            ["f.tar.zst", "--trust", "owner", "--allowed-signers", ""],
            "--allowed-signers is given an empty FILE",
        ),
        ("unpack", ["--sha256=", "f.tar.zst"], "--sha256 is given an empty DIGEST"),
        ("install", ["1.1", "--commit-within", ""], "--commit-within is given an empty SECONDS"),
        ("prune", ["--keep", ""], "--keep is given an empty N"),
        ("logs", ["-n", ""], "-n is given an empty N"),
        ("rollback", [""], "rollback is given an empty VERSION"),
        ("commit", ["--", ""], "commit is given an empty VERSION"),
        ("unpack", [""], "unpack is given an empty VERSION or FILE"),
        ("run", [""], "run is given an empty PROGRAM"),
    ],
)
def test_what_says_nothing_is_not_taken_for_left_out(command: str, words: list[str], what: str) -> None:
    """A variable of a script that is not set asks for no less proof, removes no more, and chooses no other version."""
    with pytest.raises(UsageError, match=re.escape(what)):
        parse(command, words, "hello")
    assert parse("eval", [""], "hello")["code"] == ""


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("stauts", "status"),
        ("restrat", "restart"),
        ("rollbak", "rollback"),
        ("instal", "install"),
        ("deamon", "daemon"),
    ],
)
def test_a_typing_error_is_met_with_the_likely_command(word: str, meant: str) -> None:
    """By its name; the list is one command away."""
    assert (
        str(unknown(word, "hello")) == f"there is no command {word!r}; did you mean {meant!r}? `hello help` lists them"
    )


def test_what_is_like_nothing_is_not_guessed() -> None:
    """Only the list is named."""
    assert str(unknown("xyzzy", "hello")) == "there is no command 'xyzzy'; `hello help` lists them"


def test_mistakes_and_help_of_a_release(make: MakeNode) -> None:
    """One line on the error stream and status 2; help on the other, and nothing that was typed with it is run."""
    node = make(recorder("one"))
    witness = node.root / "was-run"
    code = f"open({str(witness)!r}, 'w')"

    mistakes = [node.run(*words) for words in (["stauts"], ["-x"], ["status", "--jsn"], ["help", "stpo"], ["scratch"])]
    helps = [
        node.run(*words) for words in (["eval", code, "--help"], ["rpc", "--help"], ["help", "upgrade"], ["--help"])
    ]

    assert [(done.returncode, done.stdout, done.stderr.count("\n")) for done in mistakes] == [(2, "", 1)] * 5
    assert [(done.returncode, done.stdout[:12], done.stderr) for done in helps] == [(0, "Usage: hello", "")] * 4
    assert not witness.exists()


def test_programs_of_the_release_come_first_on_the_path(make: MakeNode) -> None:
    """And what was on it follows, also what env.sh has added."""
    node = make(recorder("one"))
    with (node.version / "env.sh").open("a") as file:
        file.write("export PATH=/opt/own:$PATH\n")
    node.environ["PATH"] = os.defpath

    done = node.run("eval", "import os; print(os.environ['PATH'])")

    assert done.stdout == f"{node.version}/bin:/opt/own:{os.defpath}\n"


@pytest.mark.parametrize(
    ("mode", "words", "said"),
    [
        (
            "master",
            ["strat"],
            "'strat' is not a command of master; did you mean 'start'? there are start, daemon, stop",
        ),
        ("worker", ["start", "h", "--lisen", "a:1"], "unrecognized arguments: --lisen a:1; did you mean '--listen'? `"),
        ("local", ["status", "--jsno"], "unrecognized arguments: --jsno; did you mean '--json'? `"),
        ("master", ["install", "2"], "'install' is a command of bin/hello; type: bin/cluster master run install 2"),
        ("worker", ["rpc", "a b", "-n"], "'rpc' is a command of bin/hello; type: bin/cluster worker run rpc 'a b' -n"),
    ],
)
def test_mistakes_with_bin_cluster_are_met_likewise(mode: str, words: list[str], said: str) -> None:
    """By the likely command or option."""
    with pytest.raises(UsageError) as raised:
        node_of(mode, words, "hello")

    assert str(raised.value).startswith(said)


@pytest.mark.parametrize(
    "words", [["--help"], ["start", "--help"], ["stop", "-h"], ["run", "--help"], ["--help", "start"]]
)
def test_help_with_bin_cluster_is_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever it stands among the words that are its own; nothing is done."""
    with pytest.raises(SystemExit) as ended:
        node_of("master", words, "hello")

    assert not ended.value.code
    assert capsys.readouterr().out.startswith("Usage: cluster master ")


@pytest.mark.parametrize("words", [["help", "release"], ["release", "--help"], ["release", "NAME", "-h"]])
def test_help_of_the_tool_is_help(words: list[str]) -> None:
    """As a word before the command too."""
    done = CliRunner().invoke(underway, words)

    assert (done.exit_code, done.output.split("\n")[0]) == (0, "Usage: underway release [OPTIONS] [NAME]")


def test_a_command_of_the_tool_that_is_not_there_is_met_with_the_likely_one() -> None:
    """As one of ``bin/NAME`` is, with status 2."""
    done = CliRunner().invoke(underway, ["relase"])

    assert (done.exit_code, done.output.splitlines()[-1]) == (
        2,
        "Error: there is no command 'relase'; did you mean 'release'?",
    )


@pytest.mark.parametrize("mode", [*MODES, "deploy"])
def test_help_with_bin_cluster_says_in_a_sentence_what_is_done(mode: str) -> None:
    """What each option does too, in the imperative, without a full stop; headings are those of the other commands."""
    parser = parser_of(mode)
    texts = [action.help for action in parser._actions if action.help != argparse.SUPPRESS]

    assert all(text and text[0].islower() and not text.endswith(".") for text in texts if text and text[0].isalpha())
    assert None not in texts
    assert "\n\nOptions:\n" in parser.format_help()
    assert re.search(r"^[A-Z][a-z]+ .*\.$", str(parser.description))


@pytest.mark.parametrize("words", [["-n5"], ["-n", "5"], ["-n=5"], ["--lines=5"], ["--lines", "5"]])
def test_a_short_option_takes_its_value_in_any_way(words: list[str]) -> None:
    """Attached, after a space or an equals sign, or by its long name."""
    assert parse("logs", words, "hello") == {"follow": False, "lines": "5"}


@pytest.mark.parametrize(
    "words", [["node"], ["node", "eval", "1"], ["scratch"], ["scratch", "a", "b"], ["node", "stop"]]
)
def test_what_only_ours_may_ask_for_is_no_command(make: MakeNode, words: list[str]) -> None:
    """One line and status 2, whatever follows."""
    done = make(recorder("one")).run(*words)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"error: there is no command '{words[0]}'")
