"""bin/NAME and the launcher: what a shell finds, sets and says, mostly with a stand-in for Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from code_server_helpers import TIMEOUT
from underway_runtime.release import command_table

TEMPLATES = Path(__file__).parents[1] / "src/underway/templates"
NOTHING_ON_PATH = "/nowhere"

PYTHON = """#!/bin/sh
for word in "$@"; do printf 'argument <%s>\\n' "$word"; done
for name in ROOT NAME VSN PROG COMMAND MODE VAR TMP NODE COOKIE DISTRIBUTION VM_ARGS REMOTE_VM_ARGS BOOT_SCRIPT \\
  BOOT_SCRIPT_CLEAN SYS_CONFIG; do
  eval "printf 'RELEASE_%s=%s\\n' $name \\"\\$RELEASE_$name\\""
done
printf 'python home <%s> path <%s>\\n' "$PYTHONHOME" "$PYTHONPATH"
"""
"""Stands in for the interpreter: says what it was given."""


@dataclass(frozen=True)
class Release:
    """The shell files of a release called ``hello``, with a stand-in for Python."""

    root: Path
    shell: str | None = None

    @property
    def command(self) -> Path:
        return self.root / "bin/hello"

    @property
    def version(self) -> Path:
        return self.root / "releases/1.0"

    def run(
        self, *arguments: str, called: str | Path | None = None, cwd: Path | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Call it with nothing in the environment but this, and a PATH on which there is nothing."""
        prefix = [self.shell] if self.shell else []
        return subprocess.run(
            [*prefix, str(called or self.command), *arguments],
            cwd=cwd,
            env={"PATH": NOTHING_ON_PATH, **environ},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )

    def python_output(
        self, *arguments: str, called: str | Path | None = None, cwd: Path | None = None, **environ: str
    ) -> str:
        """What Python was given; the command must succeed."""
        done = self.run(*arguments, called=called, cwd=cwd, **environ)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


def make_release(root: Path) -> Release:
    release = Release(root)
    (release.version / "bin").mkdir(parents=True)
    (root / "bin").mkdir()
    for template, target in (
        ("name.sh", release.command),
        ("launcher.sh", release.version / "launcher"),
        ("env.sh", release.version / "env.sh"),
        ("python.args", release.version / "python.args"),
        ("remote.python.args", release.version / "remote.python.args"),
    ):
        text = (TEMPLATES / template).read_text(encoding="utf-8")
        for name, value in (("RELEASE_NAME", "hello"), ("RELEASE_VERSION", "1.0"), ("RUNTIME_DIRECTORY", "runtime")):
            text = text.replace(f"@{name}@", value)
        for placeholder, value in command_table.placeholders().items():
            text = text.replace(placeholder, value)
        target.write_text(text, encoding="utf-8")
        if "." not in target.name:
            target.chmod(0o755)
    python = release.version / "bin/python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    (root / "releases/start.data").write_text("3.11.7 1.0\n")
    return release


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return make_release(tmp_path / 'it\'s a "release" $HOME')


def test_python_is_called_with_the_arguments_of_the_file_and_the_command(release: Release) -> None:
    """Words of python.args come first, then the entry point, then what the user typed, as it was typed."""
    told = release.python_output("eval", "print('a  b')", "*", "")

    assert [line for line in told.splitlines() if line.startswith("argument")] == [
        "argument <-I>",
        "argument <-B>",
        "argument <-X>",
        "argument <disable-remote-debug>",
        "argument <-m>",
        "argument <underway_runtime.boot>",
        "argument <eval>",
        "argument <print('a  b')>",
        "argument <*>",
        "argument <>",
    ]


@pytest.mark.parametrize("command", ["start", "daemon"])
def test_a_start_is_the_keepers(release: Release, command: str) -> None:
    """It gets the command to call for a node, and what the user typed; env.sh is for the node."""
    (release.version / "env.sh").write_text("exit 3\n")
    root = release.root

    told = release.python_output(command, "--now", RELEASE_VM_ARGS="/nowhere")

    assert [line for line in told.splitlines() if line.startswith("argument")] == [
        "argument <-I>",
        "argument <-S>",
        "argument <-B>",
        "argument <-X>",
        "argument <disable-remote-debug>",
        f"argument <{root}/lib/runtime/underway_runtime/keeper/__main__.py>",
        f"argument <{root}/bin/hello>",
        f"argument <{command}>",
        "argument <--now>",
    ]
    assert "RELEASE_SYS_CONFIG=\n" in told


def test_the_keeper_calls_as_the_user_did(release: Release) -> None:
    """What the user typed is what env.sh sees; the runtime is told that this is the node."""
    (release.version / "env.sh").write_text('export RELEASE_NODE="$RELEASE_COMMAND:$*"\n')

    told = release.python_output("node", "start", "--shell")

    assert "RELEASE_NODE=start:start --shell\n" in told
    assert "argument <underway_runtime.boot>\nargument <node>\nargument <start>\nargument <--shell>\n" in told


def test_all_variables_are_set(release: Release) -> None:
    """Every process of a release finds the documented variables, with Mix's names."""
    root, version = release.root, release.version

    told = release.python_output("node", "start")

    assert [line for line in told.splitlines() if line.startswith("RELEASE_")] == [
        f"RELEASE_ROOT={root}",
        "RELEASE_NAME=hello",
        "RELEASE_VSN=1.0",
        "RELEASE_PROG=hello",
        "RELEASE_COMMAND=start",
        "RELEASE_MODE=embedded",
        f"RELEASE_VAR={root}/var",
        f"RELEASE_TMP={root}/var",
        "RELEASE_NODE=hello",
        "RELEASE_COOKIE=",
        "RELEASE_DISTRIBUTION=none",
        f"RELEASE_VM_ARGS={version}/python.args",
        f"RELEASE_REMOTE_VM_ARGS={version}/remote.python.args",
        "RELEASE_BOOT_SCRIPT=start",
        "RELEASE_BOOT_SCRIPT_CLEAN=start_clean",
        f"RELEASE_SYS_CONFIG={version}/sys.config",
    ]


@pytest.mark.parametrize(
    "variable",
    [
        "NAME",
        "PROG",
        "MODE",
        "VAR",
        "TMP",
        "NODE",
        "COOKIE",
        "DISTRIBUTION",
        "BOOT_SCRIPT",
        "BOOT_SCRIPT_CLEAN",
        "SYS_CONFIG",
    ],
)
def test_variables_of_the_caller_win(release: Release, variable: str) -> None:
    """All but the root and the command can be set from outside."""
    given: dict[str, Any] = {f"RELEASE_{variable}": "/of the caller"}

    told = release.python_output("node", "start", **given)

    assert f"RELEASE_{variable}=/of the caller\n" in told


def test_the_root_and_the_command_are_computed(release: Release) -> None:
    """A process started by another release is not confused with it."""
    told = release.python_output("node", "start", RELEASE_ROOT="/elsewhere", RELEASE_COMMAND="stop")

    assert f"RELEASE_ROOT={release.root}\n" in told
    assert "RELEASE_COMMAND=start\n" in told


def test_a_relative_var_becomes_absolute(release: Release, tmp_path: Path) -> None:
    """It means the same in every process, wherever that is."""
    told = release.python_output("node", "start", cwd=tmp_path, RELEASE_VAR="var of mine")

    assert f"RELEASE_VAR={tmp_path}/var of mine\n" in told
    assert f"RELEASE_TMP={tmp_path}/var of mine\n" in told


def test_python_variables_are_not_inherited(release: Release) -> None:
    """PYTHONHOME and PYTHONPATH would break Python, or its children, which do without -I."""
    told = release.python_output("node", "start", PYTHONHOME="/usr", PYTHONPATH="/usr/lib")

    assert "python home <> path <>\n" in told


def test_it_can_be_called_from_anywhere(release: Release, tmp_path: Path) -> None:
    """By absolute and relative path, from PATH, by a shell in its directory: the root is the same."""
    root = f"RELEASE_ROOT={release.root}\n"
    bin_directory = release.root / "bin"

    assert root in release.python_output("pid", cwd=Path("/"))
    assert root in release.python_output("pid", called="bin/hello", cwd=release.root)
    assert root in release.python_output("pid", called="./hello", cwd=bin_directory)
    from_path = subprocess.run(
        ["/bin/sh", "-c", "hello pid"],
        env={"PATH": f"{NOTHING_ON_PATH}:{bin_directory}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert root in from_path.stdout
    assert root in Release(release.root, "/bin/sh").python_output("pid", called="hello", cwd=bin_directory)


def test_it_can_be_called_through_links(release: Release, tmp_path: Path) -> None:
    """Links to the command, relative, absolute and in a chain, to its directory and to the root."""
    root = f"RELEASE_ROOT={release.root}\n"
    path = os.environ["PATH"]  # the one case that needs a command: readlink
    absolute = tmp_path / "absolute"
    absolute.symlink_to(release.command)
    (tmp_path / "some where").mkdir()
    relative = tmp_path / "some where/greet"
    relative.symlink_to("../absolute")
    (tmp_path / "commands").symlink_to(release.root / "bin")
    (tmp_path / "current").symlink_to(release.root)

    assert root in release.python_output("pid", called=absolute, PATH=path)
    told = release.python_output("pid", called=relative, PATH=path)
    assert root in told
    assert "RELEASE_PROG=greet\n" in told
    assert root in release.python_output("pid", called=tmp_path / "commands/hello")
    assert root in release.python_output("pid", called=tmp_path / "current/bin/hello")


def test_it_works_in_an_empty_environment(release: Release) -> None:
    """Not even PATH is needed."""
    done = subprocess.run([str(release.command), "version"], env={}, capture_output=True, text=True, timeout=TIMEOUT)

    assert (done.returncode, done.stdout, done.stderr) == (0, "hello 1.0\n", "")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--version"], 0, "hello 1.0\n"),
        (["--version", "x"], 2, "error: version does not take 'x'"),
        (["--version", "--help"], 0, "argument <help>\nargument <version>\n"),
    ],
)
def test_version_is_asked_for_as_of_other_programs_too(
    release: Release, words: list[str], status: int, said: str
) -> None:
    """By an option, which is answered as the command of that name is, with help too."""
    done = subprocess.run([str(release.command), *words], capture_output=True, text=True, timeout=TIMEOUT)
    assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done.stdout + done.stderr


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_it_works_in_both_shells_of_debian(tmp_path: Path, shell: str) -> None:
    """The files are POSIX sh; only builtins are used."""
    found = shutil.which(shell)
    assert found is not None
    release = make_release(tmp_path / "a release")
    environ = {"PATH": NOTHING_ON_PATH, "RELEASE_ROOT": str(release.root), "RELEASE_VSN": "1.0"}

    for script in (release.command, release.version / "launcher"):
        done = subprocess.run(
            [found, str(script), "start", "a b"], env=environ, capture_output=True, text=True, timeout=TIMEOUT
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "argument <a b>\n" in done.stdout
        assert f"RELEASE_ROOT={release.root}\n" in done.stdout


# --------------------------------------------------------------------------------------------------- what is booted


def test_the_committed_version_wins(release: Release, tmp_path: Path) -> None:
    """var/start.data over releases/start.data, RELEASE_VSN over both; RELEASE_VAR says where var is."""
    shutil.copytree(release.version, release.root / "releases/2.0")
    shutil.copytree(release.version, release.root / "releases/3.0")
    for var in (release.root / "var", tmp_path / "elsewhere"):
        var.mkdir()
    (release.root / "var/start.data").write_text("3.11.7 2.0\n")
    (tmp_path / "elsewhere/start.data").write_text("3.12.1 3.0")  # and no newline

    assert release.python_output("version") == "hello 2.0\n"
    assert release.python_output("version", RELEASE_VAR=str(tmp_path / "elsewhere")) == "hello 3.0\n"
    assert release.python_output("version", RELEASE_VSN="1.0") == "hello 1.0\n"


@pytest.mark.parametrize("content", ["", "\n", "3.11.7\n"])
def test_start_data_without_a_version_is_told(release: Release, content: str) -> None:
    """The error names the file; nothing is guessed."""
    (release.root / "releases/start.data").write_text(content)

    done = release.run("node", "start")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {release.root}/releases/start.data does not say what to boot; it is one line, INTERPRETER-VERSION"
        " RELEASE-VERSION\n"
    )


def test_empty_start_data_in_var_is_not_passed_over(release: Release) -> None:
    """A committed version that can't be read does not silently become another one."""
    (release.root / "var").mkdir()
    (release.root / "var/start.data").touch()

    done = release.run("node", "start")

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {release.root}/var/start.data does not say what to boot")


def test_missing_start_data_is_told(release: Release) -> None:
    """The error names the file and the way around it."""
    (release.root / "releases/start.data").unlink()

    done = release.run("node", "start")

    assert done.returncode == 1
    assert done.stderr == (
        f"error: {release.root}/releases/start.data is missing or can't be read; it says what to boot, and so does"
        " RELEASE_VSN\n"
    )


def test_a_version_that_is_not_here_is_told(release: Release) -> None:
    """The error names the version and where it would be."""
    done = release.run("start", RELEASE_VSN="9.9")

    assert (done.returncode, done.stderr) == (
        1,
        f"error: release '9.9' can't boot: there is no {release.root}/releases/9.9/launcher that can be executed\n",
    )


# ---------------------------------------------------------------------------------------------------------- commands


def test_version_needs_no_python(release: Release) -> None:
    """Nor the files that say how to call it."""
    (release.version / "bin/python").unlink()
    (release.version / "python.args").unlink()

    assert release.python_output("version") == "hello 1.0\n"


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",)])
def test_without_a_command_the_usage_is_shown(release: Release, arguments: tuple[str, ...]) -> None:
    """With status 0, as Mix does."""
    done = release.run(*arguments)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: hello COMMAND [ARGS]\n")
    assert all(f"    {command} " in done.stdout for command in ("start", "eval CODE", "stop", "pid", "version"))


@pytest.mark.parametrize(
    ("words", "helped"),
    [
        (("eval", "--help"), "eval"),
        (("eval", "print(1)", "--help"), "eval"),
        (("rpc", "-h"), "rpc"),
        (("rpc", "print(1)", "--help"), "rpc"),
        (("start", "--help"), "start"),
        (("start", "--shell", "--help"), "start"),
        (("daemon", "-h"), "daemon"),
        (("upgrade", "x.tar.zst", "--sha256", "00", "--help"), "upgrade"),
        (("remove", "--help", "1.0"), "remove"),
        (("version", "--help"), "version"),
        (("stpo", "--help"), "stpo"),
        (("help", "stop"), "stop"),
    ],
)
def test_help_anywhere_is_help(release: Release, words: tuple[str, ...], helped: str) -> None:
    """What asks for help gets it from a Python that is given nothing else of what was typed, and env.sh is not read."""
    (release.version / "env.sh").write_text("exit 9\n")

    told = [line for line in release.python_output(*words).splitlines() if line.startswith("argument")]

    assert told[-2:] == ["argument <help>", f"argument <{helped}>"]
    assert told[:3] == ["argument <-I>", "argument <-S>", "argument <-B>"]
    assert len(told) == 6


@pytest.mark.parametrize("words", [("eval", "1", "--", "--help"), ("eval", "--", "-h")])
def test_after_two_dashes_nothing_is_help(release: Release, words: tuple[str, ...]) -> None:
    """It is handed on, to the code that is run."""
    told = [line for line in release.python_output(*words).splitlines() if line.startswith("argument")]

    assert told[-len(words) :] == [f"argument <{word}>" for word in words]


def test_what_is_no_command_is_met_by_python(release: Release) -> None:
    """Which knows what is like it; env.sh is not read for that."""
    (release.version / "env.sh").write_text("exit 9\n")

    assert "argument <restrat>\n" in release.python_output("restrat", "now")


# ------------------------------------------------------------------------------------------------------------ env.sh


def test_env_sh_sees_the_command_and_its_arguments(release: Release) -> None:
    """RELEASE_COMMAND is set before env.sh is read, and "$@" is what the user typed."""
    (release.version / "env.sh").write_text('export RELEASE_NODE="$RELEASE_COMMAND:$RELEASE_VSN:$#:$2"\n')

    assert "RELEASE_NODE=eval:1.0:2:1 + 1\n" in release.python_output("eval", "1 + 1")


def test_env_sh_is_read_for_every_command(release: Release) -> None:
    """Also for those that need no Python."""
    (release.version / "env.sh").write_text("RELEASE_NAME=goodbye\n")

    assert release.python_output("version") == "goodbye 1.0\n"


def test_env_sh_can_set_what_has_a_default(release: Release) -> None:
    """What it sets wins over the default of the launcher."""
    (release.version / "env.sh").write_text("RELEASE_MODE=interactive\nRELEASE_VAR=/var/lib/hello\n")

    told = release.python_output("node", "start")

    assert "RELEASE_MODE=interactive\n" in told
    assert "RELEASE_VAR=/var/lib/hello\n" in told
    assert "RELEASE_TMP=/var/lib/hello\n" in told


@pytest.mark.parametrize("ends", ["false", "exit 3", "[ -f /nowhere ] && . /nowhere"])
def test_an_env_sh_that_fails_is_told(release: Release, ends: str) -> None:
    """A release does not start without what env.sh was to set up, and does not end without a word."""
    (release.version / "env.sh").write_text(f"{ends}\n")

    done = release.run("node", "start")

    status = 3 if "3" in ends else 1
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr == f"error: {release.version}/env.sh ended with status {status}\n"


def test_an_env_sh_may_end_the_command(release: Release) -> None:
    """Status 0 is not a failure."""
    (release.version / "env.sh").write_text("exit 0\n")

    done = release.run("node", "start")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["env.sh", "python.args", "bin/python"])
def test_a_missing_file_is_told(release: Release, name: str) -> None:
    """The error names it."""
    (release.version / name).unlink()

    done = release.run("node", "start")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {release.version}/{name} ")


# ------------------------------------------------------------------------------------------------------- python.args


def test_python_args_are_words_with_comments(release: Release) -> None:
    """One or several on a line, comments alone or after them, no globbing, and no newline needed at the end."""
    (release.version / "python.args").write_text("# all\n  # of these\n-I -B   # two\n\n-W  error::*\n\t-X dev#1\n-u")

    told = release.python_output("node", "start", cwd=release.root)

    assert [line for line in told.splitlines() if line.startswith("argument")][:9] == [
        "argument <-I>",
        "argument <-B>",
        "argument <-W>",
        "argument <error::*>",
        "argument <-X>",
        "argument <dev#1>",
        "argument <-u>",
        "argument <-m>",
        "argument <underway_runtime.boot>",
    ]


REMOTE = ("rpc", "remote", "status", "restart", "stop", "pid", "systemd", "verify")


@pytest.mark.parametrize(
    ("command", "file"),
    [("eval", "VM_ARGS"), ("config", "VM_ARGS"), *((command, "REMOTE_VM_ARGS") for command in REMOTE)],
)
def test_commands_that_talk_to_a_node_have_arguments_of_their_own(release: Release, command: str, file: str) -> None:
    """As in Mix: vm.args for what runs code, remote.vm.args for what reaches a running release."""
    arguments = release.root / "my args"
    arguments.write_text("-v\n")
    given: dict[str, Any] = {f"RELEASE_{file}": str(arguments)}

    assert "argument <-v>\n" in release.python_output(command, **given)


def test_the_shipped_arguments_are_isolated_and_write_nothing() -> None:
    """Without a project's own python.args, nothing of the machine's Python gets in."""
    for name in ("python.args", "remote.python.args"):
        lines = (TEMPLATES / name).read_text(encoding="utf-8").splitlines()

        assert [line for line in lines if line and not line.startswith("#")] == ["-I", "-B", "-X disable-remote-debug"]


def test_the_shipped_env_sh_does_nothing() -> None:
    """It is all comments, for who wants to know what can be done there."""
    lines = (TEMPLATES / "env.sh").read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if line and not line.startswith("#")] == []


def test_commands_that_ask_a_node_start_without_site(release: Release) -> None:
    """They need the standard library and the runtime only, and find that by its path."""
    told = release.python_output("rpc", "1 + 1")

    entry = f"{release.root}/lib/runtime/underway_runtime/control/client/__main__.py"
    assert [line for line in told.splitlines() if line.startswith("argument")] == [
        f"argument <{word}>" for word in ("-I", "-B", "-X", "disable-remote-debug", "-S", entry, "rpc", "1 + 1")
    ]
