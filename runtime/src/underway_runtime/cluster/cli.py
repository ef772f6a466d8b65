"""``bin/cluster``: reads the command line, and does what it says through `node` and `deploy`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from .. import __version__
from ..process.settings import from_environ
from ..release.addresses import join
from ..release.command_table import COMMANDS
from ..release.errors import UsageError, did_you_mean, listing
from . import inventory
from .node import MODES, STARTING, Wanted, become

SHORT = {"d": "deploy", "l": "local", "m": "master", "w": "worker"}
ASKING = ("stop", "restart", "remote", "pid", "status")
_INTERNAL = ("place", "certificate")
_WORDS = (*MODES, "deploy", "help")
_THERE_ARE = f"modes are {', '.join(MODES)} and deploy"
_SUMMARIES = {
    ("local", "start"): "Start master and worker in one process, in the foreground.",
    ("local", "daemon"): "Start master and worker in one process, in the background, and wait until they are ready.",
    ("master", "start"): "Start the master in the foreground; it is ready when its workers have joined.",
    ("master", "daemon"): "Start the master in the background, and wait until its workers have joined.",
    ("worker", "start"): "Start a worker in the foreground, and have it join its master.",
    ("worker", "daemon"): "Start a worker in the background, and wait until it has joined its master.",
    "stop": "Stop the node, and wait until it has stopped.",
    "restart": "Restart the node, and wait until it is ready.",
    "remote": "Open a Python shell in the node.",
    "pid": "Print the process id of the keeper of the node, which a restart does not change.",
    "status": "Show the status of the node.",
    "run": "Run a command of bin/NAME for the node, as in: rpc CODE, config, upgrade FILE.",
}
"""What each command does: by mode where that makes a difference."""
_DEPLOY = (
    "Copy the release to hosts, start workers there and the master here. Where the master runs already, start the workers that do"
    " not run. What speaks against it on any host is listed before anything is changed."
)

HELP = """\
Usage: cluster MODE COMMAND [OPTIONS]

    local  start|daemon                     start master and worker in one process
    master start|daemon [NODE...]           start the master, and wait until these workers have joined
    worker start|daemon [MASTER]            start a worker of the master at HOST:PORT
    MODE   stop|restart|remote|pid|status   stop or ask a node of this mode that runs, as bin/{name} does
    MODE   run COMMAND...                   run any other command of bin/{name} for it
    deploy [HOST[:TAG,TAG]...] [-f FILE]    copy the release to hosts, start workers there and the master here
    deploy --stop                           stop the master and the workers
    deploy --renew                          give all nodes new certificates while they run
    deploy --revoke HOST                    take a host out: every other node refuses it at once
    help [MODE]                             show the options of a mode

    -a, --application-version               print name and version of the release
    -v, --version                           print the version of underway's runtime
"""


class _Parser(argparse.ArgumentParser):
    def format_help(self) -> str:
        """Return the help, with headings as those of ``bin/NAME`` and of the tool."""
        self._positionals.title, self._optionals.title = "Arguments", "Options"
        return super().format_help().replace("usage: ", "Usage: ", 1)

    def parsed(self, words: Sequence[str]) -> argparse.Namespace:
        """Read the words. Raises UsageError, also for an option that says nothing, as one does with a variable that is not set."""
        options = self.parse_args(words)
        empty = [
            max(action.option_strings, key=len)
            for action in self._actions
            if action.option_strings and "" in _words(getattr(options, action.dest, None))
        ]
        if empty:
            self.error(f"{' and '.join(empty)} is given, and says nothing")
        return options

    def error(self, message: str) -> NoReturn:
        wrong = [word.partition("=")[0] for word in message.split() if word.startswith("--")]
        known = self._option_string_actions if wrong and "unrecognized" in message else ()
        more = f"`{self.prog} --help` says what there is"
        raise UsageError(message + did_you_mean(wrong[0] if wrong else "", known, more))


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the command line asks for; the exit status. Raises an UnderwayError that the user has to be told."""
    settings = from_environ(environ)
    words = list(arguments)
    if not words or words[0] in {"help", "-h", "--help"}:
        return _help(words[1:], settings.name)
    if words in (["-a"], ["--application-version"]):
        print(f"{settings.name} {settings.version}")
        return 0
    if words in (["-v"], ["--version"]):
        print(__version__)
        return 0
    mode = SHORT.get(words[0], words[0])
    if mode in _INTERNAL:
        from .deploy import receive

        return receive.run(mode, words[1:], settings)
    if not settings.place.cluster_config.exists():
        raise UsageError(
            f"{settings.name}-{settings.version} was not built for a cluster; list underway.steps.cluster:step before assemble"
        )
    if mode in MODES:
        wanted, dry_run = node_of(mode, words[1:], settings.name)
        return become(wanted, settings, environ, dry_run=dry_run)
    if mode == "deploy":
        from .deploy import deploy

        return deploy.run(_deploy_parser().parsed(words[1:]), settings)
    if words[0] in (*STARTING, *COMMANDS):
        raise UsageError(
            f"{words[0]!r} is a command for a node; type: bin/cluster MODE {_of_mode(words)}; {_THERE_ARE}"
        )
    raise UsageError(f"{words[0]!r} is not a mode{did_you_mean(mode, _WORDS, _THERE_ARE)}")


def _of_mode(words: Sequence[str]) -> str:
    """What is typed after a mode for a command of ``bin/NAME``."""
    return shlex.join(words if words[0] in (*STARTING, *ASKING) else ("run", *words))


def node_of(mode: str, words: Sequence[str], release: str) -> tuple[Wanted, bool]:
    """The node that a command line asks for, and whether that is a dry run. Raises UsageError."""
    if not words or words[0].startswith("-"):
        if {"-h", "--help"} & {*words}:
            raise SystemExit(_help([mode], ""))
        raise UsageError(f"{mode} needs a command: {', '.join(['start', 'daemon', *ASKING, 'run'])}")
    command, rest = words[0], words[1:]
    if command in STARTING:
        return _starting(mode, command, rest, release)
    if command not in (*ASKING, "run"):
        commands = ("start", "daemon", *ASKING, "run")
        if command in COMMANDS:
            raise UsageError(f"{command!r} is a command of bin/{release}; type: bin/cluster {mode} {_of_mode(words)}")
        there_are = f"there are {', '.join(commands)}"
        raise UsageError(f"{command!r} is not a command of {mode}{did_you_mean(command, commands, there_are)}")
    parser = _parser(f"cluster {mode} {command}", _SUMMARIES[command])
    _add_node(parser)
    if command == "run":
        parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="a command of bin/NAME")
    if command == "restart":
        parser.add_argument("--graceful", action="store_true", help="hand over to a new node, so that no request fails")
    if command == "status":
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    options = parser.parsed(rest)
    flags = [f"--{flag}" for flag in ("graceful", "json") if getattr(options, flag, False)]
    asked = tuple(options.words) if command == "run" else (command, *flags)
    if not asked:
        raise UsageError(f"run needs a command of bin/NAME, as in: cluster {mode} run releases")
    return Wanted(mode, asked, name=options.name, cookie_file=options.cookie_file), options.dry_run


def _starting(mode: str, command: str, rest: Sequence[str], release: str) -> tuple[Wanted, bool]:
    options = _starting_parser(mode, command).parsed(rest)
    given = vars(options)
    words = STARTING[command]
    if options.shell and "--shell" not in words:
        words = (*words, "--shell")
    master = given.get("master")
    if master is not None:
        master = join(*inventory.address(master, inventory.PORT))
    if options.listen is not None:
        inventory.address(options.listen)
    peers = inventory.from_words(given.get("workers", ())) + (
        inventory.fleet_in(given["file"]).hosts if given.get("file") else ()
    )
    if problems := inventory.together(peers):
        raise UsageError(listing("the hosts can't be understood:", problems))
    known = ["name", "listen", "deploy", "timeout", "log", "working_dir", "cookie_file"]
    known += ["shutdown_with_master", "shutdown_with_workers"]
    wanted = Wanted(
        mode,
        words,
        master=master,
        workers=tuple(peer.node(release) for peer in peers if peer.role == "worker"),
        tags=tuple(tag for tags in given.get("tags") or () for tag in tags.split(",")),
        **{key: given[key] for key in known if key in given},
    )
    if wrong := [tag for tag in wanted.tags if not inventory.NAME.fullmatch(tag)]:
        raise UsageError(f"{', '.join(map(repr, wrong))} can't be a tag; it is letters, digits and _ . -")
    return wanted, options.dry_run


def _help(words: Sequence[str], name: str) -> int:
    mode = SHORT.get(words[0], words[0]) if words else ""
    if mode in (*MODES, "deploy"):
        parser_of(mode).print_help()
    elif mode:
        raise UsageError(f"{mode!r} is not a mode{did_you_mean(mode, _WORDS, _THERE_ARE)}")
    else:
        sys.stdout.write(HELP.format(name=name))
    return 0


def parser_of(mode: str) -> argparse.ArgumentParser:
    """What reads the options of deploy, or of the start of a node."""
    return _deploy_parser() if mode == "deploy" else _starting_parser(mode, "start")


def _parser(prog: str, summary: str) -> _Parser:
    return _Parser(prog=prog, description=summary, allow_abbrev=False)


def _add_node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-n", "--name", metavar="NODE", help="start or ask the node of this name (default: RELEASE_MODE@HOST)"
    )
    parser.add_argument(
        "-c", "--cookie-file", metavar="FILE", help="read the cookie from this file; else from RELEASE_COOKIE"
    )
    parser.add_argument("--cookie", action=_NoCookie, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--dry-run", "--debug", action="store_true", help="show what would be run, and run nothing")


def _add_starting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-log", dest="log", action="store_false", help="do not log what the cluster does")
    parser.add_argument("--working-dir", metavar="DIR", help="start in this directory")


def _starting_parser(mode: str, command: str) -> _Parser:
    parser = _parser(f"cluster {mode} {command}", _SUMMARIES[mode, STARTING[command][0]])
    _add_node(parser)
    _add_starting(parser)
    parser.add_argument("--shell", action="store_true", help="open a Python shell in the node")
    parser.add_argument("--listen", metavar="ADDRESS:PORT", help="listen here; other nodes must reach it")
    if mode == "worker":
        parser.add_argument(
            "master", nargs="?", metavar="MASTER", help="address of the master, HOST[:PORT] (default: CLUSTER_MASTER)"
        )
        parser.add_argument(
            "-t", "--tag", dest="tags", action="append", metavar="TAG", help="give the worker a tag; may be repeated"
        )
        parser.add_argument(
            "--no-shutdown-with-master",
            dest="shutdown_with_master",
            action="store_false",
            help="keep a worker running when its master is lost",
        )
    else:
        parser.add_argument("-d", "--deploy", metavar="EXPR", help="evaluate this when all workers have joined")
    if mode == "master":
        parser.add_argument("workers", nargs="*", metavar="NODE", help="wait for this worker, [NAME@]HOST")
        parser.add_argument("-f", "--file", metavar="FILE", help="read the workers to wait for from a file of hosts")
        parser.add_argument(
            "--within", dest="timeout", type=_seconds, metavar="SECONDS", help="limit the time for the workers to join"
        )
        parser.add_argument(
            "--shutdown-with-workers", action="store_true", help="stop the master when a worker is lost"
        )
    return parser


def _deploy_parser() -> _Parser:
    parser = _parser("cluster deploy", _DEPLOY)
    _add_starting(parser)
    parser.add_argument(
        "hosts", nargs="*", metavar="HOST", help="[NAME@]HOST[:TAG,TAG] (default: the hosts of the build)"
    )
    parser.add_argument(
        "-f", "--worker-file", dest="file", metavar="FILE", help="read the hosts from a file, one a line, or a .toml"
    )
    parser.add_argument("-d", "--deploy", metavar="EXPR", help="evaluate this when all workers have joined")
    parser.add_argument(
        "-m",
        "--mode",
        default="start",
        choices=["start", "start_iex", "daemon", "daemon_iex"],
        help="start the master so; _iex opens a Python shell in it (default: start)",
    )
    parser.add_argument("-s", "--stop", action="store_true", help="stop the master and the workers, and start nothing")
    parser.add_argument("--copy-only", action="store_true", help="copy the release, and start nothing")
    parser.add_argument("--allow-downgrade", action="store_true", help="allow a version older than the one on a host")
    parser.add_argument("--renew", action="store_true", help="give all nodes new certificates, also those that run")
    parser.add_argument(
        "--revoke",
        metavar="HOST",
        action="append",
        default=[],
        help="refuse HOST from now on, and renew the certificates of the others",
    )
    parser.add_argument(
        "--directory", metavar="DIR", help="directory of the release on the hosts (default: its name, below the home)"
    )
    parser.add_argument("--listen", metavar="ADDRESS:PORT", help="listen here as the master")
    parser.add_argument(
        "--within", dest="timeout", type=_seconds, metavar="SECONDS", help="limit the time for the workers to join"
    )
    parser.add_argument("-c", "--cookie-file", metavar="FILE", help="read the cookie of all nodes from this file")
    parser.add_argument("--cookie", action=_NoCookie, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument(
        "--no-shutdown-with-master",
        dest="shutdown_with_master",
        action="store_false",
        help="keep a worker running when its master is lost",
    )
    parser.add_argument("--shutdown-with-workers", action="store_true", help="stop the master when a worker is lost")
    parser.add_argument("--ssh-config", metavar="FILE", help="use this instead of ~/.ssh/config")
    parser.add_argument(
        "--dry-run", "--debug", action="store_true", help="look at the hosts, and show what would be run"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    return parser


def _words(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [value]


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise ValueError(text)
    return value


class _NoCookie(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> NoReturn:
        parser.error("a cookie in an argument is seen by everyone here; use --cookie-file FILE or RELEASE_COOKIE")
