"""underway run: the project from its virtual environment, as its release would run."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click

from ..dev.development import prepare
from ..dev.reloading import run_and_reload
from .environment import takes_environment


@click.command()
@click.argument("name", required=False)
@click.option("--reload", is_flag=True, help="Restart it when its source changes; connections wait meanwhile.")
@takes_environment
@click.option("--shell", is_flag=True, help="Open a Python shell in it.")
@click.option("--no-sync", is_flag=True, help="Leave the virtual environment as it is.")
@click.pass_obj
def run(umask: int, name: str | None, env: str | None, reload: bool, shell: bool, no_sync: bool) -> None:
    """Run the project in this directory from its virtual environment, with the applications, configuration and sockets of
    its release.

    NAME is one of [tool.underway.releases]; without one, the default release. While it runs, `build/run/NAME/bin/NAME`
    takes the commands of a release: status, rpc, remote, stop.
    """
    if reload and shell:
        raise click.UsageError(
            "--shell holds the terminal, so it can't go with --reload; `build/run/NAME/bin/NAME remote` can"
        )
    root = Path.cwd()
    again = partial(prepare, root, name, env=env, sync=not no_sync)
    prepared = again()
    environ = {"RELEASE_MODE": "interactive", **os.environ}
    os.umask(umask)
    if reload:
        raise SystemExit(run_and_reload(prepared, again, environ, lambda message: click.echo(message, err=True)))
    command = str(prepared.command)
    os.execve(command, [command, "start", *(["--shell"] if shell else [])], environ)
