"""`underway release` plans the way from what stands at its path, and puts that into the release: one build."""

from __future__ import annotations

import json
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dying import underway as dying_underway
from projects import build, underway, write_project
from underway_runtime.release import manifest, relup

pytestmark = pytest.mark.e2e

SEED = 20261129
TOOL = '[tool.underway]\nmain = "hello:main"\ninclude-interpreter = false\n'
OLD = "LIMIT = 10\n\ndef size():\n    return LIMIT\n\ndef main():\n    print('hello', flush=True)\n"
NEW = OLD.replace("return LIMIT", "return LIMIT + 1")
RESTART = OLD.replace("LIMIT = 10", "LIMIT = open('/etc/hostname').read()")


def write(root: Path, version: str, source: str) -> None:
    (root / "src/hello/__init__.py").write_text(source)
    for name, before in (("pyproject.toml", ""), ("uv.lock", 'name = "hello"\n')):
        text = (root / name).read_text()
        for known in ("0.1.0", "0.2.0", "0.3.0"):
            text = text.replace(f'{before}version = "{known}"', f'{before}version = "{version}"')
        (root / name).write_text(text)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of which 0.1.0 stands at its path."""
    root = write_project(tmp_path_factory.mktemp("upgrade") / "hello", TOOL)
    write(root, "0.1.0", OLD)
    build(root)
    return root


@pytest.fixture
def project(first: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(first, tmp_path / "hello", symlinks=True))


def built(root: Path, *arguments: str) -> dict[str, Any]:
    """What a build says of itself."""
    done = underway("release", "--json", *arguments, cwd=root)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def made(root: Path, version: str = "0.2.0") -> relup.Relup:
    return relup.read(root / f"build/release/hello/releases/{version}/relup")


def test_one_build_has_the_way_from_what_stands_at_its_path(project: Path) -> None:
    """The relup is in the release and its archive, sealed, and known by both ids without it; nothing is left in the project."""
    write(project, "0.2.0", NEW)
    before = sorted(os.listdir(project))

    done = underway("release", cwd=project)

    assert done.returncode == 0, done.stderr
    assert "Upgrade from 0.1.0: HOT, in place; back: HOT" in done.stdout
    assert sorted(os.listdir(project)) == before
    places = project / "build/release/hello/releases"
    old, new = (manifest.read(places / version / "manifest.json") for version in ("0.1.0", "0.2.0"))
    found = made(project)
    assert found.target_id == manifest.plan_id(new)
    assert [(each.version, each.id, each.verdict) for each in found.up] == [("0.1.0", manifest.plan_id(old), "HOT")]
    assert "releases/0.2.0/relup" in new.files
    verified = underway("verify", project / "build/release/hello-0.2.0.tar.zst", cwd=project)
    assert verified.returncode == 0, verified.stderr


def test_a_release_that_is_built_again_has_its_way_still(project: Path) -> None:
    """What stands at the path is then itself; the second has the bytes of the first, and another source has another way."""
    write(project, "0.2.0", NEW)
    once = built(project)

    again = built(project, "--overwrite")

    assert again["release_id"] == once["release_id"]
    assert again["upgrade"] == [{"from": "0.1.0", "verdict": "HOT"}]
    write(project, "0.2.0", RESTART)
    assert built(project, "--overwrite")["upgrade"] == [{"from": "0.1.0", "verdict": "RESTART"}]


def test_the_same_input_gives_the_same_bytes(project: Path, tmp_path: Path) -> None:
    """With the releases to come from named, at another path: one archive."""
    write(project, "0.2.0", NEW)
    shutil.copytree(project, tmp_path / "b/elsewhere/hello", symlinks=True)
    archives = []
    for root in (project, tmp_path / "b/elsewhere/hello"):
        said = built(root, "--upgrade-from", "build/release/hello-0.1.0.tar.zst", "--path", "build/other/hello")
        assert said["upgrade"] == [{"from": "0.1.0", "verdict": "HOT"}]
        archives.append(Path(said["archives"][0]).read_bytes())

    assert archives[0] == archives[1]


def test_a_verdict_says_what_is_in_the_way(project: Path) -> None:
    """A release that takes a fresh interpreter is built all the same, and names what does."""
    write(project, "0.2.0", RESTART)

    done = underway("release", cwd=project)

    assert done.returncode == 0, done.stderr
    assert "Upgrade from 0.1.0: RESTART, by a fresh interpreter" in done.stdout
    assert "  hello:LIMIT hello/__init__.py:1: " in done.stdout


def test_what_stands_at_the_path_and_is_no_use_stops_no_build(project: Path) -> None:
    """Another name, a file that was changed, start data that is gone: the release is built without a way, and a note says why."""
    place = project / "build/release/hello"
    write(project, "0.2.0", NEW)
    kept = shutil.copytree(place, project.parent / "kept", symlinks=True)

    def noted() -> str:
        said = built(project)
        assert said["upgrade"] == []
        assert not (place / "releases/0.2.0/relup").exists()
        shutil.rmtree(place)
        shutil.copytree(kept, place, symlinks=True)
        return "\n".join(said["notes"])

    file = place / "releases/0.1.0/manifest.json"
    file.write_text(manifest.dump(replace(manifest.read(file), name="other")))
    assert "it is other 0.1.0, and this is hello" in noted()
    [source] = place.glob("lib/hello-0.1.0*/hello/__init__.py")
    source.unlink()
    source.write_text("LIMIT = 11\n")
    assert "is not as its manifest says; build it again" in noted()
    (place / "releases/start.data").write_text("nothing")
    assert "does not say what boots" in noted()
    file.write_text("{")
    assert "manifest.json" in noted()


def test_nothing_is_planned_where_the_project_says_so(project: Path) -> None:
    """By an empty list, and where nothing stands at the path."""
    write(project, "0.2.0", NEW)
    assert built(project, "--path", "build/elsewhere/hello")["upgrade"] == []
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text.replace(TOOL, f"{TOOL}upgrade-from = []\n"))

    assert built(project)["upgrade"] == []


def test_what_is_named_must_be_a_release_to_come_from(project: Path) -> None:
    """All that is wrong is said at once, before anything is installed; nothing is built."""
    write(project, "0.2.0", NEW)
    other = build(project, "--path", "build/other/hello")
    named = [project / "build/nothing", other]
    missing = underway("release", "--upgrade-from", named[0], cwd=project)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "upgrade-from: " in missing.stderr

    done = underway("release", "--upgrade-from", other, cwd=project)

    assert (done.returncode, done.stdout) == (1, "")
    assert "build/other/hello is hello 0.2.0 too; a relup leads from another version" in done.stderr
    assert not (project / "build/release/hello/releases/0.2.0").exists()


def test_a_relup_of_the_project_s_own_is_what_is_put_in(project: Path) -> None:
    """`underway relup` stays: where it has made one for the very release, that is taken."""
    write(project, "0.2.0", NEW)
    built(project)
    places = project / "build/release/hello/releases"
    planned = underway("relup", "--target", places / "0.2.0", "--upfrom", places / "0.1.0", cwd=project)
    assert planned.returncode == 0, planned.stderr

    said = built(project, "--overwrite")

    assert said["upgrade"] == []
    assert (len(made(project).up), made(project).down) == (1, ())


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "places", [5, pytest.param(80, marks=[pytest.mark.drill, pytest.mark.timeout(3_600)])], ids=["sample", "full"]
)
def test_a_build_killed_while_it_plans_can_be_run_again(project: Path, tmp_path: Path, places: int) -> None:
    """Killed at changes of the disk near its end, where the relup is made: what stood there stands, and the next build has it all."""
    write(project, "0.2.0", NEW)
    kept = shutil.copytree(project / "build", tmp_path / "kept", symlinks=True)
    total = dying_underway(["release"], project, tmp_path)
    assert total.status == 0, total.output
    wanted = manifest.read(project / "build/release/hello/releases/0.2.0/manifest.json").release_id
    last = range(max(1, total.changes - 120), total.changes + 1)
    for at in sorted(random.Random(SEED).sample(last, min(places, len(last)))):
        shutil.rmtree(project / "build")
        shutil.copytree(kept, project / "build", symlinks=True)

        died = dying_underway(["release"], project, tmp_path, dies_at=at)

        place = project / "build/release/hello/releases"
        sealed = dict(manifest.read(place / "0.1.0/manifest.json").files)
        sealed.pop("releases/start.data")  # which says what boots: the old or the new one
        assert manifest.survey(place.parent, sealed) == sealed, f"{at} of {total.changes}: {died.output}"
        again = dying_underway(["release", "--overwrite"], project, tmp_path)
        assert again.status == 0, again.output
        assert manifest.read(place / "0.2.0/manifest.json").release_id == wanted
        assert sorted(os.listdir(project)) == sorted(["build", "pyproject.toml", "src", "uv.lock"])
