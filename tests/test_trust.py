"""Archives without a digest: what the operator of a host may say once, and what is opened then."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

import dying
from underway_runtime.release.errors import ConfigError
from underway_runtime.upgrade import trust as trusts
from underway_runtime.upgrade.trust import Trust, trust
from upgrade_helpers import Host, make_host

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs files of another user")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """hello-1.0, and next to it a directory with an archive of 1.1 that nobody else may write to."""
    host = make_host(tmp_path)
    archive = host.archive("1.1")
    (tmp_path / "own").mkdir(mode=0o755)
    shutil.move(archive, tmp_path / "own" / archive.name)
    return host


def file_of(host: Host) -> Path:
    return host.place / "own/hello-1.1.tar.zst"


def unpack(host: Host, *options: str, status: int = 0, file: Path | None = None) -> str:
    """What is said; it ends with this status."""
    arguments = ["unpack", str(file or file_of(host)), *options]
    done = dying.release(host.root, arguments, host.boots, host.place, runs=host.runs or "")
    assert done.status == status, done.output
    return done.output


def test_without_a_word_of_the_operator_the_ways_are_named(host: Host) -> None:
    """Digest, signature, owner: each with what to type."""
    said = unpack(host, status=1)

    assert said.startswith(f"error: nothing says where {file_of(host)} is from; one of these does:\n")
    assert all(word in said for word in ("--sha256 DIGEST", "--allowed-signers FILE", "--trust owner", "underway.toml"))
    assert host.states == {"1.0": "permanent"}


def test_a_file_of_one_s_own_is_taken_where_that_is_said(host: Host) -> None:
    """In one sentence, with why; machines are told too."""
    assert unpack(host, "--trust", "owner", "--dry-run").startswith(
        "1.1 would be unpacked, trusted without a digest, for nobody but root"
    )
    assert unpack(host, "--trust", "owner") == (
        "1.1 is unpacked, trusted without a digest, for nobody but root and this user could have changed"
        f" {file_of(host)}: 2 new, 2 shared with others\n"
    )
    assert host.states == {"1.0": "permanent", "1.1": "unpacked"}


def test_machines_are_told_by_what_it_was_believed(host: Host) -> None:
    """Owner, digest or signature."""
    assert json.loads(unpack(host, "--trust=owner", "--json"))["by"] == "owner"


def linked(host: Host) -> Path:
    """By a link in a directory that anyone may write to, without the sticky bit."""
    place = host.place / "shared"
    place.mkdir()
    place.chmod(0o777)
    (place / "link.tar.zst").symlink_to(file_of(host))
    return place / "link.tar.zst"


def up_from_a_link(host: Host) -> Path:
    """By .. after a link, which leads up from where the link leads; a file of that name is next to the link too."""
    place = host.place / "shared"
    (place / "below").mkdir(parents=True)
    place.chmod(0o777)
    shutil.copy(file_of(host), place)
    (file_of(host).parent / "link").symlink_to(place / "below")
    return file_of(host).parent / "link/.." / file_of(host).name


def hard_linked(host: Host) -> Path:
    (host.place / "other.tar.zst").hardlink_to(file_of(host))
    return file_of(host)


def changed(what: Callable[[Path], object]) -> Callable[[Host], Path]:
    def change(host: Host) -> Path:
        what(file_of(host))
        return file_of(host)

    return change


OTHERS: dict[str, tuple[Callable[[Host], Path], str]] = {
    "anyone may write to it": (changed(lambda file: file.chmod(0o646)), "anyone may write to "),
    "its group may write to it": (changed(lambda file: file.chmod(0o664)), "its group may write to "),
    "anyone may write next to it": (changed(lambda file: file.parent.chmod(0o777)), "anyone may write to "),
    "a group may write above it": (changed(lambda file: file.parent.parent.chmod(0o775)), "its group may write to "),
    "it is another's": (changed(lambda file: os.chown(file, 65534, -1)), " belongs to "),
    "its directory is another's": (changed(lambda file: os.chown(file.parent, 65534, -1)), " belongs to "),
    "a link of others leads to it": (linked, "anyone may write to "),
    "it is up from a link": (up_from_a_link, "anyone may write to "),
    "it has another name": (hard_linked, "has 2 names, as a hard link"),
}


@needs_root
@pytest.mark.parametrize("how", OTHERS)
def test_what_others_could_have_changed_is_not_taken(host: Host, how: str) -> None:
    """The file, a directory above it, or a link on the way; nothing is unpacked, and each place is named."""
    make, problem = OTHERS[how]

    said = unpack(host, "--trust", "owner", status=1, file=make(host))

    assert "is not believed by its owner alone, for others could have changed it:\n" in said
    assert problem in said
    assert host.states == {"1.0": "permanent"}


@needs_root
def test_what_the_service_s_user_puts_into_var_is_not_taken(host: Host) -> None:
    """Also when the file itself is root's."""
    host.var.incoming.mkdir(exist_ok=True)
    shutil.copy(file_of(host), host.var.incoming)
    os.chown(host.var.path, 65534, -1)

    said = unpack(host, "--trust", "owner", status=1, file=host.var.incoming / "hello-1.1.tar.zst")

    assert f"{host.var.path} belongs to " in said


@needs_root
def test_in_a_sticky_directory_of_root_s_it_may_be(host: Host) -> None:
    """As in /tmp: nobody else renames or replaces there what is root's."""
    with tempfile.TemporaryDirectory(dir=host.place) as place:
        os.chmod(place, 0o1777)
        file = shutil.copy(file_of(host), place)

        assert "trusted without a digest" in unpack(host, "--trust", "owner", file=Path(file))


def test_where_signers_are_configured_a_signature_is_needed_all_the_same(host: Host) -> None:
    """The owner of a file is no way around them."""
    signers = host.place / "signers"
    signers.write_text("# nobody\n")

    assert "is not signed" in unpack(host, "--trust", "owner", "--allowed-signers", str(signers), status=1)
    assert host.states == {"1.0": "permanent"}


def test_a_digest_that_is_given_must_be_right(host: Host) -> None:
    """Whoever the file belongs to."""
    assert "get it again" in unpack(host, "--trust", "owner", "--sha256", "0" * 64, status=1)


def test_another_word_is_a_mistake_of_usage(host: Host) -> None:
    """The two that there are, are named."""
    assert "--trust is owner or digest, not 'anyone'" in unpack(host, "--trust", "anyone", status=2)


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The host's own word, elsewhere than in /etc."""
    place = tmp_path / "etc"
    place.mkdir(mode=0o755)
    monkeypatch.setattr(trusts, "POLICY", place / "underway.toml")
    monkeypatch.setattr(trusts, "ALLOWED_SIGNERS", place / "allowed_signers")
    return place / "underway.toml"


@pytest.mark.parametrize(
    ("text", "kind", "of_owner"),
    [
        (None, None, False),
        ("", None, False),
        ('trust = "owner"\n', None, True),
        ('trust = "digest"\n', None, False),
        ('trust = "owner"\n', "digest", False),
        ('trust = "digest"\n', "owner", True),
        (None, "owner", True),
    ],
)
def test_the_host_says_it_for_good(policy: Path, text: str | None, kind: str | None, of_owner: bool) -> None:
    """In /etc/underway/underway.toml; the command line is the operator's later word."""
    if text is not None:
        policy.write_text(text)
        policy.chmod(0o644)

    assert trust(None, None, kind, {}, allow_downgrade=False) == Trust(of_owner=of_owner)


def test_no_variable_says_it(policy: Path) -> None:
    """env.sh of a release could set one."""
    environ = {"RELEASE_TRUST": "owner", "TRUST": "owner", "UNDERWAY_TRUST": "owner"}

    assert trust(None, None, None, environ, allow_downgrade=False).of_owner is False


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("trust = owner", "can't be read: "),
        ('trust = "anyone"', 'trust is "owner" or "digest", not \'anyone\''),
        ("trust = true", 'trust is "owner" or "digest", not True'),
        ('thrust = "owner"', "unknown key 'thrust'; the only key is trust"),
    ],
)
def test_a_word_that_is_not_understood_is_refused(policy: Path, text: str, problem: str) -> None:
    """Not taken for the stricter or the looser one."""
    policy.write_text(text)
    policy.chmod(0o644)

    with pytest.raises(ConfigError) as raised:
        trust(None, None, None, {}, allow_downgrade=False)

    assert problem in str(raised.value)


@needs_root
@pytest.mark.parametrize("how", ["anyone writes", "another's", "directory"])
def test_a_word_that_others_could_have_written_is_refused(policy: Path, how: str) -> None:
    """It would open archives for them."""
    policy.write_text('trust = "owner"\n')
    policy.chmod(0o666 if how == "anyone writes" else 0o644)
    os.chown(policy, 65534 if how == "another's" else 0, 0)
    policy.parent.chmod(0o777 if how == "directory" else 0o755)

    with pytest.raises(ConfigError, match="is not trusted, because others could have written it"):
        trust(None, None, None, {}, allow_downgrade=False)


def test_the_host_s_signers_hold_whatever_the_command_line_says(policy: Path) -> None:
    """/etc/underway/allowed_signers is taken next to the owner's word."""
    policy.with_name("allowed_signers").touch()

    found = trust(None, None, "owner", {}, allow_downgrade=False)

    assert found.allowed_signers == policy.with_name("allowed_signers")
