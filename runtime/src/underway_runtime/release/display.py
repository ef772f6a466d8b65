"""What others have written, as a person may read it on a terminal: it is shown, never obeyed.

A reason in the ledger, a field of the status, the answer of a node or a host may hold what moves the cursor, changes a window's
title or turns text around. Commands print such texts through these, and all of it to its last byte: where that can't be written it is
an error, told once.
"""

from __future__ import annotations

import os
import sys

from .errors import EXIT_FAILED, UnderwayError

LINE = 1000
"""Characters of a line that are shown."""
LINES = 1000
"""Lines that are shown."""


def one_line(value: object, limit: int = LINE) -> str:
    r"""A text on one line, with what is not a character of writing escaped, and an end.

    >>> one_line("gates failed\n\x1b]0;owned\x07\u202e")
    'gates failed \\x1b]0;owned\\x07\\u202e'
    >>> one_line("aaaaaaaa", limit=4)
    'aaaa… (4 more characters)'
    """
    text = value if isinstance(value, str) else str(value)
    more = ""
    if len(text) > limit:
        text, more = text[:limit], f"… ({len(text) - limit} more characters)"
    text = text.replace("\r\n", " ").replace("\n", " ").replace("\t", " ")
    if not text.isprintable():
        text = "".join(map(escaped, text))
    return text + more


def many_lines(value: object, limit: int = LINES) -> str:
    r"""The same for a text of several lines.

    >>> many_lines("refused:\n  - \x1b[2Jit is\tdamaged")
    'refused:\n  - \\x1b[2Jit is damaged'
    """
    lines = (value if isinstance(value, str) else str(value)).split("\n")
    shown = [one_line(line) for line in lines[:limit]]
    return "\n".join([*shown, f"… ({len(lines) - limit} more lines)"] if len(lines) > limit else shown)


def escaped(character: str) -> str:
    r"""A character, as it is written in Python where it is none of writing.

    >>> [escaped(each) for each in "a\x1b\x9b\u202e\ud800"]
    ['a', '\\x1b', '\\x9b', '\\u202e', '\\ud800']
    """
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"


def finish(status: int) -> int:
    """Write what a command has printed and is not written yet; its exit status, which is that of a failure where there is no room for it.

    Where nobody reads any more, as after ``head``, nothing is said.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)  # for Python, which tries once more at its end
        if status or isinstance(error, BrokenPipeError):
            return status
        print(f"error: {unwritable(error)}; all else is done", file=sys.stderr)
        return EXIT_FAILED
    return status


def unwritable(error: OSError) -> UnderwayError:
    """Say that nothing more can be printed."""
    return UnderwayError(f"standard output can't be written: {error.strerror}")
