"""Paths of the machine that builds: which are refused, where, and which are nobody's business."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from releases import make_release
from underway.errors import BuildError
from underway.release import BuildContext, Release
from underway.steps.path_leaks import check_paths


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """A release that is made in ``.partial`` of a project, with an interpreter from elsewhere."""
    return make_release(
        tmp_path / "project/build/.partial",
        interpreter_source=Path("/opt/pythons/3.11/bin/python3.11"),
        context=BuildContext(project=tmp_path / "project"),
    )


def written(release: Release, file: str, content: str | bytes) -> str:
    """A file of the release."""
    path = release.path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def refused(release: Release, *files: str) -> str:
    """What the error says."""
    with pytest.raises(BuildError) as error:
        check_paths(release, files)
    return str(error.value)


@pytest.mark.parametrize(
    "file",
    [
        "bin/chat",
        "releases/0.1.0/bin/flask",
        "lib/anyio-4.0/anyio/x.txt",
        "lib/chat-0.1.0/__pycache__/chat.pyc",
        "python-3.11.2/lib/x.py",
    ],
)
def test_the_place_of_the_build_is_named_nowhere(release: Release, file: str) -> None:
    """Nor the stage next to it: in scripts, compiled modules, anybody's files."""
    content = f"#!{release.path.parent}/stage/bin/python\n"
    text = b"\xe3" + bytes([len(content)]) + content.encode() if file.endswith(".pyc") else content

    assert f"{file} names {release.path.parent}" in refused(release, written(release, file, text))


@pytest.mark.parametrize("file", ["releases/0.1.0/start.script", "releases/0.1.0/bin/flask", "lib/chat-0.1.0/chat.pth"])
@pytest.mark.parametrize("place", ["{project}/src", "/opt/pythons/3.11"])
def test_what_is_read_at_start_names_neither_the_project_nor_the_interpreter(
    release: Release, file: str, place: str
) -> None:
    """All of it is written by the build, which has no business with these."""
    path = place.format(project=release.context.project)

    said = refused(release, written(release, file, f'x = "{path}"\n'))

    assert f"{file} names" in said


def test_what_an_application_says_is_its_own(release: Release) -> None:
    """A text of a wheel may name any path but that of the build; so may a path that only begins alike."""
    project = release.context.project

    check_paths(
        release,
        [
            written(release, "lib/chat-0.1.0/chat/readme.txt", f"clone it to {project}"),
            written(release, "releases/0.1.0/start.script", f"{project}2 x{project} /opt/pythons/3.11.2"),
        ],
    )


def test_what_the_author_wrote_is_a_word_in_the_log(release: Release, caplog: pytest.LogCaptureFixture) -> None:
    """config/config.py may compute a path of the project by mistake, or mean it."""
    file = written(release, "releases/0.1.0/sys.config", f'{{"data": "{release.context.project}/data"}}')

    with caplog.at_level(logging.WARNING, "underway"):
        check_paths(release, [file])

    assert f"{file} names {release.context.project}, the project's directory" in caplog.text


def test_what_must_be_relative_is(release: Release) -> None:
    """All that is wrong is said at once: path entries, the environment's home, links, where it was installed from."""
    out, away = release.path / "releases/0.1.0/bin/python", release.path / "lib/up"
    out.parent.mkdir(parents=True)
    away.parent.mkdir(parents=True)
    out.symlink_to("/usr/bin/python3")
    away.symlink_to("../../x")

    said = refused(
        release,
        written(release, "lib/chat-0.1.0/editable.pth", "/home/me/src\nimport x\n"),
        written(release, "releases/0.1.0/pyvenv.cfg", "home = /usr/bin\n"),
        written(release, "lib/chat-0.1.0/chat-0.1.0.dist-info/direct_url.json", "{}"),
        "releases/0.1.0/bin/python",
        "lib/up",
    )

    assert "editable.pth puts /home/me/src on sys.path" in said
    assert "pyvenv.cfg says home = /usr/bin" in said
    assert "direct_url.json tells where this machine installed from" in said
    assert "bin/python is a link to /usr/bin/python3" in said
    assert "lib/up is a link that leaves the release, to ../../x" in said
