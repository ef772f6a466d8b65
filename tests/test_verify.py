"""A release on disk against its manifest, and the commands that check and make archives and deltas."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from archive_helpers import File, files, look, make_tree, save, write_archive
from underway.cli.delta import delta as delta_command
from underway.cli.verify import verify as verify_command
from underway.errors import UnderwayError
from underway_runtime.release import manifest
from underway_runtime.release.archives import archive, delta
from underway_runtime.release.errors import DamagedRelease, UsageError
from underway_runtime.release.verify import run, verify

CODE = "lib/hello-1.0/hello/hello.py"
LINK = "releases/1.0/bin/python"


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """A release."""
    make_tree(tmp_path / "hello")
    return tmp_path / "hello"


def test_a_whole_release_has_no_problems(hello: Path) -> None:
    """As it was built, and with whatever is in var/."""
    (hello / "var/log").mkdir(parents=True)
    (hello / "var/COOKIE").write_text("secret")

    assert verify(hello, "1.0") == []


def test_an_unpacked_release_has_no_problems(hello: Path, tmp_path: Path) -> None:
    """What the reader of archives makes is what the manifest says."""
    archive.extract(
        write_archive(tmp_path, hello, manifest.read(hello / "releases/1.0/manifest.json")), tmp_path / "out"
    )

    assert verify(tmp_path / "out", "1.0") == []


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def move_away(directory: Path) -> None:
    """The directory is elsewhere, and a link leads there."""
    elsewhere = directory.parents[1] / "elsewhere"
    directory.rename(elsewhere)
    directory.symlink_to(elsewhere)


def add(place: Path) -> None:
    """A file where nobody has one."""
    place.parent.mkdir(parents=True)
    place.touch()


def replace_by_file(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.touch()


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGE: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "a byte": (
        lambda root: (root / CODE).write_bytes(b"x" + files()[CODE].content[1:]),
        [f"{CODE} has been changed: its sha256 differs"],
    ),
    "cut off": (lambda root: (root / CODE).write_bytes(b""), [f"{CODE} has 0 bytes, not 32"]),
    "missing": (lambda root: (root / CODE).unlink(), [f"{CODE} is missing"]),
    "a missing link": (lambda root: (root / LINK).unlink(), [f"{LINK} is missing"]),
    "another target": (
        lambda root: relink(root / LINK, "/usr/bin/python3"),
        [f"{LINK} is a link to /usr/bin/python3, not to ../../../python-3.11.2/bin/python3.11"],
    ),
    "a link for a file": (lambda root: relink(root / CODE, "/etc/passwd"), [f"{CODE} is not a regular file"]),
    "a pipe": (lambda root: replace_by_fifo(root / CODE), [f"{CODE} is not a regular file"]),
    "executable": (lambda root: (root / CODE).chmod(0o755), [f"{CODE} should not be executable"]),
    "not executable": (lambda root: (root / "bin/hello").chmod(0o644), ["bin/hello should be executable"]),
    "setuid": (lambda root: (root / "bin/hello").chmod(0o4755), ["bin/hello has the mode 4755"]),
    "writable by all": (lambda root: (root / CODE).chmod(0o666), [f"{CODE} has the mode 0666"]),
    "a new module": (
        lambda root: (root / "lib/hello-1.0/hello/evil.py").touch(),
        ["lib/hello-1.0/hello/evil.py is in no manifest; remove it"],
    ),
    "a new application": (
        lambda root: add(root / "lib/evil-1/evil.py"),
        ["lib/evil-1/evil.py is in no manifest; remove it"],
    ),
    "a new link": (
        lambda root: (root / "python-3.11.2/lib/evil.so").symlink_to("/evil.so"),
        ["python-3.11.2/lib/evil.so is in no manifest; remove it"],
    ),
    "a linked directory": (
        lambda root: (root / "lib/evil").symlink_to("/evil"),
        ["lib/evil is in no manifest; remove it"],
    ),
    "another interpreter": (
        lambda root: add(root / "python-9/bin/python"),
        ["python-9/bin/python is in no manifest; remove it"],
    ),
    "a script": (
        lambda root: (root / "releases/1.0/env.sh").touch(),
        ["releases/1.0/env.sh is in no manifest; remove it"],
    ),
    "a directory moved away": (
        lambda root: move_away(root / "lib/hello-1.0"),
        [
            "lib/hello-1.0/hello/__init__.py: lib/hello-1.0 is a link and should be a directory",
            "lib/hello-1.0/hello/hello.py: lib/hello-1.0 is a link and should be a directory",
            "lib/hello-1.0 is in no manifest; remove it",
        ],
    ),
    "a file for a directory": (
        lambda root: replace_by_file(root / "lib/data-3"),
        [
            "lib/data-3/data/data.bin is missing: a file is in the place of its directory",
            "lib/data-3 is in no manifest; remove it",
        ],
    ),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_damage_is_named(hello: Path, damage: str) -> None:
    """Each file that makes no sense, and each that should not be there, is named with what is wrong."""
    do, problems = DAMAGE[damage]
    do(hello)

    assert verify(hello, "1.0") == problems


def test_everything_wrong_is_listed(hello: Path) -> None:
    """One look finds it all."""
    for path in ("bin/hello", CODE, LINK):
        (hello / path).unlink()

    assert verify(hello, "1.0") == [f"{path} is missing" for path in ("bin/hello", CODE, LINK)]


def test_files_outside_of_code_are_not_extra(hello: Path) -> None:
    """What the node, or its administrator, keeps next to the code is not ours to judge."""
    for path in ("var/run/pid", "notes.txt", "releases/RELEASES", "bin/own-tool"):
        (hello / path).parent.mkdir(parents=True, exist_ok=True)
        (hello / path).touch()

    assert verify(hello, "1.0") == []


def test_a_manifest_that_is_damaged_is_the_problem(hello: Path) -> None:
    """Missing, or not what its id says: nothing can be said of the rest."""
    place = hello / "releases/1.0/manifest.json"
    place.write_text(place.read_text().replace("hello.py", "jello.py"))
    assert verify(hello, "1.0") == [f"the manifest {place} can't be read: its release id does not fit its contents"]

    place.unlink()
    assert verify(hello, "1.0") == [f"{place} is missing"]


def two_versions(root: Path) -> None:
    """1.0 and 1.1 in one directory; bin/hello and start.data are those of 1.1."""
    newer = {**files("1.1"), "bin/hello": File(b"#!/bin/sh\n# newer\n", executable=True)}
    made = root.with_name("newer")
    make_tree(made, "1.1", newer)
    shutil.copytree(made, root, symlinks=True, dirs_exist_ok=True, ignore=_present(root, made))
    for path in ("bin/hello", "releases/start.data"):
        shutil.copy(made / path, root / path)


def _present(root: Path, made: Path) -> Callable[[str, list[str]], list[str]]:
    return lambda directory, names: [
        name
        for name in names
        if (there := root / Path(directory, name).relative_to(made)).is_symlink() or there.is_file()
    ]


def test_versions_share_what_has_one_name(hello: Path) -> None:
    """Next to another version each is whole: bin/hello may be of either, and no file of the other is extra."""
    two_versions(hello)
    assert (verify(hello, "1.0"), verify(hello, "1.1")) == ([], [])

    (hello / "bin/hello").write_bytes(b"#!/bin/evil")
    assert verify(hello, "1.0") == ["bin/hello has 11 bytes, not 10"]
    assert verify(hello, "1.1") == ["bin/hello has 11 bytes, not 18"]


def test_the_damage_of_one_version_is_not_the_other_s(hello: Path) -> None:
    """A file that only one version has is only its problem."""
    two_versions(hello)
    (hello / CODE).write_bytes(b"evil")

    assert (len(verify(hello, "1.0")), verify(hello, "1.1")) == (1, [])


def test_the_command_of_a_release(hello: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`bin/hello verify` says how many files are ok, or lists what is wrong and ends with 1; --json says the same."""
    sealed = manifest.read(hello / "releases/1.0/manifest.json")
    assert run(hello, "1.0") == 0
    assert capsys.readouterr().out == f"hello-1.0: 10 files, release id {sealed.release_id}, ok\n"

    (hello / CODE).unlink()
    assert run(hello, "1.0") == 1
    assert capsys.readouterr().out == f"version 1.0 is damaged; restore it from its archive:\n  - {CODE} is missing\n"

    assert run(hello, "1.0", as_json=True) == 1
    assert json.loads(capsys.readouterr().out) == {
        "name": "hello",
        "version": "1.0",
        "target": "x86_64-linux-gnu",
        "release_id": sealed.release_id,
        "files": 10,
        "ok": False,
        "problems": [f"{CODE} is missing"],
    }
    (hello / "releases/1.0/manifest.json").unlink()
    assert run(hello, "1.0", as_json=True) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


# underway verify, underway delta


def verifies(*arguments: object) -> Result:
    return CliRunner().invoke(verify_command, [str(argument) for argument in arguments])


def test_verify_takes_an_archive(hello: Path, tmp_path: Path) -> None:
    """`underway verify ARCHIVE` says what it holds; --json says it to programs."""
    sealed = manifest.read(hello / "releases/1.0/manifest.json")
    file = write_archive(tmp_path, hello, sealed)

    done = verifies(file, "--json")

    assert (done.exit_code, json.loads(done.stdout)) == (
        0,
        {
            "name": "hello",
            "version": "1.0",
            "target": "x86_64-linux-gnu",
            "release_id": sealed.release_id,
            "files": 10,
            "sha256": archive.check(file).sha256,
            "signer": None,
            "ok": True,
        },
    )
    assert verifies(file).stdout.endswith("no signature was asked for, ok\n")


def test_verify_takes_a_digest(hello: Path, tmp_path: Path) -> None:
    """With --digest it is that archive and no other."""
    file = write_archive(tmp_path, hello, manifest.read(hello / "releases/1.0/manifest.json"))

    assert verifies(file, "--digest", archive.check(file).sha256.upper()).exit_code == 0
    done = verifies(file, "--digest", "0" * 64)
    assert "the sha256 of" in str(done.exception)
    assert isinstance(done.exception, UnderwayError)


def test_verify_refuses_a_damaged_archive(tmp_path: Path) -> None:
    """With the error of the reader, and 1."""
    done = verifies(save(tmp_path, b"PK\3\4"))

    assert isinstance(done.exception, archive.ArchiveRefused)
    assert done.exception.exit_code == 1


def test_verify_takes_a_directory(hello: Path) -> None:
    """Every version in it is looked at; the status is 1 when one is damaged."""
    two_versions(hello)
    done = verifies(hello)
    assert (done.exit_code, [line.split(":")[0] for line in done.stdout.splitlines()]) == (
        0,
        ["hello-1.0", "hello-1.1"],
    )

    (hello / CODE).unlink()
    assert verifies(hello).exit_code == 1
    assert [outcome["ok"] for outcome in json.loads(verifies(hello, "--json").stdout)] == [False, True]


def test_verify_of_something_else_is_an_error(tmp_path: Path) -> None:
    """A directory that is not a release, or nothing at all."""
    assert isinstance(verifies(tmp_path).exception, DamagedRelease)
    assert "No such file" in str(verifies(tmp_path / "nothing").exception)
    assert isinstance(verifies(tmp_path, "--digest", "0" * 64).exception, UsageError)


def test_verify_as_a_command(hello: Path) -> None:
    """The status of the process is the outcome."""
    (hello / CODE).unlink()
    program = "from underway.cli.verify import verify; verify(standalone_mode=False)"
    done = subprocess.run([sys.executable, "-c", program, hello], capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (1, b"")


def deltas(*arguments: object) -> Result:
    return CliRunner().invoke(delta_command, [str(argument) for argument in arguments])


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The next release."""
    make_tree(tmp_path / "next", "1.1", files("1.1", hello=b"def hello():\n    return 'good day'\n"))
    return tmp_path / "next"


@pytest.mark.parametrize("kinds", [("archive", "archive"), ("directory", "directory"), ("directory", "archive")])
def test_delta_takes_archives_and_directories(hello: Path, newer: Path, tmp_path: Path, kinds: tuple[str, str]) -> None:
    """The delta is the same, lies next to TO, and leads to it."""
    given = []
    for root, kind in zip((hello, newer), kinds, strict=True):
        [place] = root.glob("releases/*/manifest.json")
        given.append(root if kind == "directory" else write_archive(tmp_path, root, manifest.read(place)))

    done = deltas(*given, "--json")

    file = tmp_path / "hello-1.0-1.1.delta"
    outcome = json.loads(done.stdout)
    assert (outcome["path"], outcome["bytes"], outcome["signed"]) == (str(file), file.stat().st_size, False)
    assert (outcome["from"]["version"], outcome["to"]["version"]) == ("1.0", "1.1")
    delta.apply(file, hello, tmp_path / "out")
    assert look(tmp_path / "out") == look(newer)
    assert verifies(file, "--from", hello).exit_code == 0


def test_delta_within_one_directory(hello: Path, tmp_path: Path) -> None:
    """Where a directory holds several versions, releases/VERSION says which."""
    two_versions(hello)
    done = deltas(hello / "releases/1.0", hello / "releases/1.1", "--output", tmp_path / "x.delta")

    assert done.stdout.startswith("Delta hello 1.0 -> 1.1 at ")
    assert delta.check(tmp_path / "x.delta", hello).manifest.version == "1.1"
    assert "holds 2 versions; name the one that is meant" in str(deltas(hello, hello).exception)


def test_delta_has_the_date_of_the_new_archive(
    hello: Path, newer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive that comes out is the one that was given, or would be made here with this SOURCE_DATE_EPOCH."""
    sealed = manifest.read(newer / "releases/1.1/manifest.json")
    file = archive.path(tmp_path, "hello", "1.1")
    archive.write(file, newer, sealed, 1_600_000_000)
    deltas(hello, file)
    assert delta.check(tmp_path / "hello-1.0-1.1.delta", hello).date == 1_600_000_000

    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1500000000")
    deltas(hello, newer)
    assert delta.check(tmp_path / "hello-1.0-1.1.delta", hello).date == 1_500_000_000


def test_delta_of_a_damaged_archive_is_refused(hello: Path, tmp_path: Path) -> None:
    """Archives are checked before anything is made of them; nothing is left."""
    evil = save(tmp_path / "in", b"\x28\xb5\x2f\xfd" + bytes(100))

    assert isinstance(deltas(hello, evil).exception, archive.ArchiveRefused)
    assert [path.name for path in (tmp_path / "in").iterdir()] == [evil.name]


def test_delta_of_something_else_is_an_error(hello: Path, tmp_path: Path) -> None:
    """A directory that is not a release, a place that can't be written, two releases that are no pair."""
    (tmp_path / "empty").mkdir()
    assert isinstance(deltas(hello, tmp_path / "empty").exception, UsageError)
    make_tree(tmp_path / "next", "1.1", files("1.1"))
    assert "can't be written" in str(deltas(hello, tmp_path / "next", "--output", tmp_path / "no/where").exception)
    assert "both are version 1.0" in str(deltas(hello, hello).exception)


def test_a_delta_needs_its_base_to_be_verified(hello: Path, newer: Path, tmp_path: Path) -> None:
    """Without --from it is said what is needed; --from with an archive is a mistake."""
    deltas(hello, newer)
    done = verifies(tmp_path / "hello-1.0-1.1.delta")
    assert "is a delta, from version 1.0; name that release by --from" in str(done.exception)
    file = write_archive(tmp_path, hello, manifest.read(hello / "releases/1.0/manifest.json"))
    assert isinstance(verifies(file, "--from", hello).exception, UsageError)


def test_another_version_of_the_format_is_told_apart(hello: Path) -> None:
    """A manifest that a later underway wrote is not called damaged contents but another format."""
    place = hello / "releases/1.0/manifest.json"
    place.write_text(place.read_text().replace('"format": 1', '"format": 2'))

    assert verify(hello, "1.0") == [f"the manifest {place} can't be read: its format is 2; this runtime reads format 1"]


def test_a_link_among_the_tops_is_named(hello: Path) -> None:
    """lib itself may not lead elsewhere."""
    shutil.move(hello / "lib", hello / "elsewhere")
    (hello / "lib").symlink_to("elsewhere")

    problems = verify(hello, "1.0")
    assert problems[-1] == "lib is a link and should be a directory"
    assert len(problems) == 4


@pytest.mark.parametrize("kind", ["a pipe", "a directory", "a terabyte", "brackets"])
def test_a_manifest_that_is_none_does_not_keep_who_reads_it(tmp_path: Path, kind: str) -> None:
    """A release of a stranger, as a directory: one sentence, and no more memory or time than a manifest takes."""
    root = tmp_path / "hello"
    place = root / "releases/1.0/manifest.json"
    place.parent.mkdir(parents=True)
    if kind == "a pipe":
        os.mkfifo(place)
    elif kind == "a directory":
        place.mkdir()
    elif kind == "a terabyte":
        with place.open("wb") as file:
            file.truncate(1 << 40)
    else:
        place.write_bytes(b"[" * (16 << 20))

    assert any("manifest.json" in problem for problem in verify(root, "1.0"))
