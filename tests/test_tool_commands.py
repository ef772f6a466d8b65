"""The commands of the tool are a table; what one of them needs is imported when it is called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from underway import cli

LOADED = "import sys, underway.cli as c; c.underway.main(['--help'], standalone_mode=False); print(*sys.modules)"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_row_is_a_command(name: str) -> None:
    """It has help of its own, which `underway help NAME` shows too."""
    command = cli.underway.get_command(click.Context(cli.underway), name)

    assert command is not None
    assert command.help
    shown = CliRunner().invoke(cli.underway, [name, "--help"], prog_name="underway").output
    assert CliRunner().invoke(cli.underway, ["help", name], prog_name="underway").output == shown


def test_every_command_has_a_row() -> None:
    """No file of the room makes a command that the table does not name."""
    files = Path(cli.__file__).parent.glob("*.py")

    assert {file.stem for file in files if "@click.command" in file.read_text()} == cli.COMMANDS.keys()


def test_help_imports_no_command() -> None:
    """`underway --help` is there at once: it lists the rows."""
    loaded = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=60, check=True)

    modules = set(loaded.stdout.splitlines()[-1].split())
    assert "underway.cli" in modules
    assert not modules & {"underway.build", "underway.steps", "underway.planner", "underway_runtime.cluster"}


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["release", "--env", ""], "an empty value is given for --env, as"),
        (["release", "--env="], "an empty value is given for --env, as"),
        (["release", "--version", "", "--path="], "an empty value is given for --version and --path, as"),
        (["release", ""], "an empty value is given for an argument, as"),
        (["run", "--env", ""], "an empty value is given for --env, as"),
        (["plan", "--release", "", "a", "b"], "an empty value is given for --release, as"),
        (["plan", "", "b"], "an empty value is given for an argument, as"),
        (["verify", "--digest", "", "a"], "an empty value is given for --digest, as"),
        (["relup", "--target", ""], "an empty value is given for --target, as"),
    ],
)
def test_what_says_nothing_is_not_taken_for_left_out(words: list[str], what: str) -> None:
    """A variable of a script that is not set builds for no other environment, at no other place, and checks no less."""
    done = CliRunner().invoke(cli.underway, words, prog_name="underway")
    assert done.exit_code == 2
    assert what in done.output


def test_a_variable_that_is_empty_is_one_that_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """UNDERWAY_ENV, as of any program; the option wins over it."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.underway, ["release"], env={"UNDERWAY_ENV": ""}, prog_name="underway")
    assert "empty" not in done.output
    assert "there is no pyproject.toml" in str(done.exception)
