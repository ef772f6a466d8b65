"""The user's files go into the release, and nothing unlisted into manifest and archive."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from releases import make_release
from underway.errors import BuildError, StepError
from underway.steps.manifest import draft, list_files, seal
from underway.steps.overlays import copy_overlays


def test_the_contents_of_each_directory_are_laid_over_the_root(tmp_path: Path) -> None:
    """Files, nested directories and inner links arrive, and their paths are named."""
    (tmp_path / "o/share").mkdir(parents=True)
    (tmp_path / "o/share/a.txt").write_text("a")
    (tmp_path / "o/b").symlink_to("share/a.txt")

    release = copy_overlays(make_release(tmp_path), [tmp_path / "o"])

    assert release.overlays == ("b", "share/a.txt")
    assert (release.path / "b").read_text() == "a"


def test_what_can_not_be_laid_over_is_told_at_once(tmp_path: Path) -> None:
    """A missing directory, a link that leaves and a file of ours are all in one error; nothing is copied."""
    (tmp_path / "o/bin").mkdir(parents=True)
    (tmp_path / "o/bin/chat").touch()
    (tmp_path / "o/out").symlink_to("/etc/passwd")
    (tmp_path / "o/fine").touch()
    release = make_release(tmp_path)
    (release.path / "bin").mkdir()
    (release.path / "bin/chat").touch()

    with pytest.raises(BuildError) as refused:
        copy_overlays(release, [tmp_path / "o", tmp_path / "nothing"])

    for part in ("nothing is not a directory", "is a link to /etc/passwd", "would replace bin/chat"):
        assert part in str(refused.value)
    assert not (release.path / "fine").exists()


def test_manifest_and_release_id_know_what_was_named_and_nothing_else(tmp_path: Path) -> None:
    """A file that a step made without naming it is in the directory and not in the manifest."""
    release = make_release(tmp_path)
    (release.path / "ours").write_text("1")
    draft(release, ["ours", "gone"])
    for name in ("listed/x", "listed/y", "unlisted"):
        (release.path / name).parent.mkdir(exist_ok=True)
        (release.path / name).write_text(name)

    sealed = seal(replace(release, overlays=("listed",)))

    assert list(sealed.files) == ["listed/x", "listed/y", "ours"]
    assert json.loads((release.version_path / "manifest.json").read_text())["release_id"] == sealed.release_id


@pytest.mark.parametrize("name", ["nothing", "../outside", "/etc/passwd"])
def test_an_overlay_that_can_not_be_packed_is_refused(tmp_path: Path, name: str) -> None:
    """overlays names what is there and inside."""
    release = make_release(tmp_path, overlays=(name,))
    draft(release, [])

    with pytest.raises(StepError, match="can't be packed"):
        seal(release)


def test_files_are_listed_with_links_and_without_directories(tmp_path: Path) -> None:
    """A link to a directory is a file of the release; a directory is not."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").touch()
    (tmp_path / "link").symlink_to("a")

    assert list_files(tmp_path) == ["a/b/c", "link"]
