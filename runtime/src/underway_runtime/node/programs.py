"""``bin/NAME run``: a program of the release, in its environment and with its configuration.

=============================  ===================================================================================
a program is                   and is run
=============================  ===================================================================================
a script of a wheel in Python  in this process, as ``__main__``, with the configuration resolved as a node's
``-m MODULE``                  the same
one whose first line gives     by the interpreter of the release, with these, in the place of this process
options or variables
anything else in ``bin``       in the place of this process
=============================  ===================================================================================

So signals and exit status are the program's own. Where it starts interpreters of the release, or is one, those resolve the
configuration when they first ask for it (`configuration.program`).
"""

from __future__ import annotations

import errno
import importlib.util
import os
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import NamedTuple, NoReturn

from ..process.settings import Settings
from ..release import boot_script
from ..release.boot_script import BootScript
from ..release.errors import UnderwayError, UsageError, did_you_mean

_OURS = (str(Path(__file__).parent.parent), "<frozen runpy>", runpy.__file__)
_LONGEST = 256
"""Bytes of a first line that count, as for the system."""
_BY_SHELL = re.compile(r"""'''exec' (?:.*python[0-9.t]*['"]?((?: +[^\s"']+)*) +"\$0")?""")
"""The second line of a script that sh begins, with the options that it gives the interpreter."""
_OF_ALL = ("-B", "-E", "-I", "-P", "-s")
"""Options of isolation, and of compiling nothing."""
_LISTED = 40
"""Programs that are named where there is none of the name that was typed."""


def run(settings: Settings, program: str, args: Sequence[str], *, module: bool) -> int:
    """Run a program of ``releases/V/bin``, or a module of the release; its exit status, where it returns.

    Raises UsageError where there is none of that name, what resolving the configuration raises, and UnderwayError where ``eval``
    is turned off. The use is journalled.
    """
    from ..configuration import boot_config, config
    from ..control import cookie
    from ..process import usage_journal

    script = boot_script.read(settings.boot_script)
    boot_script.check_code_paths(script, settings.directory.lib)
    path = None if module else _find(settings.place.python.parent, program, settings.prog)
    cookie.hide(os.environ, settings)
    command_line = " ".join([program, *args])
    told = None if path is None else _first_lines(path)
    if path is not None and told is not None and (not told.is_python or told.options or told.variables):
        _check_allowed(settings, script)
        ended = usage_journal.begin(settings.var.uses, "run", command_line, os.getuid(), os.getpid())
        ended("became it")
        os.environ.update(told.variables)
        interpreter = [str(settings.place.python), *told.options] if told.is_python else []
        _become(path, [*interpreter, str(path), *args])
    boot_config.resolve(settings, script)
    with usage_journal.journalled(settings.var.uses, "run", command_line) as use:
        if not config.is_enabled("eval"):
            raise UnderwayError("programs can't be run: `eval` of underway_runtime is turned off in this release")
        call = (
            _module(program, settings.prog) if path is None else partial(runpy.run_path, str(path), run_name="__main__")
        )
        sys.argv = [program if path is None else str(path), *args]
        use.outcome = "exit"
        status = _called(call)
        use.outcome = "raised" if status else "done"
    return status


def _check_allowed(settings: Settings, script: BootScript) -> None:
    """Check it as built: what becomes another program resolves no configuration of its own."""
    from ..configuration import config, resolution

    config.install(resolution.read(settings.sys_config).values)
    allowed = config.is_enabled("eval")
    config.forget()
    if not allowed:
        raise UnderwayError("programs can't be run: `eval` of underway_runtime is turned off in this release")


def _find(directory: Path, program: str, prog: str) -> Path:
    try:
        programs = sorted(file.name for file in directory.iterdir() if file.is_file() and os.access(file, os.X_OK))
    except OSError as error:
        raise UnderwayError(f"{directory} can't be read: {error.strerror}") from None
    if program in programs:
        return directory / program
    more = f" and {len(programs) - _LISTED} more" if len(programs) > _LISTED else ""
    there_are = f"there are {', '.join(programs[:_LISTED])}{more}, and `{prog} run -m MODULE` runs a module"
    raise UsageError(f"there is no program {program!r} in {directory}{did_you_mean(program, programs, there_are)}")


class _Told(NamedTuple):
    """What the first lines of a program say of what runs it."""

    is_python: bool
    """Whether it is a script for Python, as wheels bring them: for the interpreter, or for sh and it."""
    options: tuple[str, ...] = ()
    """Those of the interpreter, but for what every interpreter of a release has."""
    variables: Mapping[str, str] = MappingProxyType({})
    """Those that `env` sets."""


def _first_lines(program: Path) -> _Told:
    with program.open("rb") as file:
        first, second = (file.readline(_LONGEST).decode("utf-8", "surrogateescape") for _ in range(2))
    if (shell := _BY_SHELL.match(second)) is not None and first.startswith("#!"):
        return _Told(is_python=True, options=_options((shell[1] or "").split()))
    words = first.removeprefix("#!").split() if first.startswith("#!") else []
    variables: dict[str, str] = {}
    if os.path.basename("".join(words[:1])) == "env":
        words, variables = _by_env(first.removeprefix("#!"))
    if "python" not in os.path.basename("".join(words[:1])):
        return _Told(is_python=False)
    return _Told(is_python=True, options=_options(words[1:]), variables=variables)


def _by_env(line: str) -> tuple[list[str], dict[str, str]]:
    """What `env` runs, and the variables that it sets; no words where only `env` itself knows what its options do."""
    try:
        words = shlex.split(line)[1:]  # -S knows quotes
    except ValueError:
        return [], {}
    variables: dict[str, str] = {}
    while words and (words[0].startswith("-") or "=" in words[0]):
        word = words.pop(0)
        if word.startswith("-") and word != "-S":
            return [], {}
        name, equals, value = word.partition("=")
        variables.update({name: value} if equals else {})
    return words, variables


def _options(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in _OF_ALL)


def _become(program: Path, words: list[str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execv(words[0], words)
    except OSError as error:
        raise UnderwayError(f"{program} can't be run: {_why_not(program, error)}") from None


def _why_not(program: Path, error: OSError) -> str:
    with program.open("rb") as file:
        line = file.readline(256)
    if error.errno == errno.ENOEXEC and not line.startswith(b"#!"):
        return "it is not a program of this machine, and its first line names no interpreter (`#!/bin/sh`, say)"
    if error.errno == errno.ENOENT and line.startswith(b"#!"):
        named = line.removeprefix(b"#!").strip(b" \t\n")
        return f"there is no interpreter {os.fsdecode(named)!r}, which its first line names"
    return error.strerror or str(error)


def _module(name: str, prog: str) -> Callable[[], object]:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:
        raise UsageError(f"module {name!r} can't be run: {error}") from None
    if spec is None:
        raise UsageError(f"there is no module {name!r} in the release; `{prog} run PROGRAM` runs a program")
    return partial(runpy.run_module, name, run_name="__main__", alter_sys=True)


def _called(call: Callable[[], object]) -> int:
    """What it raises is shown with the traceback of its own, as the interpreter would. SystemExit goes through."""
    try:
        call()
    except Exception as error:
        trace = _without_ours(error.__traceback__)
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return 1
    return 0


def _without_ours(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    return frames
