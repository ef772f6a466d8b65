"""The commands of ``bin/NAME``: the launcher, its help, what is said of mistakes, and the docs are made from this table.

What the launcher does with a command is said by its `room`: the launcher answers itself, starts a keeper, runs a
file of ``node/control`` without site-packages, or ``underway_runtime.boot``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Room: TypeAlias = Literal["launcher", "keeper", "control", "node", "upgrade"]

JSON = "--json"


@dataclass(frozen=True)
class Option:
    """An option of a command: a switch, or with a `metavar` one that takes a value."""

    name: str
    text: str
    metavar: str = ""
    short: str = ""
    """The same with one letter."""

    @property
    def usage(self) -> str:
        """As it is written in a usage line."""
        return f"{self.short or self.name} {self.metavar}".rstrip()


@dataclass(frozen=True)
class Command:
    """One command: what it takes, in which order, and what it does."""

    name: str
    arguments: tuple[str, ...]
    """``NAME`` is required, ``[NAME]`` may be there, ``[NAME...]`` takes all that follows as it is."""
    summary: str
    """In the imperative; one line, without quotes of any kind, for it stands in the launcher."""
    room: Room
    options: tuple[Option, ...] = ()
    runs_code: bool = False
    """Whether it runs code of the release in its own process: its arguments for Python are those of the node."""
    more: str = ""

    @property
    def usage(self) -> str:
        """``upgrade VERSION|FILE [--json]``."""
        return " ".join((self.name, *(f"[{option.usage}]" for option in self.options), *self.arguments))

    @property
    def verbatim(self) -> bool:
        """Whether what follows its first argument is not its own."""
        return self.arguments[-1:] == ("[ARGS...]",)


_JSON = Option(JSON, "print the outcome as JSON")
_DRY_RUN = Option("--dry-run", "look only, and say what would be done")
_AGAIN = Option("--again", "although it has failed before")
_DIGEST = Option("--sha256", "what the sha256 of the file must be", "DIGEST")
_SIGNERS = Option("--allowed-signers", "by whom the file must be signed", "FILE")
_DOWNGRADE = Option("--allow-downgrade", "even if it is older than what boots or runs")
_TRUST = Option(
    "--trust",
    "owner: take a file without a digest that nobody but root and you could have changed; digest: never (digest)",
    "owner|digest",
)
_AT_LEAST = Option(
    "--at-least",
    "exit with 3 if more than this is needed: hot, new code in the process that runs; handover, a new interpreter (handover)",
    "hot|handover",
)
_HOW = Option(
    "--how",
    "in-place, which exits with 3 where that can not be, or handover, a new interpreter even where none is needed",
    "in-place|handover",
)
_SHELL = Option("--shell", "with a Python shell")

_ROWS = (
    Command("start", (), "Start the release in the foreground", "keeper", (_SHELL,), runs_code=True),
    Command(
        "daemon",
        (),
        "Start the release in the background and wait until it is ready",
        "keeper",
        (_SHELL,),
        runs_code=True,
    ),
    Command(
        "eval",
        ("CODE", "[ARGS...]"),
        "Run Python code in a new process, with the configuration and without starting the applications",
        "node",
        runs_code=True,
        more="ARGS are sys.argv[1:] of the code; after -- they may begin with -.",
    ),
    Command(
        "run",
        ("PROGRAM", "[ARGS...]"),
        "Run a program of the release, with its environment and its configuration",
        "node",
        (Option("-m", "PROGRAM is a module, as with python -m"),),
        runs_code=True,
        more="Programs are those of releases/V/bin; what follows is theirs, --help too.",
    ),
    Command(
        "rpc",
        ("CODE",),
        "Run Python code in the running release",
        "control",
        more="- reads the code from standard input.",
    ),
    Command("remote", (), "Open a Python shell in the running release", "control"),
    Command("status", (), "Show the status of the running release", "control", (_JSON,)),
    Command("metrics", (), "Print figures of the running release, for Prometheus", "control"),
    Command(
        "restart",
        (),
        "Restart the running release and wait until it is ready",
        "control",
        (Option("--graceful", "hand over to a new node; no request fails"),),
        more="The node reads env.sh again, and the file that RELEASE_ENVIRONMENT_FILE names.",
    ),
    Command("stop", (), "Stop the running release and wait until it has stopped", "node"),
    Command(
        "logs",
        (),
        "Show the log of a daemon, in order and across its files",
        "node",
        (
            Option("--follow", "go on as it grows; begins with the last 10 lines", short="-f"),
            Option("--lines", "the last N lines only", "N", short="-n"),
        ),
    ),
    Command("pid", (), "Print the process id of the running release", "node"),
    Command(
        "config",
        (),
        "Show the configuration and where it came from",
        "node",
        (Option("--explain", "show one key, and what it was before", "KEY"), _JSON),
        runs_code=True,
    ),
    Command(
        "systemd",
        (),
        "Print a unit for systemd",
        "node",
        (
            Option("--notify-reload", "for systemd 253 and later"),
            Option("--user", "who runs the service; default its name", "USER"),
            Option("--socket", "print a unit with the addresses, for socket activation"),
        ),
    ),
    Command("verify", (), "Compare every file of the release with its manifest", "node", (_JSON,)),
    Command("releases", (), "List the versions that are here, with their states", "upgrade", (_JSON,)),
    Command(
        "unpack",
        ("VERSION|FILE",),
        "Unpack another version next to this one, from var/incoming or a file",
        "upgrade",
        (_JSON, _DRY_RUN, _DIGEST, _SIGNERS, _TRUST, _DOWNGRADE, Option("--again", "forget that it has failed")),
    ),
    Command(
        "check",
        ("VERSION",),
        "Show what installing a version would do, and try all that can be tried",
        "upgrade",
        (_JSON, _AT_LEAST, _HOW, _AGAIN, Option("--within", "how long the trial may take (60)", "SECONDS")),
    ),
    Command(
        "install",
        ("VERSION",),
        "Make the node another version, until the next restart or a commit",
        "upgrade",
        (
            _JSON,
            _AT_LEAST,
            _HOW,
            _AGAIN,
            Option(
                "--commit-within", "go back to the permanent version without a commit in so many seconds", "SECONDS"
            ),
        ),
    ),
    Command(
        "upgrade",
        ("VERSION|FILE",),
        "Unpack a version, install it and make it the one that boots",
        "upgrade",
        (_JSON, _DIGEST, _SIGNERS, _TRUST, _DOWNGRADE, Option("--again", "forget that it has failed"), _AT_LEAST, _HOW),
    ),
    Command("commit", ("[VERSION]",), "Make the version that runs the one that boots", "upgrade", (_JSON, _DRY_RUN)),
    Command("rollback", ("[VERSION]",), "Go back to the version before", "upgrade", (_JSON, _DRY_RUN)),
    Command("remove", ("VERSION",), "Delete a version that neither runs nor boots", "upgrade", (_JSON, _DRY_RUN)),
    Command(
        "prune",
        (),
        "Delete old versions, but the last few, what runs and boots, and what rollback goes to",
        "upgrade",
        (_JSON, _DRY_RUN, Option("--keep", "how many of those that neither run nor boot stay; required", "N")),
    ),
    Command(
        "create-releases",
        (),
        "Make the ledger of versions again from what is here",
        "upgrade",
        (
            _JSON,
            _DRY_RUN,
            Option("--permanent", "what is to boot, when start.data can not be understood", "VERSION"),
        ),
    ),
    Command("version", (), "Print the name and version of the release that would start", "launcher"),
    Command("help", ("[COMMAND]",), "Show this list, or what a command takes", "launcher"),
)

COMMANDS: Mapping[str, Command] = {row.name: row for row in _ROWS}


def placeholders() -> dict[str, str]:
    """What the launcher's template takes from here: placeholder -> text."""
    remote = [row for row in _ROWS if row.room != "launcher" and not row.runs_code]
    return {
        "@COMMANDS@": overview(),
        "@CODE_COMMANDS@": _pattern(row for row in _ROWS if row.runs_code),
        "@REMOTE_COMMANDS@": _pattern(remote),
        "@CONTROL_COMMANDS@": _pattern(row for row in _ROWS if row.room == "control"),
    }


def overview() -> str:
    """A line for each command."""
    width = max(len(_short(row)) for row in _ROWS) + 2
    return "\n".join(f"    {_short(row):<{width}}{row.summary}" for row in _ROWS)


def _short(row: Command) -> str:
    return " ".join((row.name, *row.arguments))


def _pattern(rows: Iterable[Command]) -> str:
    return " | ".join(row.name for row in rows)
