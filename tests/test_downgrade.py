"""A signature does not go stale: a signed version that is older than what is in use is taken only where that is meant."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from packaging.version import Version

from test_signature import make_key, needs_ssh_keygen, public
from underway_runtime.release.archives import signature
from underway_runtime.release.precedence import is_older
from underway_runtime.upgrade import unpack as unpacking
from underway_runtime.upgrade.handler import settle
from underway_runtime.upgrade.unpack import Trust, UnpackRefused
from upgrade_helpers import Host, digest_of, make_host

IN_ORDER = [
    *("0.9", "1.0.dev1", "1.0.dev2", "1.0a1.dev1", "1.0a1", "1.0a2", "1.0b1", "1.0rc1", "1.0rc2.post1", "1.0"),
    *("1.0+a", "1.0+b.1", "1.0+1", "1.0+1.2", "1.0+10", "1.0.post1.dev3", "1.0.post1", "1.0.post2", "1.0.1", "1.2"),
    *("1.10", "2.0", "1!0.1", "2!0.0.1"),
]
SAME = [
    ("1.0", "1"),
    ("1.0", "1.0.0"),
    ("v1.0", "1.0"),
    ("1.0a1", "1.0-alpha.1"),
    ("1.0-1", "1.0.post1"),
    ("1.0RC1", "1.0rc1"),
]
OTHERS = [
    ("build-9", "build-10"),
    ("2024-11-3", "2024-11-20"),
    ("1.0-final", "1.1-final"),
    ("r9.x", "r10.x"),
    ("a", "b"),
]


def test_versions_are_ordered_as_pep_440_has_it() -> None:
    """Pre-releases before, post-releases and local versions after the version that they are of; packaging agrees on each pair."""
    for number, one in enumerate(IN_ORDER):
        assert not is_older(one, one)
        for other in IN_ORDER[number + 1 :]:
            assert is_older(one, other)
            assert not is_older(other, one)
            assert Version(one) < Version(other)
    for one, other in SAME:
        assert not is_older(one, other)
        assert not is_older(other, one)


@pytest.mark.parametrize(("older", "newer"), OTHERS)
def test_other_versions_are_ordered_piece_by_piece(older: str, newer: str) -> None:
    """Numbers in them count as numbers."""
    assert is_older(older, newer)
    assert not is_older(newer, older)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """hello-1.0 is here and runs; alice may sign."""
    made = make_host(tmp_path)
    key = make_key(tmp_path / "keys", "alice")
    (tmp_path / "signers").write_text(f"alice {public(key)}\n")
    return made


def trust(host: Host, *, allow: bool = False, sha256: str | None = None) -> Trust:
    return Trust(host.place / "signers", sha256, allow)


def signed(host: Host, version: str, kind: str = "zst") -> Path:
    """An archive of this version, or a delta to it, in var/incoming, signed by alice."""
    file = host.delta(version) if kind == "delta" else host.archive(version, kind=kind)
    signature.sign(file, host.build(version), host.place / "keys/alice")
    return file


@needs_ssh_keygen
@pytest.mark.parametrize(
    ("version", "kind"),
    [("0.9", "zst"), ("1.0rc1", "gz"), ("0.9.post7", "delta"), ("1.0.dev3", "zst"), ("0-nightly", "zst")],
)
def test_an_older_version_that_is_signed_needs_to_be_meant(host: Host, version: str, kind: str) -> None:
    """Whatever the file is; nothing of it is unpacked without --allow-downgrade, and all of it with that."""
    file = signed(host, version, kind)
    settle(host.handler)
    before = host.look()

    for what in (version, str(file)):
        with pytest.raises(
            UnpackRefused, match=r"is signed, and older than 1\.0, which is in use here: .*--allow-downgrade"
        ):
            unpacking.unpack(host.handler, what, trust(host))
    assert host.look() == before
    assert unpacking.unpack(host.handler, version, trust(host, allow=True)).as_json()["signer"] == "alice"


@needs_ssh_keygen
@pytest.mark.parametrize("version", ["1.0.1", "1.0.post1", "1.0+hotfix.1", "1!0.1", "1.1rc1"])
def test_a_newer_version_that_is_signed_needs_nothing(host: Host, version: str) -> None:
    """Also one that is newer by its last part only."""
    signed(host, version)

    assert unpacking.unpack(host.handler, version, trust(host)).version == version


@needs_ssh_keygen
def test_what_runs_counts_as_much_as_what_boots(host: Host) -> None:
    """With 3.0 installed and 1.0 permanent, 2.0 is older than what is in use; with 1.0 running again it is not."""
    signed(host, "3.0")
    unpacking.unpack(host.handler, "3.0", trust(host))
    signed(host, "2.0")
    host.runs = "3.0"
    with pytest.raises(UnpackRefused, match=r"older than 3\.0"):
        unpacking.unpack(host.handler, "2.0", trust(host))

    host.runs = None
    assert unpacking.unpack(host.handler, "2.0", trust(host)).version == "2.0"


@needs_ssh_keygen
def test_an_older_version_that_is_here_stays_one_to_go_back_to(host: Host) -> None:
    """It is verified as ever, without the option; once removed it would come from outside again."""
    file = signed(host, "0.9")
    unpacking.unpack(host.handler, "0.9", trust(host, allow=True))

    assert unpacking.unpack(host.handler, "0.9", trust(host)).admitted is None
    assert unpacking.unpack(host.handler, str(file), trust(host)).admitted is None


@needs_ssh_keygen
def test_a_digest_beside_the_signature_changes_nothing_and_alone_is_meant(host: Host) -> None:
    """With signers the version must be newer also where the digest is given; a digest alone names the very file that is wanted."""
    signed(host, "0.9")
    file = host.var.incoming / "hello-0.9.tar.zst"
    with pytest.raises(UnpackRefused, match="--allow-downgrade"):
        unpacking.unpack(host.handler, "0.9", trust(host, sha256=digest_of(file)))

    assert host.unpack("0.9").version == "0.9"


@pytest.mark.parametrize("name", ["good.zst", "hello", "1.1", "x.tar", "hello-1.1.tar.zst.part"])
def test_what_has_a_slash_is_a_file_whatever_it_is_called(host: Host, tmp_path: Path, name: str) -> None:
    """`unpack /path/NAME` unpacks the version that is in it."""
    file = tmp_path / "elsewhere" / name
    file.parent.mkdir()
    shutil.move(host.archive("1.1"), file)

    assert host.unpack(str(file), file).version == "1.1"
