"""Who made an archive or delta: a signature by an SSH key, in ``ARCHIVE.sig`` next to it.

::

    {"format":1,"name":…,"release_id":…,"sha256":…,"target":…,"version":…}      the statement
    -----BEGIN SSH SIGNATURE-----                                               by ``ssh-keygen -Y sign``
    …

What may be opened:

=======================  ==============================  =================================================
an archive that is       where signers are configured    where none are
=======================  ==============================  =================================================
signed by one of them    yes                             only with its digest, or by its owner
signed otherwise         no                              only with its digest, or by its owner
unsigned                 no                              only with its digest, or by its owner
=======================  ==============================  =================================================

By its owner is where that is asked for, and nobody but root and who asks could have changed the file (`ownership`).

A digest that is given must be right in any case. Which file of signers is believed is in `signers`.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import listing
from ..filesystem import atomic_files, ownership
from ..manifest import Manifest
from . import archive as archives
from . import signers
from .signers import SignatureRefused as SignatureRefused

NAMESPACE = "underway-release"
"""So that a signature that the same key made for something else is none."""

FORMAT = 1

_LONGEST = 64 << 10
_SIGN_TIMEOUT, _VERIFY_TIMEOUT = 300.0, 30.0  # a person may have to type a passphrase or touch a token
_SSH_SIGNATURE = re.compile(
    r"-----BEGIN SSH SIGNATURE-----\n(?:[A-Za-z0-9+/=]{1,76}\n)+-----END SSH SIGNATURE-----\n", re.ASCII
)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Statement:
    """What is signed."""

    name: str
    version: str
    target: str
    release_id: str
    """Of the release that comes out: it covers every file."""
    sha256: str
    """Of the archive or delta itself."""

    def dump(self) -> str:
        """Return the one line that is signed."""
        return json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True, separators=(",", ":")) + "\n"


@dataclass(frozen=True)
class Admission:
    """An archive may be opened; what it must turn out to be."""

    sha256: str
    signer: str | None
    """The principal, as the allowed signers name it; None for an archive that came with a digest only."""
    expected: Mapping[str, str]
    """Of the fields of a statement."""

    def accept(self, manifest: Manifest) -> None:
        """Let `archive.extract` and `delta.apply` go on. Raises SignatureRefused when the manifest is not the one that was signed."""
        for field, wanted in self.expected.items():
            if (value := getattr(manifest, field)) != wanted:
                raise SignatureRefused(
                    f"the requested release has the {_in_words(field)} {wanted!r}; the archive holds {value!r}"
                )


def signature_path(archive: Path) -> Path:
    """Where the signature of an archive is."""
    return archive.with_name(f"{archive.name}.sig")


def sign(archive: Path, manifest: Manifest, key: Path) -> Path:
    """Sign an archive or delta with an SSH key, a private one or, with an agent, a public one; the signature's file.

    `manifest` is that of the release that comes out of it. Raises SignatureRefused, with what ssh-keygen says, when it can't be.
    """
    statement = Statement(
        manifest.name, manifest.version, manifest.target, manifest.release_id, _digest(archive)
    ).dump()
    done = _ssh_keygen(["sign", "-q", "-n", NAMESPACE, "-f", str(key)], statement, _SIGN_TIMEOUT, os.environ)
    if done.returncode != 0 or not _SSH_SIGNATURE.fullmatch(done.stdout):
        raise SignatureRefused(f"{archive} can't be signed with {key}: {_last_line(done.stderr)}")
    file_of_signature = signature_path(archive)
    with atomic_files.written(file_of_signature) as file:
        file.write((statement + done.stdout).encode("ascii"))
    return file_of_signature


def admit(
    archive: Path,
    *,
    allowed_signers: Path | None = None,
    sha256: str | None = None,
    of_owner: bool = False,
    root: Path | None = None,
    name: str | None = None,
    target: str | None = None,
) -> Admission:
    """Find out whether an archive or delta may be opened, by the table above; nothing of it is opened for that.

    `of_owner` is where a file does that nobody but root and who asks could have changed. `root` is
    the release on this node, in which no signers file is believed; `name` and `target` are what is wanted here.
    Hand what it returns on: ``extract(archive, into, accept=admission.accept, sha256=admission.sha256)``. Raises SignatureRefused.
    """
    if allowed_signers is None and sha256 is None:
        _check_owner(archive, of_owner)
    here = {field: value for field, value in (("name", name), ("target", target)) if value is not None}
    if allowed_signers is None:
        return Admission(_digest(archive, sha256), None, here)

    # Before any of the archive is read, however large it is: who is not allowed to sign can't make this node work.
    believed = signers.read(allowed_signers, root)
    statement, signature = _read_signature(archive)
    signer = _verify(archive, statement, signature, allowed_signers, believed)
    digest = _digest(archive, sha256)
    if statement.sha256 != digest:
        raise SignatureRefused(
            f"the signature of {archive} is for another file: for the sha256 {statement.sha256}; this one has {digest}"
        )
    for field, value in here.items():
        if (signed := getattr(statement, field)) != value:
            raise SignatureRefused(f"{archive} is signed as the {_in_words(field)} {signed!r}; here it is {value!r}")
    expected = asdict(statement)
    del expected["sha256"]
    return Admission(digest, signer, expected)


_WAYS = (
    "--sha256 DIGEST, which `underway release` prints",
    "--allowed-signers FILE, or /etc/underway/allowed_signers, where it is signed by one of them",
    "--trust owner, for a file that nobody but root and you could have changed",
    'trust = "owner" in /etc/underway/underway.toml, for all such files',
)


def _check_owner(archive: Path, of_owner: bool) -> None:
    if not of_owner:
        raise SignatureRefused(listing(f"nothing says where {archive} is from; one of these does:", _WAYS))
    try:
        problems = ownership.of_file(archive)
    except OSError as error:
        raise SignatureRefused(f"{archive} can't be read: {error.strerror}") from None
    if problems:
        heading = f"{archive} is not believed by its owner alone, for others could have changed it:"
        raise SignatureRefused(listing(heading, problems))


def next_to(archive: Path) -> tuple[Statement, str] | None:
    """What is stated of an archive or delta next to it, with the signature, unverified; None where there is none to be read."""
    with suppress(SignatureRefused):
        return _read_signature(archive)
    return None


def is_signed(archive: Path, manifest: Manifest) -> bool:
    """Whether an archive or delta is there with a statement next to it that is of this release. Who signed it is not asked."""
    stated = next_to(archive) if archive.is_file() else None
    return stated is not None and all(
        getattr(stated[0], field) == getattr(manifest, field) for field in ("name", "version", "target", "release_id")
    )


def _verify(archive: Path, statement: Statement, signature: str, file: Path, believed: list[bytes]) -> str:
    """Return the principal. Raises SignatureRefused, in ssh-keygen's own words where it has some.

    Each line for the key is asked by itself, and each principal of it: of several ssh-keygen would name the first line's only,
    which may be for another purpose, or be over.
    """
    reasons = ["No principal matched"]
    deadline = time.monotonic() + _VERIFY_TIMEOUT
    with tempfile.TemporaryDirectory(prefix="underway-") as scratch:
        signed, line = Path(scratch, "signature"), Path(scratch, "signers")
        signed.write_text(signature, encoding="ascii")

        def ask(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
            environ = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
            words = [arguments[0], "-s", str(signed), "-f", str(line), *arguments[1:]]
            done = _ssh_keygen(words, text, max(0.0, deadline - time.monotonic()), environ)
            if done.returncode != 0:
                reasons.append(done.stderr.replace(str(line), str(file)))
            return done

        for one in signers.about(believed, _public_key(signature)):
            line.write_bytes(one + b"\n")
            answer = ask("find-principals")
            names = answer.stdout.splitlines() if answer.returncode == 0 else []
            for principal in (name for name in names if not name.startswith("!")):  # which says who may not
                if ask("verify", "-I", principal, "-n", NAMESPACE, text=statement.dump()).returncode == 0:
                    return principal
    sentences = dict.fromkeys(_reason(reason, file) for reason in reasons[1:] or reasons)
    raise SignatureRefused(f"{archive} is refused: {'; '.join(sentences)}")


def _public_key(signature: str) -> bytes:
    """The key in an SSH signature, that of who has made it; empty where there is none."""
    with suppress(ValueError):
        blob = base64.b64decode("".join(signature.splitlines()[1:-1]), validate=True)
        size = int.from_bytes(blob[10:14], "big")
        return blob[14 : 14 + size] if blob.startswith(b"SSHSIG") else b""
    return b""


_REASONS = (
    ("key has expired", "the key that signed it has expired for {signers}"),
    ("key is not yet valid", "the key that signed it is not yet valid for {signers}"),
    ("not permitted for use in signature namespace", f"{{signers}} does not let its signer sign in {NAMESPACE!r}"),
    ("namespace does not match", f"its signature is for another purpose than {NAMESPACE!r}"),
    ("incorrect signature", "its signature does not fit what it states; one of the two was changed"),
    ("revoked", "the key that signed it is revoked"),
    ("No principal matched", "it is signed, but not by anyone in {signers}"),
)


def _reason(reason: str, allowed_signers: Path) -> str:
    for words, sentence in _REASONS:
        if words in reason:
            return sentence.format(signers=allowed_signers)
    return f"ssh-keygen does not verify its signature: {_last_line(reason)}"


def _read_signature(archive: Path) -> tuple[Statement, str]:
    file_of_signature = signature_path(archive)
    try:
        descriptor = os.open(file_of_signature, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SignatureRefused(f"{archive} is not signed: there is no {file_of_signature.name} next to it") from None
    except OSError as error:
        raise SignatureRefused(f"{file_of_signature} can't be read: {error.strerror}") from None
    with open(descriptor, "rb") as file:
        data = file.read(_LONGEST) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    try:
        line, _, signature = data.decode("ascii").partition("\n")
        document: dict[str, Any] = json.loads(line)
        if document.pop("format") != FORMAT or not all(isinstance(value, str) for value in document.values()):
            raise ValueError
        statement = Statement(**document)
        if statement.dump() != f"{line}\n" or not _SSH_SIGNATURE.fullmatch(signature):
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise SignatureRefused(f"{file_of_signature} is not a signature that underway made") from None
    return statement, signature


def _ssh_keygen(
    arguments: list[str], text: str, timeout: float, environ: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("ssh-keygen")
    if tool is None:
        raise SignatureRefused("ssh-keygen is not installed, and without it no signature is made or verified")
    try:
        return subprocess.run(
            [tool, "-Y", *arguments],
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=environ,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SignatureRefused(f"ssh-keygen has not answered within {timeout:.1f} s") from None
    except OSError as error:
        raise SignatureRefused(f"{tool} can't be run: {error.strerror}") from None


def _digest(archive: Path, wanted: str | None = None) -> str:
    """The sha256 of a file, which is read as it is and not opened. Raises SignatureRefused when another is wanted."""
    with archives.opened(archive) as file:
        if file.size > archives.LIMITS.total:
            raise SignatureRefused(f"{archive} has {file.size} bytes; {archives.LIMITS.total} is the limit")
        while file.read(1 << 20):
            pass
        digest = file.finish(None)
    if wanted is not None and wanted.lower() != digest:
        raise SignatureRefused(f"the sha256 of {archive} is {digest}, not {wanted}; get it again")
    return digest


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it says nothing"])[-1]


def _in_words(field: str) -> str:
    return field.replace("_", " ")
