"""What a command on a host says, told apart from all else that comes with it: the words of ssh, of login shells and of banners.

::

    what a login shell prints                              on both streams
    underway-begin-NONCE                                   on a line of its own, on both streams
    what the command prints
    underway-end-NONCE STATUS                              the same
    what a login shell prints at its end

The nonce is a random number of one call. It is a word of the command, so a shell that echoes what it runs prints it, but never
behind ``underway-begin-``. What has no beginning or no end is not an answer, whatever the status of ssh.

What a command is to read has a beginning too, behind some empty lines, which are for a login shell that asks something::

    (empty lines)
    underway-input-NONCE
    what the command reads
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

LOST = 255
"""The status of ssh itself."""
_FIRST, _LAST = 200, 500
"""Characters that are shown of what is not an answer; ssh says what matters at the end."""
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
"""A sequence that means something to a terminal."""

_TO_BE_READ = b"\n" * 64
"""Empty lines before the input of a command: a login shell that asks something reads these."""
_MUST_NOT = "what is in .bashrc, .profile or the like must not"

_SHADOWED = (
    "[ test read echo printf cd pwd kill ulimit umask wait command env cat date df grep gzip id ls mkdir mkfifo readlink rm sed"
    " sha256sum sleep ssh-keygen tar tr uname zstd"
)
"""Functions that a login shell may pass on to bash, where that is `sh`, and that would be called for these."""

_OTHERS = "NAME ROOT VSN NODE TMP COMMAND PROG"
"""Variables of a release that a login shell may have set for another one; what is left is the host's own configuration."""

LIMITED = (
    '(trap "kill \\$rest 2>/dev/null; exit" PIPE; sleep "$limit" & rest=$!; wait "$rest" && kill -PIPE "$$")'
    " </dev/null >/dev/null 2>&1 & watch=$!;"
)
UNLIMITED = 'kill -PIPE "$watch" 2>/dev/null; wait "$watch" 2>/dev/null;'
"""Around what reads in a shell: after `limit` seconds that ends without a word. A host that is cut off hears nothing by itself, and would
wait for hours."""

_RUN = (
    f"unset -f {_SHADOWED} 2>/dev/null; unset {' '.join(f'RELEASE_{name}' for name in _OTHERS.split())};"
    ' nonce=$1 input=$2 limit=$3; shift 3; for word do shift; word=$(printf "%bx" "$word"); set -- "$@" "${word%x}"; done;'
    r' printf "\n%s-%s\n" underway-begin "$nonce"; printf "\n%s-%s\n" underway-begin "$nonce" >&2; status=1 line=;'
    f' if [ "$input" ]; then {LIMITED} until [ "$line" = "$input" ]; do IFS= read -r line || break; done; {UNLIMITED} fi;'
    ' if [ "$line" = "$input" ]; then "$@" && status=0 || status=$?; else'
    f' echo "error: its login shell has read what was sent to the command: {_MUST_NOT} read its input for those who are not at a'
    ' terminal" >&2; fi;'
    r' printf "%s-%s %s\n" underway-end "$nonce" "$status"; printf "%s-%s %s\n" underway-end "$nonce" "$status" >&2;'
    ' exit "$status"'
)
"""For any POSIX sh. One line without quotes, and words that need none: login shells as csh and fish take what a POSIX shell takes
for other things, line breaks and exclamation marks first of all."""


@dataclass(frozen=True)
class Answer:
    """What came of a command on a host."""

    status: int
    output: str = ""
    errors: str = ""
    lost: bool = False
    """There was none: what is in `errors` is from ssh, or from what the host has for a shell."""

    @property
    def reason(self) -> str:
        """Why it failed, in a line for each thing that was said."""
        lines = [line for line in self.errors.splitlines() if line.strip()]
        return "\n".join(lines).removeprefix("error: ") or f"it ended with status {self.status}"


def asking(command: Sequence[str], nonce: str, *, reads: bool = False, limit: float = 60) -> list[str]:
    """The words that run a command between marks; with `reads` one that gets input, of which `before_input` comes first, within so many
    seconds."""
    told = nonce, _input(nonce) if reads else "", f"{limit:g}"
    return ["sh", "-c", _RUN, "underway", *told, *map(_encoded, command)]


def before_input(nonce: str) -> bytes:
    """What is sent ahead of the input of a command: up to its end it is nobody's."""
    return _TO_BE_READ + _input(nonce).encode() + b"\n"


def answer(nonce: str, status: int, output: bytes, errors: bytes) -> Answer:
    """Return what is between the marks; where they are not there, what is there instead. `status` is that of ssh."""
    reply, complaint = _between(nonce, output), _between(nonce, errors)
    if reply is not None and (ended := reply[1]) is not None:
        return Answer(ended, reply[0], _without_end(nonce, complaint[0] if complaint else ""))
    return Answer(status or 1, errors=_no_answer(nonce, status, output, errors), lost=True)


def printable(text: str) -> str:
    """What another machine has printed, for a message: nothing of it means anything to a terminal, and no more than some lines.

    >>> printable("\\x1b[31mAuthorized\\x1b[0m\\tonly\\r\\n\\a\\n")
    'Authorized only'
    """
    plain = _ESCAPE.sub("", text.replace("\r\n", "\n").replace("\t", " "))
    clean = "".join(
        character if character.isprintable() or character == "\n" else "?" for character in plain.replace("\a", "")
    )
    lines = [line.strip() for line in clean.splitlines() if line.strip()]
    shown = "\n".join(lines)
    return shown if len(shown) <= _FIRST + _LAST else f"{shown[:_FIRST]} [...] {shown[-_LAST:]}"


def _input(nonce: str) -> str:
    return f"underway-input-{nonce}"


def _encoded(word: str) -> str:
    r"""
    >>> _encoded("a b!")
    'a\\0040b\\0041'
    """
    safe = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@%+=:,./-_")
    return "".join(chr(byte) if byte in safe else f"\\0{byte:03o}" for byte in word.encode())


def _between(nonce: str, data: bytes) -> tuple[str, int | None] | None:
    """What follows the first beginning, up to the end, and the status there; None where there is no beginning."""
    _, begin, rest = data.partition(f"\nunderway-begin-{nonce}\n".encode())
    if not begin:
        return None
    match = re.search(rf"underway-end-{nonce} (\d+)\n".encode(), rest)
    if match is None:
        return rest.decode(errors="replace"), None
    return rest[: match.start()].decode(errors="replace"), int(match[1])


def _without_end(nonce: str, text: str) -> str:
    return text.partition(f"underway-end-{nonce}")[0]


def _no_answer(nonce: str, status: int, output: bytes, errors: bytes) -> str:
    """One text for the operator: the words of ssh, and what the host has printed where an answer was to be."""
    begun = _between(nonce, output) is not None
    texts = [part.decode(errors="replace").replace(f"underway-begin-{nonce}", "") for part in (errors, output)]
    of_errors, of_output = (printable(text) for text in texts)
    how = f"ssh ended with status {status}"
    if begun:
        heading = f"the connection was lost before it had answered ({how})"
    elif status == LOST:
        heading = "" if of_errors else f"there is no connection, and ssh does not say why ({how})"
    else:
        heading = (
            f"its login shell ends before it runs what it is given ({how}): {_MUST_NOT} exit for those who are not at a"
            " terminal, and the user needs a shell"
        )
    lines = [heading, of_errors, f"it printed: {of_output}" if of_output else ""]
    return "\n".join(line for line in lines if line)
