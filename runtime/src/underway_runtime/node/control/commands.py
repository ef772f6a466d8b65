"""The commands that ask a node, dispatched; each in a module of its own, so that none imports what another needs."""

from __future__ import annotations

import sys

from ...release.errors import UnderwayError, UsageError
from .client import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

USAGE = "rpc CODE | remote | status [--json] | metrics | restart [--graceful]"


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the command line asks for; the exit status of the process."""
    try:
        return run(list(arguments), Place(environ))
    except UnderwayError as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def run(arguments: list[str], place: Place) -> int:
    """Raises UsageError for what can't be understood, and any UnderwayError that the user has to be told."""
    match arguments:
        case ["rpc", code]:
            from . import rpc

            return rpc.run(place, code)
        case ["rpc", *_]:
            raise UsageError(
                f"rpc needs code, as one argument: {place.prog} rpc 'print(1 + 1)'; `-` reads it from its input"
            )
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
        case ["remote" | "status" | "metrics" | "restart" as command, *rest]:
            raise UsageError(f"{command} does not take {' '.join(rest)!r}; usage: {place.prog} {USAGE}")
    raise UsageError(f"unknown command {' '.join(arguments)!r}; usage: {place.prog} {USAGE}")
