"""The commands of ``bin/NAME``: the launcher, its help, what is said of mistakes, and the docs are made from this table.

What the launcher does with a command is said by its `room`: the launcher answers itself, starts a keeper, runs
``control/client`` without site-packages, or ``underway_runtime.boot``. Those call the command's `function`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from ..frozen import Frozen

Room: TypeAlias = Literal["launcher", "keeper", "control", "node", "upgrade"]

JSON = "--json"


class Option(Frozen):
    """An option of a command: a switch, or with a `metavar` one that takes a value."""

    name: str
    text: str
    metavar: str = ""
    short: str = ""
    """The same with one letter."""
    required: bool = False
    parameter: str = ""
    """What the command's function calls it, where that is not its name."""

    @property
    def key(self) -> str:
        """The name under which the command's function is given it."""
        return self.parameter or self.name.lstrip("-").replace("-", "_")

    @property
    def usage(self) -> str:
        """As it is written in a usage line."""
        return f"{self.short or self.name} {self.metavar}".rstrip()


class Command(Frozen):
    """One command: what it takes, in which order, and what it does."""

    name: str
    arguments: tuple[str, ...]
    """``NAME`` is required, ``[NAME]`` may be there, ``[NAME...]`` takes all that follows as it is."""
    summary: str
    """In the imperative; one line, without quotes of any kind, for it stands in the launcher."""
    room: Room
    function: str = ""
    """Within the runtime; empty where the launcher or the keeper does it. It is given all options and arguments by name, and before
    them the `Place` of the node to ask (control) or the `Settings` (node); of the room upgrade it is given a `Request`."""
    options: tuple[Option, ...] = ()
    runs_code: bool = False
    """Whether it runs code of the release in its own process: its arguments for Python are those of the node."""
    more: str = ""

    @property
    def usage(self) -> str:
        """``upgrade VERSION|FILE [--json]``."""
        options = (option.usage if option.required else f"[{option.usage}]" for option in self.options)
        return " ".join((self.name, *options, *self.arguments))

    @property
    def parameters(self) -> tuple[str, ...]:
        """What its function is given, by name."""
        return (*(option.key for option in self.options), *map(argument_key, self.arguments))

    @property
    def verbatim(self) -> bool:
        """Whether what follows its first argument is not its own."""
        return self.arguments[-1:] == ("[ARGS...]",)


_JSON = Option(JSON, "print the outcome as JSON", parameter="as_json")
_DRY_RUN = Option("--dry-run", "show what would be done, and change nothing")
_AGAIN = Option("--again", "allow a version that has failed before")
_DIGEST = Option("--sha256", "require this sha256 of the file", "DIGEST")
_SIGNERS = Option("--allowed-signers", "require a signature by one of those in this file", "FILE")
_DOWNGRADE = Option("--allow-downgrade", "allow a version older than the one that boots or runs")
_TRUST = Option(
    "--trust",
    "owner: trust a file without a digest that only root and you could have changed; digest: never do (default: digest)",
    "owner|digest",
)
_AT_LEAST = Option(
    "--at-least",
    "exit with 3 if more than this is needed: hot, the running process; handover, a new interpreter (default: handover)",
    "hot|handover",
)
_HOW = Option(
    "--how",
    "in-place: keep the process, or exit with 3; handover: start a new interpreter even where none is needed",
    "in-place|handover",
)
_SHELL = Option("--shell", "open a Python shell in it")

_ROWS = (
    Command("start", (), "Start the release in the foreground", "keeper", "", (_SHELL,), runs_code=True),
    Command(
        "daemon",
        (),
        "Start the release in the background and wait until it is ready",
        "keeper",
        "",
        (_SHELL,),
        runs_code=True,
    ),
    Command(
        "eval",
        ("CODE", "[ARGS...]"),
        "Run Python code in a new process, with the configuration and without starting the applications",
        "node",
        "node.commands:evaluate",
        runs_code=True,
        more="ARGS are sys.argv[1:] of the code; after -- they may begin with -.",
    ),
    Command(
        "run",
        ("PROGRAM", "[ARGS...]"),
        "Run a program of the release, with its environment and its configuration",
        "node",
        "node.programs:run",
        (Option("-m", "take PROGRAM as a module, as python -m does", parameter="module"),),
        runs_code=True,
        more="Programs are those of releases/V/bin; what follows is theirs, --help too.",
    ),
    Command(
        "rpc",
        ("CODE",),
        "Run Python code in the running release",
        "control",
        "control.client.rpc:run",
        (Option("--all", "run it in each process of the release, one after the other", parameter="in_all"),),
        more="- reads the code from standard input.",
    ),
    Command("remote", (), "Open a Python shell in the running release", "control", "control.client.remote:run"),
    Command("status", (), "Show the status of the running release", "control", "control.client.status:run", (_JSON,)),
    Command(
        "metrics",
        (),
        "Print metrics of the running release, for Prometheus",
        "control",
        "control.client.status:metrics",
    ),
    Command(
        "restart",
        (),
        "Restart the running release and wait until it is ready",
        "control",
        "control.client.restart:run",
        (Option("--graceful", "hand over to a new node, so that no request fails"),),
        more="The node reads env.sh again, and the file that RELEASE_ENVIRONMENT_FILE names.",
    ),
    Command(
        "scale",
        ("N",),
        "Change the number of processes of the running release",
        "control",
        "control.client.scale:run",
        more="It holds until the release is stopped, for later versions too. Who is one too many drains first.",
    ),
    Command("stop", (), "Stop the running release and wait until it has stopped", "node", "node.commands:stop"),
    Command(
        "logs",
        (),
        "Show the log of a daemon, in order and across its files",
        "node",
        "node.log_files:run",
        (
            Option("--follow", "start with the last 10 lines, and print new ones as they come", short="-f"),
            Option("--lines", "show only the last N lines", "N", short="-n"),
        ),
    ),
    Command(
        "pid", (), "Print the process id of the keeper, which a restart does not change", "node", "node.commands:pid"
    ),
    Command(
        "config",
        (),
        "Show the configuration and where it came from",
        "node",
        "configuration.explain:run",
        (Option("--explain", "show one key, with the values that were overridden", "KEY"), _JSON),
        runs_code=True,
    ),
    Command(
        "systemd",
        (),
        "Print a unit for systemd",
        "node",
        "node.systemd:run",
        (
            Option("--notify-reload", "use Type=notify-reload, for systemd 253 and later"),
            Option("--user", "run the service as this user (default: its name)", "USER"),
            Option("--socket", "print a unit with the addresses, for socket activation"),
        ),
    ),
    Command(
        "verify", (), "Compare every file of the release with its manifest", "node", "node.commands:verify", (_JSON,)
    ),
    Command(
        "releases", (), "List the unpacked versions and their states", "upgrade", "upgrade.commands:releases", (_JSON,)
    ),
    Command(
        "unpack",
        ("VERSION|FILE",),
        "Unpack another version next to this one, from a file or var/incoming",
        "upgrade",
        "upgrade.commands:unpack",
        (
            _JSON,
            _DRY_RUN,
            _DIGEST,
            _SIGNERS,
            _TRUST,
            _DOWNGRADE,
            _AGAIN,
        ),
    ),
    Command(
        "check",
        ("VERSION",),
        "Try a version without installing it, and show what installing it would do",
        "upgrade",
        "upgrade.commands:check",
        (
            _JSON,
            _AT_LEAST,
            _HOW,
            _AGAIN,
            Option("--within", "limit the time of the trial (default: 60)", "SECONDS"),
            Option("--keep", "keep it booted for an install that follows in time", "SECONDS"),
        ),
    ),
    Command(
        "install",
        ("VERSION",),
        "Switch the running release to a version, until the next restart or a commit",
        "upgrade",
        "upgrade.commands:install",
        (
            _JSON,
            _AT_LEAST,
            _HOW,
            _AGAIN,
            Option("--commit-within", "go back to the permanent version unless it is committed in time", "SECONDS"),
        ),
    ),
    Command(
        "upgrade",
        ("VERSION|FILE",),
        "Unpack a version, install it and make it the one that boots",
        "upgrade",
        "upgrade.commands:upgrade",
        (
            _JSON,
            _DIGEST,
            _SIGNERS,
            _TRUST,
            _DOWNGRADE,
            _AGAIN,
            _AT_LEAST,
            _HOW,
        ),
    ),
    Command(
        "commit",
        ("[VERSION]",),
        "Make the version that runs the one that boots",
        "upgrade",
        "upgrade.commands:commit",
        (_JSON, _DRY_RUN),
    ),
    Command(
        "rollback",
        ("[VERSION]",),
        "Go back to the version before, in the running release and for the next boot",
        "upgrade",
        "upgrade.commands:rollback",
        (_JSON, _DRY_RUN),
    ),
    Command(
        "remove",
        ("VERSION",),
        "Delete a version that neither runs nor boots",
        "upgrade",
        "upgrade.commands:remove",
        (_JSON, _DRY_RUN),
    ),
    Command(
        "prune",
        (),
        "Delete old versions except the last few, and those that run, boot or are next for rollback",
        "upgrade",
        "upgrade.commands:prune",
        (_JSON, _DRY_RUN, Option("--keep", "keep this many of those that neither run nor boot", "N", required=True)),
    ),
    Command(
        "create-releases",
        (),
        "Rebuild the ledger of versions from the release directory",
        "upgrade",
        "upgrade.commands:create_releases",
        (
            _JSON,
            _DRY_RUN,
            Option("--permanent", "make this the version that boots, where start.data cannot be read", "VERSION"),
        ),
    ),
    Command("version", (), "Print the name and version of the release that would start", "launcher"),
    Command("help", ("[COMMAND]",), "Show this list, or the help of a command", "launcher"),
)

COMMANDS: Mapping[str, Command] = {row.name: row for row in _ROWS}


def argument_key(argument: str) -> str:
    """The name under which a command's function is given an argument: ``args`` for ``[ARGS...]``."""
    return argument.strip("[].").lower().replace("|", "_or_")


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
