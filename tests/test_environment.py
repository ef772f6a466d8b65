"""What a node's environment is made of, and what a restart takes of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from node_helpers import MakeNode, Node, recorder, terminate
from test_control import started
from test_launcher import Release, make_release
from underway_runtime.process.settings import from_environ


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """A launcher with a stand-in for Python."""
    return make_release(tmp_path / "hello")


NAMES = ("OF_CALLER", "OF_FILE", "ADDED", "OF_ENV_SH", "RELEASE_VSN")


def seen(node: Node) -> dict[str, str | None]:
    """What the running node has."""
    done = node.run("rpc", f"import json, os\nprint(json.dumps({{n: os.environ.get(n) for n in {NAMES!r}}}))")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.parametrize("how", [("restart",), ("restart", "--graceful")], ids=" ".join)
def test_a_restart_takes_what_the_file_and_env_sh_say_now(make: MakeNode, tmp_path: Path, how: tuple[str, ...]) -> None:
    """Changed, added and removed variables; those of whoever asks for it, and of the keeper, stay theirs."""
    node, file = make(recorder("one")), tmp_path / "variables"
    file.write_text("OF_FILE=1\nGONE=1\n")
    (node.version / "env.sh").write_text("export OF_ENV_SH=1\n")
    node.environ |= {"RELEASE_ENVIRONMENT_FILE": str(file), "OF_CALLER": "keeper", "OF_FILE": "of systemd", "GONE": "1"}
    process = started(node)
    first = seen(node)
    file.write_text("OF_FILE=2\nADDED=2\n")
    (node.version / "env.sh").write_text('export OF_ENV_SH="2, with $OF_FILE"\n')
    node.environ["OF_CALLER"] = "who typed it"

    assert (done := node.run(*how)).returncode == 0, done.stderr
    second = seen(node)
    gone = node.run("rpc", "'GONE' in __import__('os').environ").stdout

    assert first == {"OF_CALLER": "keeper", "OF_FILE": "1", "ADDED": None, "OF_ENV_SH": "1", "RELEASE_VSN": "1"}
    assert second == first | {"OF_FILE": "2", "ADDED": "2", "OF_ENV_SH": "2, with 2"}
    assert gone == "False\n"
    assert terminate(process)[0] == 0


TEMPLATES = Path(__file__).resolve().parents[1] / "src/underway/templates"
THEIRS = (
    "args",
    "control",
    "data",
    "here",
    "launcher",
    "line",
    "name",
    "role",
    "runtime",
    "status",
    "value",
    "version",
)
"""Names that variables of a service may have, and those of the launchers had."""


@pytest.mark.parametrize("told", ["by the caller", "by a file", "by env.sh"])
def test_variables_of_the_service_are_not_those_of_the_launchers(make: MakeNode, tmp_path: Path, told: str) -> None:
    """Whatever they are called, they reach the node as they are, and nothing else is started for them."""
    node, file = make(recorder("one")), tmp_path / "variables"
    if told == "by the caller":
        node.environ |= dict.fromkeys(THEIRS, "theirs")
    elif told == "by a file":
        file.write_text("".join(f"{name}=theirs\n" for name in THEIRS))
        node.environ["RELEASE_ENVIRONMENT_FILE"] = str(file)
    else:
        (node.version / "env.sh").write_text("".join(f"export {name}=theirs\n" for name in THEIRS))

    process = started(node)
    done = node.run("rpc", f"import os\nprint(*[os.environ.get(name) for name in {THEIRS!r}])")

    assert (done.stdout, done.stderr) == (f"{' '.join(['theirs'] * len(THEIRS))}\n", "")
    assert terminate(process)[0] == 0


@pytest.mark.parametrize("template", ["name.sh", "launcher.sh", "cluster/cluster.sh"])
def test_variables_of_the_launchers_begin_with_a_line(template: str) -> None:
    """All but those of the release, and of the shell itself."""
    text = re.sub(r"#.*|umask u=|'[^']*'", "", (TEMPLATES / template).read_text())
    assigned = {*re.findall(r"(?:^|[ (])(\w+)=", text, re.MULTILINE), *re.findall(r"\bfor (\w+) in ", text)}
    assigned |= {name for names in re.findall(r"\bread -r((?: \w+)+)", text) for name in names.split()}

    assert assigned
    assert {name for name in assigned if not name.startswith(("_", "RELEASE_"))} <= {"IFS", "PATH", "CDPATH"}


FILE = """\
# a comment
; another
PLAIN=one two  three\t
  INDENTED = spaced
DOUBLE="a \\"quoted\\" \\\\ \\$HOME \\n 'x' "
SINGLE='as it \\ is "x" '
ESCAPED=a\\ b\\\\c
CONTINUED=first \\
second
EMPTY=
EQUALS=a=b=c
WINDOWS="of windows"\r
COMMAND=$(touch was-run) `touch was-run`
RELEASE_ROOT=/nowhere
LAST=no newline"""


def test_the_file_is_read_as_systemd_does(release: Release) -> None:
    """Quotes, backslashes, comments and joined lines; nothing in it is run, and what the launcher computes stays."""
    (release.root / "variables").write_bytes(FILE.encode())
    (release.version / "bin/python").write_text("#!/bin/sh\nexec /usr/bin/env -0\n")

    done = release.run("eval", "1", cwd=release.root, RELEASE_ENVIRONMENT_FILE="variables")
    got = dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair)

    assert done.stderr == ""
    assert {name: got[name] for name in got if name in FILE} == {
        "PLAIN": "one two  three",
        "INDENTED": "spaced",
        "DOUBLE": "a \"quoted\" \\ $HOME \\n 'x' ",
        "SINGLE": 'as it \\ is "x" ',
        "ESCAPED": "a b\\c",
        "CONTINUED": "first second",
        "EMPTY": "",
        "EQUALS": "a=b=c",
        "WINDOWS": "of windows",
        "COMMAND": "$(touch was-run) `touch was-run`",
        "RELEASE_ROOT": str(release.root),
        "LAST": "no newline",
    }
    assert not (release.root / "was-run").exists()


PARSER = Path("/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator")
"""What reads such files with the parser of ``EnvironmentFile=``; it puts variables in, and leaves empty ones out."""


@pytest.mark.needs_tool("systemd-analyze", "systemd")
def test_systemd_itself_reads_the_file_so(release: Release, tmp_path: Path) -> None:
    """Its own parser and the launcher find the same in the same bytes."""
    (tmp_path / "environment.d").mkdir()
    (tmp_path / "environment.d/hello.conf").write_bytes(FILE.encode())
    (release.root / "variables").write_bytes(FILE.encode())
    (release.version / "bin/python").write_text("#!/bin/sh\nexec /usr/bin/env -0\n")
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": "$HOME"}

    parsed = subprocess.run([PARSER], env=environ, capture_output=True, text=True, timeout=30, check=True).stdout
    shown = subprocess.run(
        ["/bin/sh", "-c", f"set -a\n{parsed}\nexec /usr/bin/env -0"], env={}, capture_output=True, text=True, timeout=30
    )
    done = release.run("eval", "1", cwd=release.root, RELEASE_ENVIRONMENT_FILE="variables")
    theirs, ours = (dict(pair.split("=", 1) for pair in out.split("\0") if pair) for out in (shown.stdout, done.stdout))

    names = [line.partition("=")[0].strip() for line in FILE.splitlines() if "=" in line]
    compared = [name for name in names if name not in ("EMPTY", "RELEASE_ROOT")]
    assert len(compared) == 10
    assert {name: theirs[name] for name in compared} == {name: ours[name] for name in compared}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("no equals sign", "'no equals sign' is not understood"),
        ("1A=b", "'1A' is not understood"),
        ("a-b=c", "'a-b' is not understood"),
        ('A="open', "the quoted value of A does not end in its line"),
    ],
)
def test_what_is_not_understood_is_told_and_left_out(release: Release, line: str, told: str) -> None:
    """The rest holds, and the service starts."""
    (release.root / "variables").write_text(f"{line}\nGOOD=1\n")
    (release.version / "bin/python").write_text('#!/bin/sh\nprintf "%s" "$GOOD"\n')

    done = release.run("eval", "1", RELEASE_ENVIRONMENT_FILE=str(release.root / "variables"))

    assert (done.returncode, done.stdout) == (0, "1")
    assert done.stderr == f"warning: {release.root}/variables: {told}\n"


@pytest.mark.parametrize("what", ["missing", "directory", "pipe"])
def test_what_is_no_file_says_nothing_and_holds_up_nothing(release: Release, what: str) -> None:
    """As with the - of EnvironmentFile=-."""
    place = release.root / "variables"
    if what == "directory":
        place.mkdir()
    elif what == "pipe":
        os.mkfifo(place)

    assert release.python_output("eval", "1", RELEASE_ENVIRONMENT_FILE=str(place))


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_file_of_root_s_alone_is_left_as_systemd_read_it() -> None:
    """The user who runs the service can't read it: what the keeper was started with holds, and that is told."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        release, file = make_release(Path(place, "hello")), Path(place, "variables")
        (release.version / "bin/python").write_text('#!/bin/sh\nprintf "%s" "$OF_FILE"\n')
        file.write_text("OF_FILE=changed\n")
        file.chmod(0o600)
        environ = {"RELEASE_ENVIRONMENT_FILE": str(file), "OF_FILE": "of systemd"}
        users = {"root": None, "service": 65534}

        for command in ("start", "node start"):
            done = {
                name: subprocess.run(
                    [release.command, *command.split()],
                    env=environ,
                    user=user,
                    capture_output=True,
                    text=True,
                    timeout=30,
                )
                for name, user in users.items()
            }

            assert done["service"].stdout == "of systemd"
            assert done["root"].stdout == {"start": "", "node start": "changed"}[command]
            assert done["service"].stderr == (
                f"warning: {file} can't be read by this user, and is left out\n" if command == "node start" else ""
            )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file of another user")
def test_root_reads_no_variables_of_another_user() -> None:
    """Whoever runs the service, and could write there, would say what root's commands run with."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        release, file = make_release(Path(place, "hello")), Path(place, "variables")
        (release.version / "bin/python").write_text('#!/bin/sh\nprintf "%s" "$OF_FILE"\n')
        file.write_text("OF_FILE=theirs\n")
        os.chown(file, 65534, 65534)

        done = release.run("eval", "1", RELEASE_ENVIRONMENT_FILE=str(file), OF_FILE="ours")

        assert (done.returncode, done.stdout) == (0, "ours")
        assert done.stderr.startswith(f"warning: {file} is not root's own, and is left out")


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox sh"])
def test_the_file_is_read_alike_by_all_shells(tmp_path: Path, shell: str) -> None:
    """Those that Debian has."""
    if shutil.which(shell.split()[0]) is None:
        pytest.skip(f"there is no {shell}")
    release = make_release(tmp_path / "hello")
    (release.root / "variables").write_bytes(FILE.encode())
    (release.version / "bin/python").write_text("#!/bin/sh\nexec /usr/bin/env -0\n")

    done = subprocess.run(
        [*shell.split(), str(release.version / "launcher"), "eval", "1"],
        env={"RELEASE_ROOT": str(release.root), "RELEASE_ENVIRONMENT_FILE": str(release.root / "variables")},
        capture_output=True,
        text=True,
        timeout=30,
    )
    got = dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair)

    assert done.stderr == ""
    assert got["DOUBLE"] == "a \"quoted\" \\ $HOME \\n 'x' "
    assert (got["SINGLE"], got["ESCAPED"], got["CONTINUED"]) == ('as it \\ is "x" ', "a b\\c", "first second")


def test_the_path_goes_along_with_a_version_that_is_put_into_the_process(tmp_path: Path) -> None:
    """Programs are those of the version that runs."""
    environ = {"RELEASE_ROOT": str(tmp_path), "RELEASE_NAME": "hello", "RELEASE_VSN": "1"}
    old, new = tmp_path / "releases/1", tmp_path / "releases/2"
    settings = from_environ(environ)

    assert settings.variables_of("2", {"PATH": f"{old}/bin:/opt:/usr/bin"})["PATH"] == f"{new}/bin:/opt:/usr/bin"
    assert "PATH" not in settings.variables_of("2", {"PATH": f"/opt:{old}/bin"})
    assert "PATH" not in settings.variables_of("2", {})
