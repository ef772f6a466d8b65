"""The commands that ask a node, dispatched; each in a module of its own, so that none imports what another needs.

As they are usually typed they are known here, because to import the table of commands takes longer than all that they do.
"""

from __future__ import annotations

import sys

from ...release.display import finish, many_lines
from ...release.errors import UnderwayError, UsageError
from .client import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the command line asks for; the exit status of the process."""
    try:
        return run(list(arguments), Place(environ))
    except UnderwayError as error:
        status = finish(error.exit_code)
        print(f"error: {many_lines(error)}", file=sys.stderr)
        return status
    except KeyboardInterrupt:
        return 130


def run(arguments: list[str], place: Place) -> int:
    """Do what was asked for. Raises UsageError for what can't be understood, and any UnderwayError that the user has to be told."""
    match arguments:
        case ["rpc", code] if code == "-" or not code.startswith("--"):
            from . import rpc

            return rpc.run(place, code=code)
        case ["rpc", "--all", code] | ["rpc", code, "--all"] if code == "-" or not code.startswith("--"):
            from . import rpc

            return rpc.run(place, code=code, in_all=True)
        case ["remote"]:
            from . import remote

            return remote.run(place)
        case ["status"] | ["status", "--json"]:
            from . import status

            return status.run(place, as_json="--json" in arguments)
        case ["metrics"]:
            from . import status

            return status.metrics(place)
        case ["restart"] | ["restart", "--graceful"]:
            from . import restart

            return restart.run(place, graceful="--graceful" in arguments)
    return _other(arguments, place)


def _other(arguments: list[str], place: Place) -> int:
    """Help, and what is wrong with all else. Raises UsageError."""
    from ...release import command_line
    from ...release.command_table import COMMANDS

    match arguments:
        case ["help", *names]:
            print(command_line.help_text(" ".join(names), place.prog))
            return 0
        case [name, *rest] if name in COMMANDS and COMMANDS[name].room == "control":
            given = command_line.parse(name, rest, place.prog)
            status: int = command_line.function_of(name)(place, **given)
            return status
        case [name, *_]:
            raise command_line.unknown(name, place.prog)
    raise UsageError(f"no command; `{place.prog} help` lists them")
