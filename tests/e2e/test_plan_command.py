"""underway plan, with real releases, projects and git revisions."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from projects import build, underway, write_project

pytestmark = [pytest.mark.e2e, pytest.mark.needs_tool("git", "git"), pytest.mark.timeout(300)]

OLD = "LIMIT = 10\n\ndef size():\n    return LIMIT\n\ndef main():\n    print('hello', flush=True)\n"
HOT = OLD.replace("return LIMIT", "return LIMIT + 1")
RESTART = OLD.replace("LIMIT = 10", "LIMIT = open('/etc/hostname').read()")


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def write(root: Path, source: str, version: str = "0.1.0") -> None:
    (root / "src/hello/__init__.py").write_text(source)
    for name, before in (("pyproject.toml", ""), ("uv.lock", 'name = "hello"\n')):
        text = (root / name).read_text()
        for known in ("0.1.0", "0.2.0"):
            text = text.replace(f'{before}version = "{known}"', f'{before}version = "{version}"')
        (root / name).write_text(text)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with three commits: 0.1.0, a changed body in 0.2.0, a changed file that is read in 0.2.0; 0.1.0 is built."""
    root = write_project(tmp_path_factory.mktemp("plan") / "hello")
    (root / ".gitignore").write_text("/build\n")
    git(root, "init", "--quiet", "--initial-branch", "main")
    for source, version in ((OLD, "0.1.0"), (HOT, "0.2.0"), (RESTART, "0.2.0")):
        write(root, source, version)
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message", version)
    write(root, OLD)
    build(root)
    return root


def seen(root: Path) -> set[str]:
    """What is in the project, and in what git keeps of it; the working tree has been looked at before."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


def test_the_project_as_it_is_is_compared_with_what_stands_at_its_path(project: Path, tmp_path: Path) -> None:
    """Without a word: verdict, changes and way back; the page is where it was asked for, and nothing is left in the project."""
    write(project, HOT, "0.2.0")
    git(project, "status")
    before = seen(project)

    done = underway("plan", "--html", tmp_path / "plan.html", cwd=project)

    assert done.returncode == 0, done.stderr
    assert "hello 0.1.0 -> 0.2.0: HOT, in place" in done.stdout
    assert "from build/release/hello/releases/0.1.0 to the project as it is" in done.stdout
    assert "HOT      hello:size  body  hello/__init__.py:3" in done.stdout
    assert "Way back: HOT" in done.stdout
    assert "hello:size" in (tmp_path / "plan.html").read_text()
    assert seen(project) == before


def test_git_revisions_are_built_elsewhere(project: Path) -> None:
    """Two of them, by any name that git knows; what the working tree holds is of no account, and the repository is as it was."""
    write(project, "this is not Python", "0.1.0")
    git(project, "status")
    before = seen(project)

    done = underway("plan", "main~2", "main~1", "--json", cwd=project)

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["verdict"], document["from"]["version"], document["to"]["version"]) == ("HOT", "0.1.0", "0.2.0")
    assert document["to"]["source"] == f"main~1 ({git(project, 'rev-parse', 'main~1')[:12]})"
    assert [each["definition"] for each in document["changes"]] == ["size"]
    assert seen(project) == before


@pytest.mark.sample(most=1)
@pytest.mark.parametrize(("level", "status"), [("hot", 3), ("migrate", 3), ("restart", 0)])
def test_the_status_says_whether_it_is_as_good_as_asked_for(project: Path, level: str, status: int) -> None:
    """A change that takes a fresh interpreter ends with 3 where less was asked for; the plan is printed all the same."""
    done = underway("plan", "main~1", "main", "--at-least", level, cwd=project)

    assert done.returncode == status, done.stderr
    assert "RESTART  hello:LIMIT  value  hello/__init__.py:1" in done.stdout
    assert ("error: the change is RESTART" in done.stderr) == (status == 3)


def test_a_build_that_has_no_next_version_yet_is_planned_as_if_it_had(project: Path) -> None:
    """While one works on it, the version is the one that is deployed; a note says that it has to become another."""
    write(project, HOT, "0.1.0")

    done = underway("plan", "--json", cwd=project)

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["verdict"], document["to"]["version"]) == ("HOT", "0.1.0+next")
    assert [each["definition"] for each in document["changes"]] == ["size"]
    assert "hello is 0.1.0 in both, with other files" in document["notes"][0]


def test_two_releases_of_one_version_with_other_files_are_refused(project: Path, tmp_path: Path) -> None:
    """Nobody builds those again: the status is 1 for one release version, as for `underway relup`."""
    write(project, HOT, "0.1.0")
    other = build(project, "--path", tmp_path / "other")

    done = underway("plan", project / "build/release/hello", other, cwd=project)

    assert done.returncode == 1
    assert "both are hello 0.1.0" in done.stderr


def test_all_that_is_wrong_with_the_names_is_said_at_once(project: Path, tmp_path: Path) -> None:
    """With what they could be; nothing has been built by then."""
    done = underway("plan", "nowhere", "--", "-x", cwd=project)

    assert done.returncode == 2
    assert "FROM: nowhere is not an archive, a release, a project, or a git revision" in done.stderr
    assert "TO: -x is not an archive, a release, a project, or a git revision" in done.stderr
    assert "building" not in done.stderr


def test_where_nothing_stands_at_the_path_from_has_to_be_named(project: Path, tmp_path: Path) -> None:
    """The error says what to name, and how to build one."""
    root = shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns("build"))

    done = underway("plan", cwd=root)

    assert done.returncode == 2
    assert "FROM: there is no release at build/release/hello; name an archive" in done.stderr


def test_what_does_not_build_is_told_with_what_the_build_said(project: Path, tmp_path: Path) -> None:
    """It is named, and so is what is wrong with it; a project's directory is built like a revision."""
    root = shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns("build"))
    text = (root / "pyproject.toml").read_text()
    (root / "pyproject.toml").write_text(text.replace("[tool.underway]", "[tool.underway]\nnane = 1"))

    done = underway("plan", "main~1", root, cwd=project)

    assert done.returncode == 1
    assert f"{root} can't be built" in done.stderr
    assert "unknown key 'nane'" in done.stderr
