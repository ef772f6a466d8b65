"""What hosts say: told apart from what login shells, banners and ssh print."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from underway_runtime.cluster import answers
from underway_runtime.cluster.answers import Answer
from underway_runtime.cluster.deploy import preflight, remote_commands
from underway_runtime.cluster.deploy.ssh import Ssh
from underway_runtime.cluster.inventory import Host, Limits
from underway_runtime.release.manifest import Manifest

RELEASE = Manifest("wc", "0.1.0", "x86_64-linux-gnu", "3.11.7", {})
NOISE = [
    b"",
    b"Welcome!\n",
    b"no line break",
    b"system x\nclock now\nend .\n",
    b"\x1b]0;title\x07\x1b[2J\x1b[31mAuthorized\x1b[0m use only\r\n",
    b"\xff\xfe\x00 binary",
    b"underway-begin-\nunderway-end- 0\n",
]


def asked(
    command: list[str], *, shell: str = "sh", before: str = "", after: str = "", feed: bytes = b"", path: str = ""
) -> Answer:
    """What comes of a command where a login shell does something before and after it."""
    line = "".join([before, shlex.join(answers.asking(command, "5eed", reads=bool(feed))), after])
    sent = answers.before_input("5eed") + feed if feed else b""
    environ = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    done = subprocess.run([shell, "-c", line], input=sent, capture_output=True, timeout=60, check=False, env=environ)
    return answers.answer("5eed", done.returncode, done.stdout, done.stderr)


@pytest.mark.sample
@pytest.mark.parametrize("before", NOISE)
@pytest.mark.parametrize("after", NOISE)
def test_an_answer_is_what_is_between_the_marks(tmp_path: Path, before: bytes, after: bytes) -> None:
    """Whatever a login shell prints before and after it, on both streams, with a line break or without."""
    for name, noise in (("before", before), ("after", after)):
        (tmp_path / name).write_bytes(noise)
    noisy = [
        f"cat {shlex.quote(str(tmp_path / name))}; cat {shlex.quote(str(tmp_path / name))} >&2; "
        for name in ("before", "after")
    ]

    answer = asked(
        ["sh", "-c", "echo said; echo complained >&2; exit 3"], before=noisy[0], after=f"; s=$?; {noisy[1]} exit $s"
    )

    assert (answer.status, answer.output, answer.errors, answer.lost) == (3, "said\n", "complained\n", False)


WORDS = [
    "a b",
    "it's",
    '"',
    "$x;`y`",
    "!!",
    "line\nbreak\n",
    "-n",
    "\\0041",
    "%s",
    "ä",
    "",
    "*",
    "~",
    "{a,b}",
    "#",
    "\t",
]


def shell_case(shell: str) -> object:
    """A case with a login shell of Debian's, which .ci/run installs."""
    return pytest.param(shell, marks=pytest.mark.needs_tool(shell, {"sh": "dash", "csh": "tcsh"}.get(shell, shell)))


@pytest.mark.parametrize("shell", [*map(shell_case, ["sh", "bash", "csh", "tcsh", "fish", "zsh", "busybox"])])
def test_every_word_arrives_whatever_the_login_shell_is(shell: str) -> None:
    """Also where that takes line breaks and exclamation marks for other things."""
    line = shlex.join(answers.asking(["printf", "<%s>", *WORDS], "5eed"))
    words = ["busybox", "sh"] if shell == "busybox" else [shell]
    done = subprocess.run(
        [*words, "-c", line], capture_output=True, timeout=60, env={"PATH": os.environ["PATH"], "HOME": "/"}
    )

    assert answers.answer("5eed", done.returncode, done.stdout, done.stderr).output == "".join(
        f"<{word}>" for word in WORDS
    )


@pytest.mark.parametrize("shell", [*map(shell_case, ["sh", "csh", "fish", "zsh"])])
def test_scripts_go_through_any_login_shell(tmp_path: Path, shell: str) -> None:
    """The look at a host, and what takes a release there: what they read comes through too."""
    look = asked(remote_commands.preflight(str(tmp_path / "there"), "/no"), shell=shell)
    assert preflight.read(look.output, 0, 2**40).directory == str(tmp_path / "there")

    received = asked(
        remote_commands.receive(str(tmp_path / "there"), RELEASE, "gzip", 60, ""), shell=shell, feed=b"no archive"
    )
    assert received.status not in (0, 255)
    assert "gzip" in received.reason
    assert list(tmp_path.iterdir()) == []


ASKS = {
    "sh": "read answer; read -r one two; ",
    "bash": 'read -p "go on? [y/N] " answer; read -n 1 key; mapfile -n 3; ',
    "csh": "set answer = $<; set more = $<; ",
    "fish": "read answer; read more; ",
    "zsh": "read -q answer; read -k 3 keys; ",
}


@pytest.mark.parametrize("shell", [*map(shell_case, ASKS)])
def test_a_login_shell_that_asks_something_reads_nothing_of_what_is_sent(shell: str) -> None:
    """It gets empty lines, and the command all of its input."""
    assert asked(["cat"], shell=shell, before=ASKS[shell], feed=b"one\n\ntwo").output == "one\n\ntwo"


def test_a_login_shell_that_reads_all_of_it_is_named() -> None:
    """The command is not run without its input."""
    answer = asked(["sh", "-c", "echo ran"], before="cat >/dev/null; ", feed=b"one\n")

    assert (answer.status, answer.output, answer.lost) == (1, "", False)
    assert "its login shell has read what was sent to the command: what is in .bashrc, .profile" in answer.reason


FUNCTIONS = "printf read test [ cat cd ls mkdir kill grep echo command env sleep tr unset"


def test_functions_of_a_login_shell_shadow_nothing(tmp_path: Path) -> None:
    """Those that bash passes on to another bash, where that is `sh`."""
    (tmp_path / "sh").symlink_to(str(shutil.which("bash")))
    shadowed = "".join(f"function {name} {{ builtin echo mine; builtin return 1; }}; " for name in FUNCTIONS.split())
    command = ["sh", "-c", 'cat; test a = a && [ 1 = 1 ] && printf "%s" "$(echo said)"']

    answer = asked(
        command, shell="bash", before=f"{shadowed} builtin export -f {FUNCTIONS}; ", feed=b"one\n", path=str(tmp_path)
    )

    assert (answer.status, answer.output, answer.errors) == (0, "one\nsaid", "")


def test_variables_of_another_release_are_left_out() -> None:
    """What a login shell has set for that one does not name this one; what the host says of places stays."""
    before = "export RELEASE_NAME=other RELEASE_ROOT=/other RELEASE_VSN=9 RELEASE_NODE=x RELEASE_VAR=/var/lib/this; "

    assert asked(["sh", "-c", "env | grep RELEASE_"], before=before).output == "RELEASE_VAR=/var/lib/this\n"


def test_a_shell_that_echoes_what_it_runs_makes_no_answer() -> None:
    """The marks are nowhere in the command."""
    line = shlex.join(answers.asking(["echo", "said"], "5eed"))
    done = subprocess.run(["sh", "-c", f"echo {shlex.quote(line)}; set -xv; exit 0"], capture_output=True, timeout=60)
    echoed = answers.answer("5eed", done.returncode, done.stdout, done.stderr)

    assert echoed.lost
    assert asked(["echo", "said"], before="set -xv; ").output == "said\n"


@pytest.mark.parametrize(
    ("status", "output", "errors", "said"),
    [
        (
            255,
            b"",
            b"ssh: connect to host x port 22: Connection refused\r\n",
            "ssh: connect to host x port 22: Connection refused",
        ),
        (255, b"", b"", "there is no connection, and ssh does not say why (ssh ended with status 255)"),
        (1, b"This account is currently not available.\n", b"", "it printed: This account is currently not available."),
        (0, b"", b"", "its login shell ends before it runs what it is given (ssh ended with status 0)"),
        (0, b"\x1b[2Jbye\x07\x00\n", b"", "it printed: bye?"),
        (7, b"", b".bashrc: line 1: oops\n", "its login shell ends before it runs"),
        (0, b"\nunderway-begin-5eed\nclock 1\n", b"", "the connection was lost before it had answered"),
        (255, b"\nunderway-begin-5eed\n", b"Connection closed\n", "the connection was lost before it had answered"),
    ],
)
def test_what_is_no_answer_is_shown_as_what_it_is(status: int, output: bytes, errors: bytes, said: str) -> None:
    """The words of ssh, or what the host has for a shell; never a success, and nothing that a terminal obeys."""
    answer = answers.answer("5eed", status, output, errors)

    assert answer.lost
    assert answer.status != 0
    assert said in answer.reason
    assert answer.reason.replace("\n", "").isprintable()
    assert "5eed" not in answer.reason


STRANGE = """#!/bin/sh
for word; do :; done
case $* in *" -O "*) exit 0 ;; esac
exec sh -c "DOES"
"""


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("yes", "it has printed more than 16 MB and was given up"),
        ("yes >&2", "it has printed more than 16 MB and was given up"),
        ("cat >/dev/null; exec sleep 100", "it took more than 2 s and was given up"),
        ("exec sleep 100", "it took more than 2 s and was given up"),
        ("exit 0", "its login shell ends before it runs"),
    ],
)
def test_a_host_that_does_not_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, said: str
) -> None:
    """One that prints without end, one that is silent, and one that reads nothing of what it is sent."""
    (tmp_path / "ssh").write_text(STRANGE.replace("DOES", does))
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    sent = tmp_path / "sent"
    sent.write_bytes(b"x" * 10_000_000)
    for feed in (b"x" * 1_000_000, sent):
        (tmp_path / "sockets").mkdir(exist_ok=True)
        with Ssh(Limits(connect=1), tmp_path / "sockets") as ssh:
            answer = ssh.run(Host("alpha"), ["true"], feed=feed, timeout=30 if "yes" in does else 2)
        assert answer.lost
        assert said in answer.reason


def test_no_more_is_shown_than_can_be_read() -> None:
    """Of a host that prints without end."""
    assert len(answers.answer("5eed", 1, b"x" * 100_000, b"y\n" * 100_000).reason) < 2000


@pytest.mark.parametrize(
    ("directory", "there"),
    [("~", ""), ("~/", "/"), ("~/a b", "/a b"), ("words", "/words"), ("./~", "/./~"), ("~/~", "/~")],
)
def test_a_tilde_is_the_home_of_who_logs_in(tmp_path: Path, directory: str, there: str) -> None:
    """Of a directory on a host; anywhere else in it, it is a character."""
    words = remote_commands.preflight(directory, "/no")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environ)

    assert preflight.read(done.stdout, 0, 2**40).directory == f"{tmp_path}{there}", done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it says nothing"),
        ("clock 1\nclock 2\n", "it says:\nclock 1\nclock 2"),
        ("Welcome\x1b[2J!\n", "it says:\nWelcome!"),
    ],
)
def test_an_answer_that_can_not_be_understood_is_shown(text: str, said: str) -> None:
    """As it is, and without the name of an error in Python."""
    with pytest.raises(ValueError, match="can't be understood") as caught:
        preflight.read(text, 0, 0)
    assert said in str(caught.value)
    assert "Error" not in str(caught.value)


@pytest.mark.parametrize("version", ["../../etc", "-x", "1.0\x1b", "\u0661"])
def test_a_host_does_not_name_a_path_here(version: str) -> None:
    """What it says that it has is a version, or does not count."""
    whole = "clock 1\nsystem Linux\nmachine x86_64\ndirectory /srv\nvar /srv/var\nend .\n"
    said = f'{whole}release 0.1.0 "abc",\nrelease {version} "abc",\n'
    assert preflight.read(said, 0, 2).releases == {"0.1.0": "abc"}
