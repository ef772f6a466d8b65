"""underway relup, with real releases: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path

import pytest

from projects import build, underway, write_project
from underway_runtime.release import instructions as i
from underway_runtime.release import manifest, relup
from underway_runtime.release.boot_script import CodePath, Start
from underway_runtime.release.boot_script import read as read_script
from underway_runtime.release.directory import ReleaseDirectory

TAG = f"py{platform.python_version()}"

TOOL = '[tool.underway]\nmain = "hello:main"\nupgrade-from = []\ninclude-interpreter = false\n'
"""What has its relups by `underway relup` alone, and is built in a second."""

OLD = """\
from .limits import LIMIT

class Room:
    def __init__(self, name):
        self.name = name

    def size(self):
        return LIMIT

def main():
    print("hello", flush=True)
"""

NEW = """\
from . import history
from .limits import LIMIT

class Room:
    def __init__(self, name):
        self.name = name
        self.topic = ""

    def size(self):
        return LIMIT + 1

    @staticmethod
    def code_change(old_version, state, extra):
        return {**state, "topic": ""}

def main():
    print("hello", flush=True)
"""


def edit(root: Path, version: str, files: dict[str, str]) -> None:
    text = (root / "pyproject.toml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("version = "))
    (root / "pyproject.toml").write_text(text.replace(line, f'version = "{version}"'))
    lock = (root / "uv.lock").read_text()
    (root / "uv.lock").write_text(lock.replace(line, f'version = "{version}"'))
    for name, source in files.items():
        (root / "src/hello" / name).write_text(source)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of which three versions are built, next to each other: 0.2.0 can be swapped in, 0.3.0 can't."""
    root = write_project(tmp_path_factory.mktemp("relup") / "hello", TOOL)
    edit(root, "0.1.0", {"__init__.py": OLD, "limits.py": "LIMIT = 3\n"})
    build(root)
    edit(root, "0.2.0", {"__init__.py": NEW, "limits.py": "LIMIT = 4\n", "history.py": "KEPT = []\n"})
    build(root)
    edit(root, "0.3.0", {"limits.py": "LIMIT = object()\n"})
    build(root)
    return root


def releases(project: Path) -> Path:
    return project / "build/release/hello/releases"


@pytest.mark.in_place
def test_a_relup_leads_up_and_down(project: Path, tmp_path: Path) -> None:
    """It names both releases by their ids, and holds OTP's instructions in OTP's order, for the way there and back."""
    places = releases(project)
    done = underway(
        "relup", "--target", places / "0.2.0", "--fromto", places / "0.1.0", "--outdir", tmp_path, cwd=project
    )

    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "hello 0.1.0 -> 0.2.0: MIGRATE, in place, and live state is carried over" in done.stdout
    assert "hello:Room.size" in done.stdout
    assert f"lib/hello-0.2.0-{TAG}/hello/__init__.py:9" in done.stdout
    made = relup.read(tmp_path / "relup")
    ids = {v: manifest.read(places / v / "manifest.json").release_id for v in ("0.1.0", "0.2.0")}
    assert (made.name, made.version, made.target_id) == ("hello", "0.2.0", ids["0.2.0"])
    [up], [down] = made.up, made.down
    assert (up.version, up.id, up.verdict) == ("0.1.0", ids["0.1.0"], "MIGRATE")
    assert (down.version, down.id, down.verdict) == ("0.1.0", ids["0.1.0"], "MIGRATE")
    assert [type(each).__name__ for each in up.instructions] == [
        *("LoadObjectCode", "PointOfNoReturn", "Suspend", "Load", "Load", "Load", "CodeChange", "Resume")
    ]
    assert [each.module for each in up.instructions if isinstance(each, i.Load)][-1] == "hello"
    assert [type(each).__name__ for each in down.instructions] == [
        *("LoadObjectCode", "PointOfNoReturn", "Suspend", "CodeChange", "Load", "Load", "Resume", "Remove", "Purge")
    ]
    assert next(each for each in down.instructions if isinstance(each, i.CodeChange)).direction == "down"


def test_archives_give_the_same_relup_as_directories(project: Path, tmp_path: Path) -> None:
    """They are checked and unpacked for as long as it takes."""
    places, archives = releases(project), project / "build/release"
    files = [archives / f"hello-{version}.tar.zst" for version in ("0.2.0", "0.1.0")]
    made = []
    for target, other in ((places / "0.2.0", places / "0.1.0"), files):
        done = underway("relup", "--target", target, "--fromto", other, "--json", "--dry-run", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        made.append(done.stdout)

    assert made[0] == made[1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.in_place
def test_what_cannot_be_swapped_takes_a_restart(project: Path) -> None:
    """The relup says so, names the definition, and holds the one instruction; it is written with status 0."""
    places = releases(project)
    done = underway("relup", "--target", places / "0.3.0", "--upfrom", places / "0.2.0", "--json", cwd=project)

    assert done.returncode == 0, done.stderr
    made = relup.parse(done.stdout)
    assert made == relup.read(project / "relup")
    [entry] = made.up
    assert (entry.verdict, entry.instructions, made.down) == ("RESTART", (i.RestartEmulator(),), ())
    [row] = [row for row in entry.changes if row.verdict == "RESTART"]
    assert (row.module, row.definition, row.file, row.line) == (
        *("hello.limits", "LIMIT", f"lib/hello-0.3.0-{TAG}/hello/limits.py", 1),
    )
    (project / "relup").unlink()


def test_an_application_of_one_version_with_two_contents_is_refused(project: Path, tmp_path: Path) -> None:
    """Both releases would have it at one place; the status is 6, and nothing is written."""
    old, new = tmp_path / "old", tmp_path / "new"
    for root, version in ((old, "0.1.0"), (new, "0.2.0")):
        shutil.copytree(project / "build/release/hello", root, symlinks=True)
        for other in ("0.1.0", "0.2.0", "0.3.0"):
            if other != version:
                shutil.rmtree(root / "releases" / other)
    place = ReleaseDirectory(new).version("0.2.0")
    index = json.loads(place.code_index.read_text())
    index["distributions"]["hello"] = f"hello-0.1.0-{TAG}/hello-0.1.0.dist-info"
    place.code_index.write_text(json.dumps(index))
    rel = json.loads(place.rel("hello").read_text())
    rel["applications"] = [{**a, "version": "0.1.0"} if a["name"] == "hello" else a for a in rel["applications"]]
    place.rel("hello").write_text(json.dumps(rel))
    sealed = manifest.read(place.manifest)
    renamed = {
        path.replace(f"lib/hello-0.2.0-{TAG}/", f"lib/hello-0.1.0-{TAG}/"): entry
        for path, entry in sealed.files.items()
    }
    place.manifest.write_text(
        manifest.dump(
            manifest.Manifest(sealed.name, sealed.version, sealed.target, sealed.interpreter, renamed, sealed.glibc)
        )
    )

    done = underway("relup", "--target", new, "--upfrom", old, "--outdir", tmp_path, cwd=project)

    assert (done.returncode, (tmp_path / "relup").exists()) == (6, False)
    assert "hello is 0.1.0 in both, with other files" in done.stdout
    assert "there is no relup: a change is refused" in done.stderr


def test_what_makes_no_sense_is_refused(project: Path) -> None:
    """No release to come from; one and the same version; a directory that holds several: each with its status and its words."""
    places = releases(project)
    for arguments, status, said in (
        (("--target", places / "0.2.0"), 2, "name at least one release by --fromto, --upfrom or --downto"),
        (("--target", places / "0.2.0", "--upfrom", places / "0.2.0"), 1, "both are hello 0.2.0"),
        (("--target", places.parent, "--upfrom", places / "0.2.0"), 2, "holds 3 versions; name the one that is meant"),
    ):
        done = underway("relup", *arguments, cwd=project)

        assert (done.returncode, done.stdout) == (status, "")
        assert said in done.stderr


def test_a_release_holds_its_relup_and_no_stale_one(tmp_path: Path) -> None:
    """Built once more, a release holds the relup that was made for it; with other contents or another version it has none."""
    root = write_project(
        tmp_path / "hello", TOOL, files={"src/hello/__init__.py": OLD, "src/hello/limits.py": "LIMIT = 3\n"}
    )
    place = build(root) / "releases"
    edit(root, "0.2.0", {"limits.py": "LIMIT = 4\n"})
    build(root)
    before = manifest.read(place / "0.2.0/manifest.json")
    made = underway("relup", "--target", place / "0.2.0", "--fromto", place / "0.1.0", cwd=root)
    assert made.returncode == 0, made.stderr

    build(root, "--overwrite")

    sealed = manifest.read(place / "0.2.0/manifest.json")
    assert manifest.plan_id(sealed) == before.release_id != sealed.release_id
    assert relup.read(place / "0.2.0/relup").target_id == before.release_id
    assert (place / "0.2.0/build.config").read_bytes() == (place / "0.2.0/sys.config").read_bytes()
    preboot = read_script(place / "0.2.0/preboot.script").instructions
    assert [each for each in preboot if isinstance(each, Start)] == [Start("underway_runtime", "permanent")]
    assert any(f"$RELEASE_LIB/hello-0.2.0-{TAG}" in each.directories for each in preboot if isinstance(each, CodePath))

    for version, files in (("0.2.0", {"limits.py": "LIMIT = 5\n"}), ("0.3.0", {"limits.py": "LIMIT = 4\n"})):
        edit(root, version, files)
        done = underway("release", "--overwrite", cwd=root)

        assert done.returncode == 0, done.stderr
        assert "relup is not used: it is for hello 0.2.0 (from 0.1.0 and back to 0.1.0)" in done.stderr
        assert f"releases/{version}/relup" not in manifest.read(place / f"{version}/manifest.json").files
        assert not (place / f"{version}/relup").exists()
        assert (root / "relup").exists()

    (root / "relup").write_text("left over from what nobody knows")
    done = underway("release", "--overwrite", cwd=root)
    assert done.returncode == 0, done.stderr
    assert "relup is not used: " in done.stderr
