"""Signatures: who may say what runs here, and every way in which somebody else is told no."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from archive_helpers import DATE, Jail, files, make_tree, save, write_archive
from underway.cli import underway
from underway.cli.delta import delta as delta_command
from underway.cli.verify import verify as verify_command
from underway_runtime.release.archives import archive, delta, signature
from underway_runtime.release.archives.signature import SignatureRefused, Statement, admit, sign, signature_path
from underway_runtime.release.manifest import Manifest

needs_ssh_keygen = pytest.mark.needs_tool("ssh-keygen", "openssh-client")


@dataclass(frozen=True)
class Signed:
    """A signed archive, and who is believed."""

    archive: Path
    manifest: Manifest
    key: Path
    signers: Path
    sha256: str

    def allow(self, options: str = "", key: Path | None = None, who: str = "alice") -> None:
        """Name the allowed signer."""
        self.signers.write_text(f"{who} {options} {public(key or self.key)}\n")

    def refused(self, match: str, **options: object) -> None:
        """The archive is not admitted, for this reason."""
        given = {"allowed_signers": self.signers, **options}
        with pytest.raises(SignatureRefused, match=match):
            admit(self.archive, **given)  # type: ignore[arg-type]  # the options of admit, by name


def make_key(place: Path, name: str, *kind: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    command = ["ssh-keygen", "-q", "-N", "", "-C", name, "-f", str(place / name), *(kind or ("-t", "ed25519"))]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    return place / name


def public(key: Path) -> str:
    return " ".join(key.with_suffix(".pub").read_text().split()[:2])


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    """hello-1.0.tar.zst, signed by alice, who is allowed to."""
    manifest = make_tree(tmp_path / "hello")
    file = write_archive(tmp_path / "incoming", tmp_path / "hello", manifest)
    key = make_key(tmp_path / "keys", "alice")
    sign(file, manifest, key)
    made = Signed(file, manifest, key, tmp_path / "allowed_signers", hashlib.sha256(file.read_bytes()).hexdigest())
    made.allow()
    return made


@needs_ssh_keygen
def test_an_archive_of_an_allowed_signer_is_admitted(signed: Signed, tmp_path: Path) -> None:
    """It says by whom it is signed, and what it must turn out to be; then it is unpacked."""
    admission = admit(signed.archive, allowed_signers=signed.signers, name="hello", target="x86_64-linux-gnu")

    assert (admission.signer, admission.sha256) == ("alice", signed.sha256)
    assert admission.expected["release_id"] == signed.manifest.release_id
    archive.extract(signed.archive, tmp_path / "out", accept=admission.accept, sha256=admission.sha256)


@needs_ssh_keygen
@pytest.mark.parametrize("kind", [("-t", "ecdsa"), ("-t", "rsa", "-b", "2048")], ids=["ecdsa", "rsa"])
def test_other_kinds_of_keys_sign_too(signed: Signed, tmp_path: Path, kind: tuple[str, ...]) -> None:
    """Whatever OpenSSH signs and verifies with."""
    key = make_key(tmp_path / "keys", "other", *kind)
    sign(signed.archive, signed.manifest, key)
    signed.allow(key=key, who="*@example.com,bob")

    assert admit(signed.archive, allowed_signers=signed.signers).signer == "*@example.com"


@needs_ssh_keygen
def test_a_signature_lies_beside_its_archive(signed: Signed) -> None:
    """ARCHIVE.sig: the statement in one line, then what ssh-keygen made; both plain text."""
    line, _, rest = signature_path(signed.archive).read_text().partition("\n")
    m = signed.manifest
    expected = Statement(m.name, m.version, m.target, m.release_id, signed.sha256)

    assert signature_path(signed.archive).name == "hello-1.0.tar.zst.sig"
    assert f"{line}\n" == expected.dump()
    assert rest.startswith("-----BEGIN SSH SIGNATURE-----\n")


@needs_ssh_keygen
def test_deltas_are_signed_for_what_comes_out(signed: Signed, tmp_path: Path) -> None:
    """The statement names the new release and the digest of the delta."""
    newer = make_tree(tmp_path / "next", "1.1", files("1.1", hello=b"new"))
    file = tmp_path / "x.delta"
    delta.create(file, (tmp_path / "hello", signed.manifest), (tmp_path / "next", newer), DATE)
    sign(file, newer, signed.key)

    admission = admit(file, allowed_signers=signed.signers)
    assert admission.expected["release_id"] == newer.release_id
    delta.apply(file, tmp_path / "hello", tmp_path / "out", accept=admission.accept, sha256=admission.sha256)


@needs_ssh_keygen
def test_the_commands_sign_and_verify(signed: Signed, tmp_path: Path) -> None:
    """`underway delta --sign-key` signs, `underway verify --allowed-signers` names the signer or refuses."""
    make_tree(tmp_path / "next", "1.1", files("1.1", hello=b"new"))
    common = [str(tmp_path / "hello"), str(tmp_path / "next"), "--output", str(tmp_path / "x.delta")]
    assert CliRunner().invoke(delta_command, [*common, "--sign-key", str(signed.key)]).exit_code == 0

    asked = ["--allowed-signers", str(signed.signers)]
    done = CliRunner().invoke(verify_command, [str(tmp_path / "x.delta"), "--from", str(tmp_path / "hello"), *asked])
    assert done.stdout.endswith("signed by alice, ok\n")
    signed.signers.write_text("")
    assert isinstance(CliRunner().invoke(verify_command, [str(signed.archive), *asked]).exception, SignatureRefused)
    for option in ("--digest", "--allowed-signers"):  # by a variable that is not set
        refused = CliRunner().invoke(underway, ["verify", str(signed.archive), option, ""])
        assert (refused.exit_code, f"an empty value is given for {option}" in refused.stderr) == (2, True)


# Without a signature.


def unsigned(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "incoming", tmp_path / "hello", make_tree(tmp_path / "hello"))


def test_an_unsigned_archive_needs_its_digest(tmp_path: Path) -> None:
    """Nothing that is inside an archive proves where it is from: without signers and without a digest it stays closed."""
    file = unsigned(tmp_path)
    right = hashlib.sha256(file.read_bytes()).hexdigest()

    with pytest.raises(
        SignatureRefused, match=r"nothing says where .* is from; one of these does:\n  - --sha256 DIGEST, "
    ):
        admit(file)
    with pytest.raises(SignatureRefused, match=r"the sha256 of .* is .*, not 0000"):
        admit(file, sha256="0" * 64)
    for given in (right, right.upper()):
        admission = admit(file, sha256=given)
        assert (admission.signer, admission.sha256) == (None, right)


def test_what_a_node_is_holds_without_a_signature_too(tmp_path: Path) -> None:
    """Admitted by its digest, an archive of another service or for another platform is still refused before it is unpacked."""
    file, jail = unsigned(tmp_path), Jail(tmp_path / "jail")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    for admission in (admit(file, sha256=digest, name="chat"), admit(file, sha256=digest, target="aarch64-linux-gnu")):
        with pytest.raises(SignatureRefused, match=r"the requested release has the (name|target)"):
            archive.extract(file, jail.into, accept=admission.accept)
    jail.check_untouched()


def test_unsigned_is_refused_where_signers_are_configured(tmp_path: Path) -> None:
    """Even with the right digest: who configures signers wants signatures."""
    file = unsigned(tmp_path)
    (tmp_path / "signers").write_text("alice ssh-ed25519 AAAA\n")

    with pytest.raises(SignatureRefused, match=r"is not signed: there is no hello-1\.0\.tar\.zst\.sig next to it"):
        admit(file, allowed_signers=tmp_path / "signers", sha256=hashlib.sha256(file.read_bytes()).hexdigest())


# With the wrong one.


@needs_ssh_keygen
def test_a_signer_who_is_not_allowed_is_refused(signed: Signed, tmp_path: Path) -> None:
    """Mallory's signature is a good one, and nobody's."""
    sign(signed.archive, signed.manifest, make_key(tmp_path / "keys", "mallory"))

    signed.refused("it is signed, but not by anyone in .*allowed_signers")


@needs_ssh_keygen
@pytest.mark.parametrize("text", ["", "nonsense\n", "# alice\n", "alice ssh-ed25519 AAAA\n"], ids=range(4))
def test_a_signers_file_with_nobody_in_it_allows_nobody(signed: Signed, text: str) -> None:
    """Empty or broken is not the same as not configured."""
    signed.signers.write_text(text)

    signed.refused("not by anyone in|does not verify")


@needs_ssh_keygen
def test_a_signature_for_another_purpose_is_refused(signed: Signed) -> None:
    """What alice signed for git, or for mail, is not a release, whatever it says."""
    text = signature_path(signed.archive).read_text()
    line = text.partition("\n")[0] + "\n"
    command = ["ssh-keygen", "-Y", "sign", "-q", "-n", "git", "-f", str(signed.key)]
    done = subprocess.run(command, input=line, capture_output=True, text=True, check=True, timeout=60)
    signature_path(signed.archive).write_text(line + done.stdout)

    signed.refused("its signature is for another purpose than 'underway-release'")


@needs_ssh_keygen
def test_a_signer_who_is_allowed_other_things_is_refused(signed: Signed) -> None:
    """`namespaces=` of the signers file is obeyed."""
    signed.allow('namespaces="git"')
    signed.refused("does not let its signer sign in 'underway-release'")
    signed.allow('namespaces="git,underway-release"')
    assert admit(signed.archive, allowed_signers=signed.signers).signer == "alice"


@needs_ssh_keygen
def test_an_expired_key_is_refused(signed: Signed) -> None:
    """`valid-before=` of the signers file is obeyed."""
    signed.allow('valid-before="20200101"')
    signed.refused("the key that signed it has expired")


@needs_ssh_keygen
def test_a_key_of_the_future_is_refused(signed: Signed) -> None:
    """`valid-after=` of the signers file is obeyed."""
    signed.allow('valid-after="20990101"')
    signed.refused("the key that signed it is not yet valid")


@needs_ssh_keygen
def test_a_changed_statement_is_refused(signed: Signed) -> None:
    """The signature is over the statement; one letter of it is enough."""
    place = signature_path(signed.archive)
    place.write_text(place.read_text().replace('"version":"1.0"', '"version":"2.0"'))

    signed.refused("its signature does not fit what it states")


@needs_ssh_keygen
def test_a_signature_of_another_file_is_refused(signed: Signed) -> None:
    """Alice's signature of one archive does nothing for another of the same name."""
    signed.archive.write_bytes(signed.archive.read_bytes() + b"x")

    signed.refused("is for another file: for the sha256")


OTHERS = {
    "name": "the requested release has the name 'chat'; the archive holds 'hello'",
    "version": "the requested release has the version '2.0'; the archive holds '1.0'",
    "target": "the requested release has the target 'riscv64-linux-gnu'; the archive holds 'x86_64-linux-gnu'",
    "release_id": "the requested release has the release id '000000",
}
ANOTHER = {"name": "chat", "version": "2.0", "target": "riscv64-linux-gnu"}


@needs_ssh_keygen
@pytest.mark.parametrize("field", list(OTHERS))
def test_a_statement_of_another_release_is_refused(
    signed: Signed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    """Signed, but for another name, version, target or release id than the archive holds: nothing is unpacked."""

    def lie(*fields: str) -> Statement:
        told = Statement(*fields)
        return replace(told, **{field: ANOTHER.get(field, "0" * 64)})

    with monkeypatch.context() as patched:
        patched.setattr(signature, "Statement", lie)
        sign(signed.archive, signed.manifest, signed.key)
    admission = admit(signed.archive, allowed_signers=signed.signers)
    jail = Jail(tmp_path / "jail")

    with pytest.raises(SignatureRefused, match=OTHERS[field]):
        archive.extract(signed.archive, jail.into, accept=admission.accept, sha256=admission.sha256)
    jail.check_untouched()


@needs_ssh_keygen
@pytest.mark.parametrize(("field", "value"), [("name", "chat"), ("target", "aarch64-linux-gnu")])
def test_a_release_that_is_not_for_this_node_is_not_opened(signed: Signed, field: str, value: str) -> None:
    """Signed for another service or platform: the statement alone refuses it."""
    signed.refused(f"is signed as the {field} .*; here it is '{value}'", **{field: value})


@needs_ssh_keygen
def test_a_digest_must_be_right_beside_a_signature(signed: Signed) -> None:
    """Where both are given both must hold."""
    signed.refused("the sha256 of .* is .*, not 0000", sha256="0" * 64)
    assert admit(signed.archive, allowed_signers=signed.signers, sha256=signed.sha256).signer == "alice"


@needs_ssh_keygen
def test_the_file_that_was_signed_is_the_one_that_is_unpacked(signed: Signed, tmp_path: Path) -> None:
    """Exchanged between the look at the signature and the unpacking, it is refused, and nothing of it is left."""
    admission = admit(signed.archive, allowed_signers=signed.signers)
    other = make_tree(tmp_path / "evil", contents=files(hello=b"evil"))
    shutil.copy(write_archive(tmp_path / "other", tmp_path / "evil", other), signed.archive)
    jail = Jail(tmp_path / "jail")

    with pytest.raises(SignatureRefused, match="the requested release has the release id"):
        archive.extract(signed.archive, jail.into, accept=admission.accept, sha256=admission.sha256)
    with pytest.raises(archive.ArchiveRefused, match="its sha256 is"):
        archive.extract(signed.archive, jail.into, sha256=admission.sha256)
    jail.check_untouched()


BROKEN: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "no statement": lambda text: text.partition("\n")[2],
    "no signature": lambda text: text.partition("\n")[0] + "\n",
    "cut off": lambda text: text[:-10],
    "something behind": lambda text: text + "evil\n",
    "two signatures": lambda text: text + text.partition("\n")[2],
    "spaces": lambda text: text.replace(",", ", ", 1),
    "two keys": lambda text: text.replace('{"format":1', '{"format":1,"format":1', 1),
    "another field": lambda text: text.replace('{"format":1', '{"extra":"x","format":1', 1),
    "another format": lambda text: text.replace('{"format":1', '{"format":2', 1),
    "another type": lambda text: text.replace('"version":"1.0"', '"version":1.0', 1),
    "a list": lambda text: "[]\n" + text.partition("\n")[2],
    "deep": lambda text: "[" * 60_000 + "\n" + text.partition("\n")[2],
    "huge": lambda text: text + " " * (1 << 20),
    "accents": lambda text: text.replace("hello", "h\u00e9llo", 1),
}


@needs_ssh_keygen
@pytest.mark.parametrize("how", list(BROKEN))
def test_a_signature_file_in_another_form_is_refused(signed: Signed, how: str) -> None:
    """There is one way to write it, and it is bounded."""
    place = signature_path(signed.archive)
    place.write_text(BROKEN[how](place.read_text()), encoding="utf-8")

    signed.refused(r"hello-1\.0\.tar\.zst\.sig is not a signature that underway made")


def test_a_pipe_for_a_signature_is_refused(tmp_path: Path) -> None:
    """It does not make the node wait."""
    file = unsigned(tmp_path)
    os.mkfifo(signature_path(file))
    (tmp_path / "signers").write_text("")

    with pytest.raises(SignatureRefused, match="is not a signature"):
        admit(file, allowed_signers=tmp_path / "signers")


# Whose signers?


@needs_ssh_keygen
@pytest.mark.parametrize("place", ["etc/allowed_signers", "releases/1.0/allowed_signers", "var/allowed_signers"])
def test_signers_inside_a_release_are_never_believed(signed: Signed, tmp_path: Path, place: str) -> None:
    """Who could write there could name himself: the node's own release, or any other."""
    inside = tmp_path / "hello" / place
    inside.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(signed.signers, inside)

    signed.refused("are inside the release .*; keep them outside", allowed_signers=inside)
    shutil.rmtree(tmp_path / "hello/releases/1.0")
    if inside.exists():
        signed.refused("are inside the release", allowed_signers=inside, root=tmp_path / "hello")


@needs_ssh_keygen
def test_links_hide_no_signers(signed: Signed, tmp_path: Path) -> None:
    """Neither a link to a file in a release nor a link in a release to a file outside."""
    inside, outside = tmp_path / "hello/lib/signers", tmp_path / "signers"
    shutil.copy(signed.signers, inside)
    outside.symlink_to(inside)
    signed.refused("are inside the release", allowed_signers=outside)

    inside.unlink()
    inside.symlink_to(signed.signers)
    signed.refused("are inside the release", allowed_signers=inside)


@needs_ssh_keygen
def test_signers_that_anyone_may_write_are_not_believed(signed: Signed) -> None:
    """A file that is open to all names nobody."""
    signed.signers.chmod(0o666)
    signed.refused(r"anyone may write to \S+allowed_signers")


@pytest.mark.parametrize("kind", ["missing", "directory"])
def test_configured_signers_that_can_t_be_read_are_not_none(tmp_path: Path, kind: str) -> None:
    """A missing file refuses; it does not mean that no signature is wanted."""
    file = unsigned(tmp_path)
    place = tmp_path / "nowhere" if kind == "missing" else tmp_path
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    with pytest.raises(SignatureRefused, match=r"the allowed signers .* (can't be read|are not a file)"):
        admit(file, allowed_signers=place, sha256=digest)


@needs_ssh_keygen
def test_without_ssh_keygen_nothing_is_believed(
    signed: Signed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A node that can't verify refuses, and so does a machine that can't sign."""
    monkeypatch.setenv("PATH", str(tmp_path))

    signed.refused("ssh-keygen is not installed", sha256=signed.sha256)
    with pytest.raises(SignatureRefused, match="ssh-keygen is not installed"):
        sign(signed.archive, signed.manifest, signed.key)


@needs_ssh_keygen
def test_a_verifier_that_hangs_is_stopped(signed: Signed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has a deadline, and no answer is a no."""
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin/ssh-keygen"
    tool.write_text("#!/bin/sh\nexec sleep 60\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    monkeypatch.setattr(signature, "_VERIFY_TIMEOUT", 0.2)

    signed.refused(r"has not answered within 0\.2 s")


@needs_ssh_keygen
@pytest.mark.parametrize("key", ["missing", "nonsense"])
def test_a_key_that_does_not_sign_is_an_error(signed: Signed, tmp_path: Path, key: str) -> None:
    """What ssh-keygen says is passed on, and the old signature stays."""
    save(tmp_path, b"no key", "nonsense")
    (tmp_path / "nonsense").chmod(0o600)
    before = signature_path(signed.archive).read_text()

    with pytest.raises(
        SignatureRefused, match=r"can't be signed with .*: .*(No such file|invalid format|error in libcrypto)"
    ):
        sign(signed.archive, signed.manifest, tmp_path / key)
    assert signature_path(signed.archive).read_text() == before
