"""Python that a person runs in a node: one namespace, whose code runs on the node's loop, one piece after the other.

The shell of ``start --shell``, ``remote`` and ``rpc`` are this, with other ends for what is typed and printed.
"""

from __future__ import annotations

import ast
import asyncio
import codeop
import contextlib
import inspect
import linecache
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Literal, NoReturn

from ..frozen import Frozen
from ..process.stop_signals import INTERRUPT
from . import output
from .output import Output, Write

MOST_MATCHES = 500
_OURS = str(Path(__file__).parent)
FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


class Outcome(Frozen):
    """How a piece of code ended."""

    how: Literal["done", "raised", "interrupted", "exit"]
    shown: str = ""
    """The traceback, from the first frame of that code."""
    status: object = None
    """What SystemExit was raised with."""


def line_compiler() -> codeop.CommandCompiler:
    """Compiles what is typed line by line: None while more is needed; top-level await works."""
    compiler = codeop.CommandCompiler()
    compiler.compiler.flags |= FLAGS
    return compiler


class Session:
    """One namespace. `filename` is what tracebacks call its code; `write` gets what it prints, None leaves that alone."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, filename: str, names: Mapping[str, Any], write: Write | None = None
    ) -> None:
        self.namespace: dict[str, Any] = {
            "__name__": "__console__",
            "__builtins__": __builtins__,
            "exit": _leave,  # that of site closes the standard input
            "quit": _leave,
            **names,
        }
        self.loop = loop
        """Where its code runs."""
        self._filename = filename
        self._typed = line_compiler()
        self._output = Output(write, self.namespace)
        self._task: asyncio.Task[Outcome] | None = None
        self._inside = False
        self._interrupted = False
        self._delivered = False
        """An interruption reaches the code once: as KeyboardInterrupt where it runs, as cancellation where it awaits."""

    def compiled(self, source: str) -> list[CodeType]:
        """The code of a whole program whose last statement, if it is an expression, is shown. Raises what `compile` does."""
        with self._heard():
            tree = compile(source, self._filename, "exec", FLAGS | ast.PyCF_ONLY_AST, dont_inherit=True)
            body = tree.body
            last = [body.pop()] if body and isinstance(body[-1], ast.Expr) else []
            return [
                compile(ast.Module(body, []), self._filename, "exec", FLAGS, dont_inherit=True),
                *(
                    compile(ast.Interactive([statement]), self._filename, "single", FLAGS, dont_inherit=True)
                    for statement in last
                ),
            ]

    def typed(self, source: str) -> CodeType | None:
        """The code of lines that were typed; None where they begin a statement. Raises what `compile` does."""
        with self._heard():
            return self._typed(source, self._filename, "single")

    async def matches(self, text: str) -> list[str]:
        """How a name or attribute that begins so may go on; on the loop, since to look at objects may run their code."""
        if "rlcompleter" not in sys.modules:
            with _without("readline"):  # which it would set up, for a terminal that is not the caller's
                import rlcompleter  # noqa: F401
        completer = sys.modules["rlcompleter"].Completer(self.namespace)
        matches: list[str] = []
        with contextlib.suppress(Exception):
            while len(matches) < MOST_MATCHES and (match := completer.complete(text, len(matches))) is not None:
                matches.append(match)
        return matches

    def run(self, codes: Sequence[CodeType], source: str = "") -> Future[Outcome]:
        """Run these, one after the other, on the loop; from any other thread. `source` is what tracebacks show."""
        self._interrupted = False
        return asyncio.run_coroutine_threadsafe(self._run(codes, source), self.loop)

    def close(self) -> None:
        """Let go of the output: what still runs prints where the node prints."""
        self._output.close()

    def interrupt(self) -> None:
        """Interrupt what runs, from any thread: an await at once; other code by a signal, where the loop is in the main thread."""
        self._delivered = False
        self._interrupted = True  # before the task is looked at: `_run` does it the other way round
        task = self._task
        if task is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._cancel, task)
        ident = threading.main_thread().ident
        if ident is not None and callable(signal.getsignal(INTERRUPT)):
            _wanted.append((self, task))
            signal.pthread_kill(ident, INTERRUPT)

    def interrupt_here(self) -> bool:
        """Interrupt what runs, in a signal handler; raises KeyboardInterrupt if it runs in this thread, now.

        False when nothing runs.
        """
        self._delivered = False
        self._interrupted = True
        task = self._task
        if task is None:
            return False
        self.raise_in(task)
        self.loop.call_soon_threadsafe(self._cancel, task)
        return True

    def raise_in(self, task: asyncio.Task[Outcome]) -> None:
        """Raise KeyboardInterrupt, from a signal handler, if this task of the session is what runs in this thread, now."""
        if task is self._task and self._inside and not self._delivered and _running_task(self.loop) is task:
            self._delivered = True
            raise KeyboardInterrupt

    def _cancel(self, task: asyncio.Task[Outcome]) -> None:
        if task is self._task and not self._delivered:
            self._delivered = True
            task.cancel()

    async def _run(self, codes: Sequence[CodeType], source: str) -> Outcome:
        output.install()
        output.here.set(self._output)
        self._task = asyncio.current_task()
        try:
            try:
                self._inside = True
                if self._interrupted:
                    raise KeyboardInterrupt
                for code in codes:
                    result = FunctionType(code, self.namespace)()
                    if inspect.iscoroutine(result):
                        await result
            finally:
                self._inside = False
        except SystemExit as error:
            return Outcome("exit", status=error.code)
        except (KeyboardInterrupt, asyncio.CancelledError) as error:
            return Outcome("interrupted") if self._interrupted else Outcome("raised", self.shown(error, source))
        except BaseException as error:
            return Outcome("raised", self.shown(error, source))
        finally:
            self._inside = False
            self._task = None
            with contextlib.suppress(OSError, ValueError, AttributeError):
                sys.stdout.flush()  # who reads a pipe wants the answer now
        return Outcome("done")

    def shown(self, error: BaseException, source: str) -> str:
        """The traceback of the session's code."""
        return shown(error, self._filename, source)

    @contextlib.contextmanager
    def _heard(self) -> Iterator[None]:
        """What is printed in here, as warnings are, is for the session."""
        output.install()
        token = output.here.set(self._output)
        try:
            yield
        finally:
            output.here.reset(token)


def _leave(status: object = None) -> NoReturn:
    """Leave the shell, or end the code, with this status."""
    raise SystemExit(status)


def shown(error: BaseException, filename: str, source: str = "") -> str:
    """The traceback of what the user typed, without the frames that lead to it."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != filename:
        frames = frames.tb_next
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    try:
        report = traceback.TracebackException(type(error), error, frames)
        report.stack[:] = [frame for frame in report.stack if not frame.filename.startswith(_OURS)]
        return "".join(report.format())
    except Exception as failure:  # __str__ of the error is the user's as well
        return f"{type(error).__name__}, which can't be shown: {type(failure).__name__}\n"
    finally:
        del linecache.cache[filename]


@contextlib.contextmanager
def _without(name: str) -> Iterator[None]:
    """There is no module of this name that is not imported yet."""
    missing = name not in sys.modules
    if missing:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if missing:
            del sys.modules[name]


_wanted: list[tuple[Session, asyncio.Task[Outcome]]] = []


def on_signal() -> None:
    """Handle INTERRUPT: raise KeyboardInterrupt in the session that is to be interrupted, if that runs now."""
    while _wanted:
        session, task = _wanted.pop()
        session.raise_in(task)


def _running_task(loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task() if asyncio.get_running_loop() is loop else None
    except RuntimeError:
        return None
