"""The entry point of a release: ``python -m underway_runtime.boot COMMAND``, as the launcher calls it."""

from __future__ import annotations

import sys
from typing import Any

from .process import garbage_collector
from .process.interpreter_stack import with_room
from .release import display, standard


def main() -> int:
    """Do what the command line asks for; the exit status of the process."""
    standard.fill()
    if sys.argv[1:2] == ["node"]:
        garbage_collector.postpone()
        return with_room(_run)()
    if sys.argv[1:2] not in (["eval"], ["run"], ["scratch"]):  # whose output is that of code of the release
        standard.escape()
    return display.finish(with_room(_run)())


def _run() -> int:
    import os

    from . import upgrade
    from .node import commands  # after all of the above: this is the first import that takes time
    from .release.errors import UnderwayError

    try:
        if sys.argv[1:2] and sys.argv[1] in upgrade.COMMANDS:
            from .upgrade import commands as releases

            return releases.run(sys.argv[1:], os.environ)
        if sys.argv[1:2] == ["scratch"] and sys.argv[3:4] and sys.argv[3].isdecimal():  # by `check`
            from .upgrade.preflight import trial_boot

            return trial_boot.run(sys.argv[2:], os.environ)
        return commands.run(sys.argv[1:], os.environ, _change)
    except UnderwayError as error:
        print(f"error: {display.many_lines(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _change(step: Any) -> Any:
    """What makes a running node another version; imported when one is installed."""
    from .upgrade.hot import change

    return change.to(step)


if __name__ == "__main__":
    sys.exit(main())
