"""Python typed at a node: the shell in a running one, and the code given to ``eval``."""

from __future__ import annotations

import ast
import asyncio
import code
import concurrent.futures
import contextlib
import inspect
import linecache
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import CodeType, FunctionType
from typing import Any

from ..release.errors import EXIT_CODE_RAISED
from .logs import log

_EVAL = "<eval>"
_SHELL = "<console>"


def evaluate(source: str, arguments: Sequence[str]) -> int:
    """Run the code given to ``eval``, with ``sys.argv``; top-level await works. The exit status.

    What the code raises is printed, with the traceback of that code only. SystemExit goes through.
    """
    sys.argv = ["eval", *arguments]
    linecache.cache[_EVAL] = (len(source), None, source.splitlines(keepends=True), _EVAL)
    namespace: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    try:
        compiled = compile(source, _EVAL, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        function = FunctionType(compiled, namespace)
        if inspect.iscoroutinefunction(function):
            asyncio.run(function())
        else:
            function()
    except Exception as error:
        sys.stdout.flush()
        sys.stderr.write(_shown(error, _EVAL))
        return EXIT_CODE_RAISED
    return 0


class Shell(code.InteractiveConsole):
    """A Python shell in a thread of its own, whose code runs on the node's loop; it may use ``await``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, names: Mapping[str, Any], leave: Callable[[], None]) -> None:
        """`names` is what the code finds; `leave` is called when the user does, with Ctrl-D or ``exit()``."""
        self._names: dict[str, Any] = {"__name__": "__console__", **names}
        super().__init__(self._names, filename=_SHELL)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._loop = loop
        self._leave = leave
        self._task: asyncio.Task[None] | None = None
        self._executing = False
        self._input = _Terminal() if sys.stdin is not None and sys.stdin.isatty() else _Pipe()

    def start(self, banner: str) -> None:
        """Start reading, in a daemon thread."""
        threading.Thread(target=self._run, args=(banner,), name="shell", daemon=True).start()

    def interrupt(self) -> None:
        """Ctrl-C: interrupt what runs, and not the node. Called in the main thread."""
        if self._executing and self._loop_is_here():
            raise KeyboardInterrupt
        if (task := self._task) is not None:
            self._loop.call_soon_threadsafe(task.cancel)
        else:
            log("\n(Ctrl-D stops the node)")

    def close(self) -> None:
        """Give the terminal back as it was."""
        self._input.close()

    def raw_input(self, prompt: str = "") -> str:
        return self._input.read(prompt)

    def runcode(self, code: CodeType) -> None:
        done: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._loop.call_soon_threadsafe(self._execute, code, done)
        try:
            done.result()
        except SystemExit:
            raise
        except BaseException as error:
            self.write("KeyboardInterrupt\n" if isinstance(error, KeyboardInterrupt) else _shown(error, _SHELL))
        finally:
            sys.stdout.flush()  # who reads a pipe wants the answer now

    def _run(self, banner: str) -> None:
        try:
            with contextlib.suppress(SystemExit):
                self.interact(banner, exitmsg="")
        finally:
            self._leave()

    def _execute(self, code: CodeType, done: concurrent.futures.Future[None]) -> None:
        """On the loop: run the code, or start the task that does."""
        try:
            self._executing = True
            try:
                started = FunctionType(code, self._names)()
            finally:
                self._executing = False
        except BaseException as error:
            done.set_exception(error)
            return
        if not inspect.iscoroutine(started):
            done.set_result(None)
            return

        async def run() -> None:
            try:
                await started
            except asyncio.CancelledError:
                done.set_exception(KeyboardInterrupt())
            except BaseException as error:  # SystemExit in a task would end the loop
                done.set_exception(error)
            else:
                done.set_result(None)
            finally:
                self._task = None

        self._task = self._loop.create_task(run())

    def _loop_is_here(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False


class _Terminal:
    """Lines typed at a terminal, with readline where this interpreter has it."""

    def __init__(self) -> None:
        import termios

        self._restore = partial(termios.tcsetattr, 0, termios.TCSANOW, termios.tcgetattr(0))
        with contextlib.suppress(ImportError):
            import readline

            readline.parse_and_bind("tab: complete")

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


def _shown(error: BaseException, filename: str) -> str:
    """The traceback of what the user typed, without the frames that lead to it."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != filename:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))
