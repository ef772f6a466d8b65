"""A release that comes to a bare host: where it says whose releases it takes, nothing of any other is opened or executed."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from archive_helpers import File, make_tree, write_archive
from test_signature import make_key, public
from underway_runtime.cluster.deploy import remote_commands
from underway_runtime.cluster.deploy.copy import Parcel, Store
from underway_runtime.cluster.deploy.preflight import Facts
from underway_runtime.release.archives import delta, signature
from underway_runtime.release.errors import UnderwayError
from underway_runtime.release.manifest import Manifest

pytestmark = pytest.mark.needs_tool("ssh-keygen", "openssh-client")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="to give files away takes root")

TOOLS = frozenset({"tar", "gzip", "zstd", "ssh-keygen", "sha256sum"})
NOWHERE = Facts(
    "/srv/hello", "/srv/hello/var", "Linux", "x86_64", 0, "", "", TOOLS, True, None, None, {}, {}, frozenset(), None
)


@dataclass
class Deployer:
    """A release with what lies next to it, and a host: a directory of this machine."""

    place: Path
    manifest: Manifest
    key: Path
    limit: float = 60
    """Seconds."""

    @property
    def archive(self) -> Path:
        return self.place / "built/hello-1.0.tar.gz"

    @property
    def signers(self) -> Path:
        return self.place / "host/etc/allowed_signers"

    @property
    def executed(self) -> bool:
        """Whether anything of the release was."""
        return (self.place / "executed").exists()

    @property
    def left(self) -> list[str]:
        """What is on the host, but for who may sign."""
        return sorted(each.name for each in (self.place / "host/srv").iterdir())

    def sign(self, file: Path | None = None, manifest: Manifest | None = None) -> str:
        place = signature.sign(file or self.archive, manifest or self.manifest, self.key)
        return place.read_text().rstrip("\n")

    def receive(self, signed: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        """What a deploy runs there."""
        text = self.sign() if signed is None else signed
        command = remote_commands.receive(str(self.place / "host/srv/hello"), self.manifest, "gzip", self.limit, text)
        variables = {**os.environ, "RELEASE_ALLOWED_SIGNERS": str(self.signers), **environ}
        with self.archive.open("rb") as stdin:
            return subprocess.run(command, stdin=stdin, capture_output=True, text=True, env=variables, timeout=60)

    def refused(self, words: str, signed: str | None = None, **environ: str) -> None:
        done = self.receive(signed, **environ)
        assert done.returncode == 1, done.stderr
        assert words in done.stderr
        assert done.stderr.startswith("error: ")
        assert not self.executed
        assert self.left == []


@pytest.fixture
def deployer(tmp_path: Path) -> Deployer:
    """hello-1.0.tar.gz, and a host at which alice may sign."""
    program = f'#!/bin/sh\necho "$@" >{tmp_path}/executed\n'.encode()
    contents = {"bin/hello": File(program, executable=True), "lib/hello-1.0/x": File(b"x")}
    manifest = make_tree(tmp_path / "built/hello", "1.0", contents)
    write_archive(tmp_path / "built", tmp_path / "built/hello", manifest, "gz")
    made = Deployer(tmp_path, manifest, make_key(tmp_path / "keys", "alice"))
    (tmp_path / "host/srv").mkdir(parents=True)
    made.signers.parent.mkdir()
    made.signers.write_text(f"# who may sign\n\nalice {public(made.key)}\n")
    return made


def test_what_an_allowed_signer_has_signed_is_opened(deployer: Deployer) -> None:
    """And then its own interpreter is asked whether it is whole."""
    done = deployer.receive()

    assert done.returncode == 0, done.stderr
    executed = (deployer.place / "executed").read_text()
    assert executed == f"cluster place {deployer.place}/host/srv/hello {deployer.manifest.release_id}\n"


def test_a_host_that_says_nothing_of_signers_takes_what_it_is_sent(deployer: Deployer) -> None:
    """As it did: who may log in there decides."""
    deployer.signers.unlink()

    assert deployer.receive("").returncode == 0
    assert deployer.executed


def test_what_is_not_signed_is_not_opened(deployer: Deployer) -> None:
    """Nothing of the archive is executed, and nothing of it is left."""
    deployer.refused("takes what an allowed signer has signed", "")


FORGED: dict[str, Callable[[Deployer], str]] = {
    "another key": lambda d: replace(d, key=make_key(d.place / "keys", "mallory")).sign(),
    "another release id": lambda d: d.sign(manifest=replace(d.manifest, interpreter="3.12")),
    "another version": lambda d: d.sign(manifest=replace(d.manifest, version="1.1")),
    "another name": lambda d: d.sign(manifest=replace(d.manifest, name="hullo")),
    "another target": lambda d: d.sign(manifest=replace(d.manifest, target="riscv64-linux-gnu")),
    "another file": lambda d: d.sign(write_archive(d.place / "other", d.place / "built/hello", d.manifest, "zst")),
    "a changed statement": lambda d: d.sign().replace('"format":1', '"format":2', 1),
    "a statement alone": lambda d: d.sign().partition("\n")[0],
    "a signature alone": lambda d: d.sign().partition("\n")[2],
    "a changed signature": lambda d: d.sign().replace("A", "B", 40),
    "words of a shell": lambda d: "$(touch executed); `touch executed`; ' \" \n-x\n--",
    "options": lambda d: "-Y\n-I\n-n",
}


@pytest.mark.parametrize("kind", list(FORGED))
def test_a_signature_for_anything_else_is_refused(deployer: Deployer, kind: str) -> None:
    """The statement is of this very archive and release, and an allowed signer's."""
    deployer.refused("hello-1.0", FORGED[kind](deployer))


LINES = {
    "nobody": "",
    "another": "mallory {other}\n",
    "other purposes": 'alice namespaces="git" {key}\nalice namespaces="file,mail" {key}\n',
    "over": 'alice valid-before="20000101" {key}\n',
    "not yet": 'alice valid-after="29990101" {key}',
    "a comment": "# alice {key}\n",
}


@pytest.mark.parametrize("lines", list(LINES))
def test_who_is_not_allowed_to_sign_now_is_refused(deployer: Deployer, lines: str) -> None:
    other = make_key(deployer.place / "keys", "mallory")
    deployer.signers.write_text(LINES[lines].format(key=public(deployer.key), other=public(other)))

    deployer.refused("is not signed by anyone whom")


def test_every_line_and_name_of_a_key_counts(deployer: Deployer) -> None:
    """As `unpack` has it: one that allows is enough, and the last line needs no end."""
    key = public(deployer.key)
    deployer.signers.write_text(
        f'git,mail namespaces="git" {key}\nbob valid-before="20000101" {key}\nalice,carol {key}'
    )

    assert deployer.receive().returncode == 0


def linked(file: Path) -> None:
    real = file.with_name("real")
    file.rename(real)
    (file.parents[1] / "open").mkdir()
    (file.parents[1] / "open").chmod(0o777)
    (file.parents[1] / "open/link").symlink_to(real)
    file.symlink_to("../open/link")


def through(file: Path) -> None:
    directory = file.parent
    directory.rename(directory.with_name("real"))
    (directory.parent / "open").mkdir()
    (directory.parent / "open").chmod(0o777)
    (directory.parent / "open/link").symlink_to("../real")
    directory.symlink_to("open/link")


OPEN: dict[str, Callable[[Path], object]] = {
    "the file's group": lambda file: file.chmod(0o664),
    "the file for all": lambda file: file.chmod(0o606),
    "another's file": lambda file: os.chown(file, 65534, -1),
    "the directory for all": lambda file: file.parent.chmod(0o777),
    "the group of the one above": lambda file: file.parents[1].chmod(0o775),
    "another's directory": lambda file: os.chown(file.parent, 65534, -1),
    "a link in an open directory": linked,
    "through a link in an open directory": through,
}


@needs_root
@pytest.mark.parametrize("change", list(OPEN))
def test_signers_that_others_could_change_are_not_believed(deployer: Deployer, change: str) -> None:
    """As `unpack` has it."""
    OPEN[change](deployer.signers)

    deployer.refused("is not believed: ")


def test_links_that_nobody_else_could_change_are_followed(deployer: Deployer) -> None:
    """Absolute and relative, of files and directories, as they are on NixOS."""
    directory = deployer.signers.parent
    deployer.signers.rename(directory / "real")
    deployer.signers.symlink_to(directory / "real")
    directory.rename(directory.with_name("static"))
    directory.symlink_to("../host/static")

    assert deployer.receive().returncode == 0


@pytest.mark.parametrize("kind", ["a link to nowhere", "a directory", "a pipe"])
def test_signers_that_can_not_be_read_are_not_none(deployer: Deployer, kind: str) -> None:
    """Whoever says that signatures are wanted gets no unsigned release."""
    deployer.signers.unlink()
    if kind == "a directory":
        deployer.signers.mkdir()
    elif kind == "a pipe":
        os.mkfifo(deployer.signers)
    else:
        deployer.signers.symlink_to("nowhere")

    deployer.refused("can't be read")


@pytest.mark.parametrize("missing", ["ssh-keygen", "sha256sum"])
def test_where_it_can_not_be_verified_it_is_refused_with_what_to_install(
    deployer: Deployer, tmp_path: Path, missing: str
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in (
        "sh",
        "mkdir",
        "mkfifo",
        "sleep",
        "rm",
        "ls",
        "id",
        "cat",
        "sed",
        "tar",
        "gzip",
        "readlink",
        "ssh-keygen",
        "sha256sum",
    ):
        found = subprocess.run(
            ["sh", "-c", f"command -v {tool}"], capture_output=True, text=True, timeout=60
        ).stdout.strip()
        if tool != missing:
            (tools / tool).symlink_to(found)

    deployer.refused(f"and has no {missing} to verify it with; install it", PATH=str(tools))


# --------------------------------------------------------------------------------------------------- what never comes


def cut(command: list[str], content: bytes, signers: str) -> subprocess.CompletedProcess[str]:
    """What a command says that is sent this, and hears nothing any more; the connection is never closed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(content)
        variables = {**os.environ, "RELEASE_ALLOWED_SIGNERS": signers}
        return subprocess.run(command, stdin=theirs.fileno(), capture_output=True, text=True, env=variables, timeout=60)


@pytest.mark.parametrize("signed", [False, True])
def test_a_copy_that_is_cut_off_is_given_up_and_cleared(deployer: Deployer, signed: bool) -> None:
    """A host does not hear of it by itself for hours; nothing of what had arrived is left, and nothing runs on."""
    half = deployer.archive.read_bytes()[:-20]
    text = deployer.sign() if signed else ""
    command = remote_commands.receive(str(deployer.place / "host/srv/hello"), deployer.manifest, "gzip", 1, text)

    done = cut(command, half, str(deployer.signers if signed else "/nowhere"))

    assert done.returncode == 1
    assert "error: it has not come in 1 s" in done.stderr.splitlines()
    assert deployer.left == []
    assert not deployer.executed


def test_an_update_that_is_cut_off_is_given_up_and_cleared(deployer: Deployer) -> None:
    """As the first copy is; and what one has left that was killed, or whose host was."""
    there = deployer.place / "host/srv/hello"
    gone = subprocess.Popen(["true"])
    gone.wait(60)
    (there / "var/incoming").mkdir(parents=True)
    (there / f"var/incoming/.{gone.pid}-hello-1.0.tar.gz").touch()
    command = remote_commands.update(str(there), "hello", "hello-1.0.tar.gz", "0" * 64, 1, "")

    done = cut(command, b"half", "/nowhere")

    assert (done.returncode, done.stderr) == (1, "error: it has not come in 1 s\n")
    assert list((there / "var/incoming").iterdir()) == []


def left_by(what: str, command: list[str]) -> list[str]:
    """The command where one with the same pid has left this: `exec` keeps the pid of who made it."""
    return ["sh", "-c", f'{what}; exec "$@"', "sh", *command]


def test_what_a_power_cut_has_left_of_a_copy_is_in_nobody_s_way(deployer: Deployer) -> None:
    """Where the host has booted the next copy may have the very pid of the one before, whose directory is not its own."""
    deployer.signers.unlink()
    srv = deployer.place / "host/srv"
    command = remote_commands.receive(f"{srv}/hello", deployer.manifest, "gzip", 60, "")
    left = left_by(f"mkdir -p {srv}/.hello.partial-$$/tree/lib", command)
    with deployer.archive.open("rb") as stdin:
        done = subprocess.run(left, stdin=stdin, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert deployer.executed
    assert deployer.left == []


def test_what_a_power_cut_has_left_of_an_update_is_in_nobody_s_way(deployer: Deployer) -> None:
    """A signature that came with another file is not taken for that of one which came without."""
    there = deployer.place / "host/srv/hello"
    (there / "bin").mkdir(parents=True)
    (there / "bin/hello").write_text('#!/bin/sh\nls -A "${2%/*}"\n')
    (there / "bin/hello").chmod(0o755)
    incoming = there / "var/incoming"
    incoming.mkdir(parents=True)
    command = remote_commands.update(str(there), "hello", "hello-1.0.tar.gz", "0" * 64, 60, "")
    left = left_by(f"touch {incoming}/.$$-hello-1.0.tar.gz.sig", command)

    done = subprocess.run(left, input="whole", capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert done.stdout.partition("-")[2] == "hello-1.0.tar.gz\n"
    assert list(incoming.iterdir()) == []


def test_a_copy_that_breaks_off_is_not_taken_for_whole(deployer: Deployer) -> None:
    """What unpacks it says so, whatever tar makes of its beginning."""
    deployer.signers.unlink()
    whole = deployer.archive.read_bytes()
    deployer.archive.write_bytes(whole[:-6])

    done = deployer.receive("")

    assert done.returncode == 1, done.stderr
    assert not deployer.executed
    assert deployer.left == []


# ------------------------------------------------------------------------------------------------ what a host is sent


def parcel(deployer: Deployer, facts: Facts) -> Parcel:
    made = Store(deployer.place / "built/hello", deployer.manifest, deployer.place / "scratch").parcel(facts)
    assert made is not None
    return made


def test_a_host_with_signers_gets_what_is_signed(deployer: Deployer) -> None:
    """The archive as it was signed, never packed again; a delta only where that is signed, and smaller."""
    wants = replace(NOWHERE, signers="/etc/underway/allowed_signers")
    older = make_tree(deployer.place / "built/hello-0.9", "0.9", {"lib/hello-1.0/x": File(b"x")})
    has = replace(wants, releases={"0.9": older.release_id}, tools=frozenset())
    problem = Store(deployer.place / "built/hello", deployer.manifest, Path()).problem
    for facts in (wants, has):
        assert "is next to" in str(problem(facts))
        assert "build with --sign-key" in str(problem(facts))

    text = deployer.sign()
    for facts in (wants, has):
        assert problem(facts) is None
        assert parcel(deployer, facts).file == deployer.archive
        assert parcel(deployer, facts).command[-1] == text
    made = delta.path(deployer.place / "built", "hello", "0.9", "1.0")
    trees = (deployer.place / "built/hello-0.9", older), (deployer.place / "built/hello", deployer.manifest)
    delta.create(made, *trees, 315532800)
    made_smaller = made.stat().st_size < deployer.archive.stat().st_size
    assert parcel(deployer, has).file == deployer.archive
    deployer.sign(made)
    assert parcel(deployer, has).file == (made if made_smaller else deployer.archive)
    assert parcel(deployer, wants).file == deployer.archive


def test_a_host_that_can_not_verify_is_named_before_anything_is_sent(deployer: Deployer) -> None:
    """And what to install there."""
    deployer.sign()
    wants = replace(NOWHERE, signers="/etc/underway/allowed_signers", tools=frozenset({"tar", "gzip"}))

    problem = Store(deployer.place / "built/hello", deployer.manifest, Path()).problem(wants)
    assert "has no ssh-keygen and sha256sum to verify that; install openssh-client" in str(problem)
    with pytest.raises(UnderwayError):
        parcel(deployer, wants)


def test_other_hosts_get_a_signature_too_where_there_is_one(deployer: Deployer) -> None:
    """It is theirs to verify by whatever they are told; one that is not of the file is not sent along."""
    assert parcel(deployer, replace(NOWHERE, tools=frozenset({"gzip"}))).command[-1] == ""
    text = deployer.sign()
    assert parcel(deployer, replace(NOWHERE, tools=frozenset({"gzip"}))).command[-1] == text
    signature.signature_path(deployer.archive).write_text(
        text.replace(hashlib.sha256(deployer.archive.read_bytes()).hexdigest(), "0" * 64) + "\n"
    )
    assert parcel(deployer, replace(NOWHERE, tools=frozenset({"gzip"}))).command[-1] == ""


def test_the_next_version_comes_with_its_signature_too(deployer: Deployer) -> None:
    """Next to the archive, under its name, for the release that is there to verify; and an older one only where that is meant."""
    there = deployer.place / "host/srv/hello"
    (there / "bin").mkdir(parents=True)
    program = there / "bin/hello"
    program.write_text('#!/bin/sh\necho "$@"\ncat "$2.sig"\ncat "$2" | wc -c\n')
    program.chmod(0o755)
    text = deployer.sign()
    older = make_tree(deployer.place / "built/hello-2.0", "2.0", {"lib/hello-1.0/x": File(b"x")})
    has = replace(NOWHERE, releases={"2.0": older.release_id}, signers="/etc/x", directory=str(there))
    for allow in (False, True):
        made = Store(deployer.place / "built/hello", deployer.manifest, Path(), allow).parcel(has)
        assert made is not None
        with made.file.open("rb") as stdin:
            done = subprocess.run(made.command, stdin=stdin, capture_output=True, text=True, timeout=60)

        asked, *signed, size = done.stdout.splitlines()
        digest = hashlib.sha256(deployer.archive.read_bytes()).hexdigest()
        assert asked.endswith(f"hello-1.0.tar.gz --sha256 {digest}" + " --allow-downgrade" * allow)
        assert "\n".join(signed) == text
        assert int(size) == deployer.archive.stat().st_size
        assert list((there / "var/incoming").iterdir()) == []
