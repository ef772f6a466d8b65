"""The underway command. Each verb is one call; nothing else of the tool prints or exits."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

import click

from underway_runtime.release.errors import did_you_mean

from .. import __version__
from ..errors import UnderwayError

COMMANDS: Mapping[str, str] = {
    "delta": "Write the difference between two releases, for nodes that have the first.",
    "init": "Find what starts the project in this directory, and write it into its pyproject.toml.",
    "new": "Make a new project that can be released at once.",
    "plan": "Show what the way from one release to another takes, and what becomes of a running node.",
    "record": "Write down what is asked of a running service, for a rehearsal.",
    "rehearse": "Upgrade one release to another in a scratch directory, under the project's traffic.",
    "release": "Make a release of the project in this directory.",
    "relup": "Plan how a running node comes from one version to another, and back; write it as `relup`.",
    "run": "Run the project from its virtual environment.",
    "verify": "Check an archive, a delta or a release against its manifest, and its signature.",
}
"""Each command is the function of its name in the module of its name, with what the list of commands says of it."""


class _Group(click.Group):
    """Imports a command when it is called, and takes ``help COMMAND`` for ``COMMAND --help``, as ``bin/NAME`` does."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f".{cmd_name}", __package__), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[:1] == ["help"]:
            if not args[1:]:
                click.echo(ctx.get_help())
                ctx.exit()
            args = [args[1], "--help"]
        if args[0] not in COMMANDS:
            ctx.fail(f"there is no command {args[0]!r}{did_you_mean(args[0], COMMANDS)}")
        name, command, words = super().resolve_command(ctx, args)
        if empty := [*_empty(words)]:
            ctx.fail(
                f"an empty value is given for {' and '.join(empty)}, as with a variable that is not set; leave it out"
            )
        return name, command, words


def _empty(words: Sequence[str]) -> Iterator[str]:
    """The options and arguments that are given, and say nothing: nothing that a command takes is an empty text."""
    for before, word in zip(["", *words], words, strict=False):
        option, equals, value = word.partition("=")
        if not word:
            yield before if before.startswith("-") and before != "--" else "an argument"
        elif option.startswith("--") and equals and not value:
            yield option


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="underway")
def underway() -> None:
    """Releases for Python: a service, its locked dependencies and its interpreter in one movable directory."""


def main() -> None:
    """Run the command line and exit with its documented status; a user's mistake gets no traceback."""
    umask = os.umask(0o022)  # a release is read by others than the one who builds it
    sys.dont_write_bytecode = True  # importing the project's own code leaves nothing in the project
    try:
        underway.main(standalone_mode=False, obj=umask)
    except UnderwayError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped; what was there before is unchanged", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
