"""The commands that ask a node; the launcher runs this file by its path, as ``python -I -S``, which starts fast."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # `signal` makes enumerations of all numbers first, which is 3 % of what a command does

if __name__ == "__main__":
    sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3)))
    from underway_runtime.control.client.commands import main
    from underway_runtime.release import display, standard

    standard.fill()
    standard.escape()
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)  # who reads no more, as `head`, ends the command
    sys.exit(display.finish(main(sys.argv[1:], os.environ)))
