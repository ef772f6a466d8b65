"""Who is believed to say who may sign: files that others could change are not, and every line for a key counts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from test_signature import Signed, make_key, needs_ssh_keygen, public, signed  # noqa: F401  # the fixture
from underway_runtime.release.archives import signers
from underway_runtime.release.archives.signature import SignatureRefused, admit, sign

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="to give files away takes root")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A signers file three directories down, all ours and closed to others."""
    place = tmp_path / "etc/underway/signers"
    place.parent.mkdir(parents=True, mode=0o755)
    place.write_text("alice ssh-ed25519 AAAA\n")
    return place


def give_away(place: Path, mode: int) -> None:
    os.chown(place, NOBODY, -1)
    place.chmod(mode)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "the file is another's": (lambda file: os.chown(file, NOBODY, -1), r"signers belongs to \S+, neither to root"),
    "another's without a name": (lambda file: os.chown(file, 54321, -1), r"signers belongs to #54321"),
    "its group may write": (lambda file: file.chmod(0o664), r"its group may write to \S+signers; chmod g-w it"),
    "others may write": (lambda file: file.chmod(0o646), r"anyone may write to \S+signers; chmod go-w it"),
    "the directory is another's": (lambda file: os.chown(file.parent, NOBODY, -1), r"underway belongs to"),
    "the group of the directory": (lambda file: file.parent.chmod(0o775), r"its group may write to \S+underway"),
    "a directory further up": (lambda file: file.parents[1].chmod(0o777), r"anyone may write to \S+etc"),
    "that of another further up": (lambda file: os.chown(file.parents[1], NOBODY, -1), r"etc belongs to"),
    "sticky, but another's": (lambda file: give_away(file.parent, 0o1755), r"underway belongs to"),
}


@needs_root
@pytest.mark.parametrize("change", list(CHANGES))
def test_what_others_could_change_is_not_believed(file: Path, change: str) -> None:
    """Neither the file nor a directory above it may belong to, or be open to, anybody but root and who reads it."""
    does, said = CHANGES[change]
    does(file)

    with pytest.raises(SignatureRefused, match=said):
        signers.read(file)


@needs_root
def test_everything_that_is_open_to_others_is_named_at_once(file: Path) -> None:
    """One error, with a line for each place and what to do there."""
    os.chown(file, NOBODY, -1)
    file.parent.chmod(0o777)

    with pytest.raises(SignatureRefused) as refused:
        signers.read(file)
    assert len(str(refused.value).splitlines()) == 3


@needs_root
@pytest.mark.parametrize("how", ["link of another", "through another's directory", "link below a link"])
def test_links_lead_around_nothing(file: Path, tmp_path: Path, how: str) -> None:
    """What a link is in, what it leads through and whose it is counts as much as where it ends."""
    (tmp_path / "open").mkdir()
    link = tmp_path / "link"
    if how == "link of another":
        link.symlink_to(file)
        os.lchown(link, NOBODY, -1)
    elif how == "through another's directory":
        link.symlink_to("open/../etc/underway/signers")
        (tmp_path / "open").chmod(0o777)
    else:
        (tmp_path / "open/middle").symlink_to(file.parent)
        (tmp_path / "open").chmod(0o777)
        link.symlink_to("open/middle/signers")

    with pytest.raises(SignatureRefused, match="others could change"):
        signers.read(link)


def test_what_is_the_reader_s_or_roots_is_believed(file: Path, tmp_path: Path) -> None:
    """Also through links of ours, with dots on the way, and below a directory that is sticky."""
    sticky = tmp_path / "tmp"
    sticky.mkdir()
    sticky.chmod(0o1777)
    (sticky / "link").symlink_to("../etc/underway/../underway/signers")

    assert signers.read(file) == signers.read(sticky / "link") == [b"alice ssh-ed25519 AAAA"]


@needs_root
def test_a_file_of_roots_is_believed_by_any_user_and_its_own_by_nobody_else(file: Path) -> None:
    """It is the reader's own id that counts: what another user owns is his to change, whoever runs the command."""
    script = (
        "import os, sys; from pathlib import Path; from underway_runtime.release.archives import signers\n"
        f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "print(len(signers.read(Path(sys.argv[1]))))"
    )

    def read() -> str:
        done = subprocess.run([sys.executable, "-c", script, file], capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    for place in (file, *file.parents):
        if place.stat().st_mode & 0o005 != 0o005 and place.is_dir():
            place.chmod(0o755)  # the test's own directories are for root alone
    assert read() == "1\n"
    os.chown(file, NOBODY, -1)
    assert read() == "1\n"
    os.chown(file, 1234, -1)
    assert "signers belongs to #1234, neither to root nor to" in read()


def test_a_signers_file_has_an_end(file: Path) -> None:
    """What is not a file, or larger than any list of signers, is refused before it is read."""
    with file.open("ab") as grown:
        grown.truncate(1 << 40)
    with pytest.raises(SignatureRefused, match="is the limit"):
        signers.read(file)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(SignatureRefused, match="are not a file"):
        signers.read(file)
    file.unlink()
    file.symlink_to(file)
    with pytest.raises(SignatureRefused, match="can't be read: too many links"):
        signers.read(file)


LINES = {
    "the second name of a line": 'git namespaces="git" {key}\nalice {key}\n',
    "names of one line": "bob,alice {key}\n",
    "the first is over": 'bob valid-before="20000101" {key}\nalice valid-after="20000101" {key}\n',
    "the first is not yet": 'bob valid-after="29990101" {key}\nalice {key}\n',
    "the third line": '# nobody\n\ngit namespaces="git" {key}\nmail namespaces="a,b" {key}\nalice namespaces="*-release" {key}\n',
    "between others": "carol {other}\nalice {key}\ncarol {other}\n",
    "who is left out": "!bob,alice {key}\n",
    "with windows' line ends": 'git namespaces="git" {key}\r\nalice {key}\r\n',
}


@needs_ssh_keygen
@pytest.mark.parametrize("lines", list(LINES))
def test_every_line_and_principal_of_a_key_counts(signed: Signed, tmp_path: Path, lines: str) -> None:  # noqa: F811
    """A key that may sign releases by one of its lines may, whatever its others say."""
    other = make_key(tmp_path / "keys", "other")
    signed.signers.write_bytes(LINES[lines].format(key=public(signed.key), other=public(other)).encode())

    assert admit(signed.archive, allowed_signers=signed.signers).signer in ("alice", "bob")


@needs_ssh_keygen
def test_lines_that_all_say_no_are_all_told(signed: Signed) -> None:  # noqa: F811
    """One is over and the other for something else: both reasons, and no signer."""
    key = public(signed.key)
    signed.signers.write_text(f'bob valid-before="20000101" {key}\ngit namespaces="git" {key}\n')

    signed.refused(r"has expired.*; .* does not let its signer sign in 'underway-release'")


@needs_ssh_keygen
def test_a_certificate_of_an_authority_signs_for_its_principals(signed: Signed, tmp_path: Path) -> None:  # noqa: F811
    """cert-authority lines count too, each of them: for the names that they allow, and no others."""
    authority = make_key(tmp_path / "keys", "ca")
    place = str(signed.key.with_suffix(".pub"))
    made = ["ssh-keygen", "-q", "-s", str(authority), "-I", "x", "-n", "alice@example.com", place]
    subprocess.run(made, check=True, timeout=60)
    sign(signed.archive, signed.manifest, signed.key.with_name("alice-cert.pub"))
    ca = public(authority)
    signed.signers.write_text(
        f'*@example.org cert-authority {ca}\n*@example.com cert-authority,namespaces="git" {ca}\n'
    )
    with pytest.raises(SignatureRefused):
        admit(signed.archive, allowed_signers=signed.signers)

    with signed.signers.open("a") as file:
        file.write(f"*@example.com cert-authority {ca}\n")
    assert admit(signed.archive, allowed_signers=signed.signers).signer == "alice@example.com"


@needs_root
@needs_ssh_keygen
def test_who_may_change_the_signers_can_not_have_a_release_opened(signed: Signed) -> None:  # noqa: F811
    """The whole way: a right signature by a signers file of another user opens nothing, with a digest or without."""
    os.chown(signed.signers, NOBODY, -1)

    signed.refused("are not believed")
    signed.refused("are not believed", sha256=signed.sha256)
