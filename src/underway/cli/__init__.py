"""The underway command. Each verb is one call; nothing else of the tool prints or exits."""

from __future__ import annotations

import os
import sys

import click

from .. import __version__
from ..errors import UnderwayError
from .delta import delta
from .init import init
from .new import new
from .plan import plan
from .release import release
from .relup import relup
from .run import run
from .verify import verify


class _Group(click.Group):
    """Takes ``help COMMAND`` for ``COMMAND --help``, as ``bin/NAME`` does."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[:1] == ["help"]:
            if not args[1:]:
                click.echo(ctx.get_help())
                ctx.exit()
            args = [args[1], "--help"]
        return super().resolve_command(ctx, args)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="underway")
def underway() -> None:
    """Releases for Python: a service, its locked dependencies and its interpreter in one movable directory."""


for command in (delta, init, new, plan, release, relup, run, verify):
    underway.add_command(command)


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
