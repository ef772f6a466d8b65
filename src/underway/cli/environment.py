"""The option that says which environment a release is of."""

from __future__ import annotations

import click

takes_environment = click.option(
    "--env",
    envvar="UNDERWAY_ENV",
    metavar="ENV",
    help="The environment, whose config/ENV.py is read too; default prod.",
)
