"""The command lines that a project's files give, each with its line.

==============================  ===================================================  =========
file                            command lines                                        who says
==============================  ===================================================  =========
Procfile                        ``web: ...``                                         DEPLOYED
Dockerfile, Containerfile       the last ENTRYPOINT with the last CMD                DEPLOYED
compose.yaml and the like       ``command``, ``entrypoint``                          DEPLOYED
NAME.service                    ``ExecStart``, ``ExecStartPre``                      DEPLOYED
supervisor's                    ``command =``                                        DEPLOYED
uwsgi.ini                       ``module``, ``http``                                 DEPLOYED
NAME.sh                         each line; DEPLOYED where one of these names it      HELPER
Makefile, justfile              each line of a recipe                                HELPER
==============================  ===================================================  =========

A file whose name says that it is for development is a HELPER.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .files import Tree
from .findings import DEPLOYED, HELPER, Place

_DEVELOPMENT = re.compile(
    r"(^|[._/-])(dev|develop|development|debug|local|override|test|tests|testing|ci)([._/-]|$)", re.IGNORECASE
)


@dataclass(frozen=True)
class CommandLine:
    """Words of a command, as a shell splits them, and who says it."""

    words: tuple[str, ...]
    place: Place
    rank: int
    environment: tuple[tuple[str, str], ...] = ()
    """Variables that the file sets for it, for what is left to them; only those that say where it listens."""


def command_lines(tree: Tree) -> list[CommandLine]:
    """All that a project's files give."""
    lines = [line for path in tree.texts for line in _of(path, tree.texts[path])]
    named = {word.rpartition("/")[2] for line in lines if line.rank == DEPLOYED for word in line.words}
    called = [path for path in tree.texts if path.endswith(".sh")]
    for path in called:
        rank = DEPLOYED if path.rpartition("/")[2] in named and not _is_development(path) else HELPER
        lines += [CommandLine(words, Place(path, number), rank) for number, words in _shell(tree.texts[path])]
    return lines


def split(text: str) -> list[tuple[str, ...]]:
    """The commands of a line of a shell, each in its words; what can't be split is none."""
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        words = list(lexer)
    except ValueError:
        return []
    commands: list[list[str]] = [[]]
    for word in words:
        if word and set(word) <= set(";&|"):
            commands.append([])
        else:
            commands[-1].append(word)
    return [tuple(command) for command in commands if command]


def _is_development(path: str) -> bool:
    return bool(_DEVELOPMENT.search(path.rpartition("/")[2]))


def _of(path: str, text: str) -> Iterator[CommandLine]:
    name = path.rpartition("/")[2].lower()
    rank = HELPER if _is_development(path) else DEPLOYED
    commands: Iterator[tuple[int, tuple[str, ...]]]
    if name.startswith("procfile"):
        commands = _matches(text, r"^[\w-]+:\s*(.+)$")
    elif name.startswith(("dockerfile", "containerfile")) or name.endswith(".dockerfile"):
        variables = tuple(re.findall(r"^ENV\s+(PORT|HOST)[=\s]+(\S+)", text, re.MULTILINE | re.IGNORECASE))
        yield from (CommandLine(words, Place(path, number), rank, variables) for number, words in _docker(text))
        return
    elif name.endswith((".yml", ".yaml")):
        commands = _compose(text)
    elif name.endswith(".service"):
        commands = _matches(_joined(text), r"^ExecStart(?:Pre)?\s*=[-@:+!]*(.+)$")
    elif name.endswith((".conf", ".ini")) and "supervis" in name:
        commands = _matches(text, r"^command\s*=\s*(.+)$")
    elif name.endswith(".ini") and "uwsgi" in name:
        options: dict[str, str] = {}
        for key, value in re.findall(r"^([\w-]+)\s*=\s*(.+?)\s*$", text, re.MULTILINE):
            options.setdefault(key, value)
        number = next(
            (n for n, line in enumerate(text.split("\n"), 1) if re.match(r"(module|wsgi-file|wsgi)\s*=", line)), 0
        )
        told = {"module", "wsgi-file", "callable", "http", "http-socket", "processes"} & {*options}
        commands = iter(
            [(number, ("uwsgi", *(word for key in sorted(told) for word in (f"--{key}", options[key]))))]
            if number
            else []
        )
    elif name in ("makefile", "justfile"):
        commands, rank = _matches(_joined(text), r"^(?:\t| {2,})[@-]*(.+)$"), HELPER
    else:
        return
    yield from (CommandLine(words, Place(path, number), rank) for number, words in commands)


def _joined(text: str) -> str:
    """The text with continued lines in one, followed by as many empty ones, so that numbers stay."""
    return re.sub(
        r"(?:[^\n]*\\[ \t]*\n)+[^\n]*", lambda m: re.sub(r"\\[ \t]*\n", " ", m[0]) + "\n" * m[0].count("\n"), text
    )


def _matches(text: str, pattern: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if match := re.match(pattern, line.rstrip()):
            yield from ((number, words) for words in split(match[1]))


def _shell(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    return _matches(_joined(text), r"^\s*([^#\s].*)$")


def _docker(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    last: dict[str, tuple[int, Sequence[str]]] = {}
    for number, line in enumerate(_joined(text).split("\n"), 1):
        if re.match(r"^\s*FROM\s", line, re.IGNORECASE):
            last.clear()
        elif match := re.match(r"^\s*(CMD|ENTRYPOINT)\s+(.+)$", line, re.IGNORECASE):
            last[match[1].upper()] = number, _words(match[2])
    if last:
        entry, cmd = last.get("ENTRYPOINT", (0, ())), last.get("CMD", (0, ()))
        for words in _commands([*entry[1], *cmd[1]]):
            yield cmd[0] or entry[0], words


def _words(text: str) -> Sequence[str]:
    if text.lstrip().startswith("["):
        try:
            value = json.loads(text.strip().replace("'", '"'))
            return [str(word) for word in value]
        except ValueError:
            return ()
    return ["sh", "-c", text]


def _commands(words: Sequence[str]) -> list[tuple[str, ...]]:
    """The commands in the words of one: what ``sh -c`` is given is split again."""
    for index, word in enumerate(words[:-1]):
        if word in ("-c", "-lc", "-ec") and re.search(r"(^|/)(ba|da|z)?sh$", words[index - 1]):
            before = [tuple(words[: index - 1])] if index > 1 else []
            return [*before, *split(" ".join(words[index + 1 :]))]
    return [tuple(words)] if words else []


def _compose(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    lines = text.split("\n")
    for index, line in enumerate(lines):
        match = re.match(r"^(\s+)(command|entrypoint)\s*:\s*(.*?)\s*$", line)
        if not match:
            continue
        value = re.sub(r"\s+#.*$", "", match[3])
        if value in ("", ">", "|", ">-", "|-"):
            block = []
            for below in lines[index + 1 :]:
                item = re.match(r"^(\s+)(- )?(.*)$", below)
                if not item or len(item[1]) < len(match[1]) + (0 if item[2] else 1):
                    break
                block.append((bool(item[2]), item[3].strip()))
            if any(dash for dash, _ in block):
                words = [text.strip("'\"") for dash, text in block if dash]
                yield from ((index + 1, command) for command in _commands(words))
            else:
                joined = (
                    " ".join(text for _, text in block) if value.startswith((">", "")) and value[:1] != "|" else None
                )
                texts = [joined] if joined is not None else [text for _, text in block]
                yield from (
                    (index + 1, command) for text in texts for words in split(text) for command in _commands(words)
                )
        elif value.startswith("["):
            yield from ((index + 1, command) for command in _commands(_words(value)))
        else:
            value = value[1:-1] if value[:1] in "'\"" and value[-1:] == value[:1] else value
            yield from ((index + 1, command) for words in split(value) for command in _commands(words))
