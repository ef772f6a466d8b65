"""The command line of a command of ``bin/NAME``, read by its row in the table; and its help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from .command_table import COMMANDS, Command, Option, argument_key
from .errors import UsageError, did_you_mean

_WIDTH = 28


def parse(name: str, words: Sequence[str], prog: str) -> dict[str, Any]:
    """Read the options and arguments of a command, by what its function calls them: ``{"dry_run": False, "version": "1.1"}``; None
    where one was not given.

    Options may come before and after arguments, as ``--name value`` or ``--name=value``; after ``--`` all are arguments. Raises
    UsageError with everything that is wrong.
    """
    command = COMMANDS[name]
    given: dict[str, Any] = {option.key: None if option.metavar else False for option in command.options}
    arguments: list[str] = []
    problems: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            arguments += rest
            break
        if not word.startswith("--" if command.arguments[:1] == ("CODE",) else "-") or word == "-":
            arguments.append(word)
            if command.verbatim:  # after code -- ends what is ours; after a program it is the program's
                arguments += rest[1:] if rest[:1] == ["--"] and "CODE" in command.arguments else rest
                break
            continue
        option_name, equals, value = _split(word, command)
        option = next((row for row in command.options if option_name in (row.name, row.short)), None)
        if option is None:
            problems.append(
                f"{name} does not take {word!r}{did_you_mean(option_name, [row.name for row in command.options])}"
            )
        elif not option.metavar:
            given[option.key] = True
            problems += [f"{option.name} takes no value"] if equals else []
        elif equals or rest:
            given[option.key] = stated = value if equals else rest.pop(0)
            problems += [] if stated else [_says_nothing(option_name, option.metavar)]
        else:
            problems.append(f"{option_name} needs a value: {option_name} {option.metavar}")
    problems += _fill(command, arguments, given)
    if problems:
        sentences = (problem if problem.endswith("?") else f"{problem};" for problem in problems)
        raise UsageError(f"{' '.join(sentences)} usage: {prog} {command.usage}")
    return given


def _split(word: str, command: Command) -> tuple[str, str, str]:
    """``--name=value`` and ``-n5`` in their parts; the middle one says whether there is a value."""
    if not word.startswith("--") and any(option.short == word[:2] and option.metavar for option in command.options):
        return word[:2], word[2:], word[2:].removeprefix("=")
    return word.partition("=")


def _fill(command: Command, arguments: list[str], given: dict[str, Any]) -> list[str]:
    """Give the arguments their names; what is missing, and what is too much."""
    problems = []
    for argument in command.arguments:
        name = argument_key(argument)
        if argument.endswith("...]"):
            given[name], arguments = arguments, []
        elif arguments:
            given[name], arguments = arguments[0], arguments[1:]
            problems += [] if given[name] or argument == "CODE" else [_says_nothing(command.name, argument.strip("[]"))]
        else:
            given[name] = None
            problems += [] if argument.startswith("[") else [f"{command.name} needs {argument.replace('|', ' or ')}"]
    return problems + ([f"{command.name} does not take {' '.join(arguments)!r}"] if arguments else [])


def _says_nothing(name: str, what: str) -> str:
    """What was to be said by a variable, say, that is not set: to take it for left out could do more than was meant."""
    return f"{name} is given an empty {what.replace('|', ' or ')}"


def function_of(name: str) -> Callable[..., Any]:
    """Import the function of a command."""
    module, _, function = COMMANDS[name].function.partition(":")
    imported: Callable[..., Any] = getattr(import_module(f"underway_runtime.{module}"), function)
    return imported


def unknown(word: str, prog: str) -> UsageError:
    """What to say of a word that is not a command."""
    return UsageError(f"there is no command {word!r}{did_you_mean(word, COMMANDS, f'`{prog} help` lists them')}")


def help_text(name: str, prog: str) -> str:
    """What a command does and takes. Raises UsageError where there is none of that name."""
    if name not in COMMANDS:
        raise unknown(name, prog)
    command = COMMANDS[name]
    lines = [f"Usage: {prog} {command.usage}", "", f"{command.summary}."]
    lines += [command.more] if command.more else []
    if command.options:
        lines += ["", *(f"    {_names(option):<{_WIDTH}}  {option.text}" for option in command.options)]
    return "\n".join(lines)


def _names(option: Option) -> str:
    return f"{f'{option.short}, ' if option.short else ''}{option.name} {option.metavar}".rstrip()
