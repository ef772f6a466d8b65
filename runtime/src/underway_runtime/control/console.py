"""Python typed at a node: the shell in a running one, and the code given to ``eval``."""

from __future__ import annotations

import asyncio
import code
import contextlib
import inspect
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import CodeType, FunctionType
from typing import Any

from ..process.log import log
from ..release.errors import EXIT_CODE_RAISED
from .line_editing import editor
from .session import FLAGS, Session, line_compiler, shown

_EVAL = "<eval>"
_SHELL = "<console>"


def evaluate(source: str, arguments: Sequence[str]) -> int:
    """Run the code given to ``eval``, with ``sys.argv``; top-level await works. The exit status.

    What the code raises is printed, with the traceback of that code only. SystemExit goes through.
    """
    sys.argv = ["eval", *arguments]
    namespace: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    try:
        compiled = compile(source, _EVAL, "exec", flags=FLAGS, dont_inherit=True)
        function = FunctionType(compiled, namespace)
        if inspect.iscoroutinefunction(function):
            asyncio.run(function())
        else:
            function()
    except Exception as error:
        sys.stdout.flush()
        sys.stderr.write(shown(error, _EVAL, source))
        return EXIT_CODE_RAISED
    return 0


class Shell(code.InteractiveConsole):
    """A Python shell in a thread of its own, whose code runs on the node's loop; it may use ``await``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, names: Mapping[str, Any], leave: Callable[[], None]) -> None:
        """`names` is what the code finds; `leave` is called when the user does, with Ctrl-D or ``exit()``."""
        self._session = Session(loop, _SHELL, names)
        super().__init__(self._session.namespace, filename=_SHELL)
        self.compile = line_compiler()
        self._leave = leave
        self._input = _Terminal() if sys.stdin is not None and sys.stdin.isatty() else _Pipe()

    def start(self, banner: str) -> None:
        """Start reading, in a daemon thread."""
        threading.Thread(target=self._run, args=(banner,), name="shell", daemon=True).start()

    def interrupt(self) -> None:
        """Ctrl-C: interrupt what runs, and not the node. Called in the main thread."""
        if not self._session.interrupt_here():
            log("\n(Ctrl-D stops the node)")

    def close(self) -> None:
        """Give the terminal back as it was."""
        self._input.close()

    def raw_input(self, prompt: str = "") -> str:
        return self._input.read(prompt)

    def runcode(self, code: CodeType) -> None:
        outcome = self._session.run([code]).result()
        if outcome.how == "exit":
            raise SystemExit(outcome.status)
        self.write("KeyboardInterrupt\n" if outcome.how == "interrupted" else outcome.shown)

    def _run(self, banner: str) -> None:
        try:
            with contextlib.suppress(SystemExit):
                self.interact(banner, exitmsg="")
        finally:
            self._leave()


class _Terminal:
    """Lines typed at a terminal, with readline where this interpreter has it."""

    def __init__(self) -> None:
        import termios

        self._restore = partial(termios.tcsetattr, 0, termios.TCSANOW, termios.tcgetattr(0))
        editor()

    def read(self, prompt: str) -> str:
        return input(prompt)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._restore()


class _Pipe:
    """Lines from a pipe, without prompts.

    Not through sys.stdin: a thread that waits in its buffer makes the interpreter abort when it ends.
    """

    def __init__(self) -> None:
        self._rest = b""

    def read(self, prompt: str) -> str:
        while b"\n" not in self._rest:
            chunk = os.read(0, 65536)
            if not chunk:
                if not self._rest:
                    raise EOFError
                chunk = b"\n"
            self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode(errors="replace")

    def close(self) -> None:
        pass
