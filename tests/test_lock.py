"""What may be installed is decided from the lock alone, and all that is wrong with it is said at once."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.pylock import Pylock
from packaging.tags import Tag

from underway.errors import ProjectError
from underway.project.lock import Lock, Wanted, read_lock, workspace_members
from underway.project.pylock import pylock_text
from underway.toolchain import interpreters
from wheels import locked_project, write_wheel

FIXTURES = Path(__file__).parent / "fixtures"
LOCKED = FIXTURES / "locked"
WORKSPACE = FIXTURES / "workspace"
HASH = "0" * 64


@pytest.fixture(scope="module")
def wanted() -> Wanted:
    """The running interpreter, on this machine."""
    python = interpreters.describe(Path(sys.executable))
    return Wanted(python.executable, interpreters.markers(python), interpreters.tags(python))


def write_lock(root: Path, packages: str, lines: str = "", name: str = "pylock.toml") -> Path:
    """A virtual project with a lock that holds `packages`."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "1"\n', encoding="utf-8")
    (root / name).write_text(f'lock-version = "1.0"\ncreated-by = "test"\n{lines}\n{packages}', encoding="utf-8")
    return root


def package(name: str, *files: str, version: str = "1.0", lines: str = "", hashes: str = f'sha256 = "{HASH}"') -> str:
    """An entry of a lock with wheels and sdists of these names."""

    def table(file: str) -> str:
        return f'{{ url = "https://example.org/{file}", upload-time = 2026-01-01T00:00:00Z, hashes = {{ {hashes} }} }}'

    text = f'[[packages]]\nname = "{name}"\nversion = "{version}"\n{lines}\n'
    if wheels := [table(file) for file in files if file.endswith(".whl")]:
        text += f"wheels = [{', '.join(wheels)}]\n"
    for file in files:
        if file.endswith(".tar.gz"):
            text += f"sdist = {table(file)}\n"
    return text + "\n"


def names(lock: Lock) -> list[str]:
    return [package.name for package in lock.packages]


def refusal(root: Path, wanted: Wanted, release: str = "r") -> str:
    with pytest.raises(ProjectError) as caught:
        read_lock(root, release, wanted)
    return str(caught.value)


def test_a_uv_lock_gives_what_the_project_depends_on_and_the_project_itself(wanted: Wanted) -> None:
    """Every dependency comes as one wheel with its hash, the project as what is to be built; groups and extras don't."""
    lock = read_lock(LOCKED, "locked", wanted)

    assert [(p.name, p.kind) for p in lock.packages] == [
        ("h11", "wheel"),
        ("locked", "local"),
        ("markupsafe", "wheel"),
        ("typing-extensions", "wheel"),
    ]
    assert [p.project for p in lock.packages if p.kind == "local"] == [LOCKED]
    assert all(
        len(p.entry["wheels"]) == 1 and p.entry["wheels"][0]["hashes"]["sha256"]
        for p in lock.packages
        if p.kind == "wheel"
    )
    assert lock.path == LOCKED / "uv.lock"
    assert lock.sha256 == hashlib.sha256((LOCKED / "uv.lock").read_bytes()).hexdigest()
    assert lock.requirements == ("locked",)


def test_groups_and_extras_ship_only_when_they_are_named(wanted: Wanted) -> None:
    """A named group and a named extra add what they name; the group dev still does not ship."""
    lock = read_lock(LOCKED, "locked", replace(wanted, groups=("ops",), extras=("cli",)))

    assert names(lock) == ["click", "h11", "iniconfig", "locked", "markupsafe", "typing-extensions"]
    assert lock.requirements == ("locked[cli]", "iniconfig")


def test_a_group_or_extra_that_the_project_lacks_is_refused(wanted: Wanted) -> None:
    """Naming what is not there is an error in uv's own words."""
    assert "Group `opps`" in refusal(LOCKED, replace(wanted, groups=("opps",)))
    assert "Extra `opps`" in refusal(LOCKED, replace(wanted, extras=("opps",)))


def test_the_first_lock_of_three_is_used(wanted: Wanted, tmp_path: Path) -> None:
    """A lock for the release comes before the project's pylock.toml, and that before uv.lock."""
    root = shutil.copytree(LOCKED, tmp_path / "locked")
    write_lock(tmp_path / "other", package("six", "six-1.0-py3-none-any.whl"))
    found = [read_lock(root, "r", wanted).path.name]
    for name in ("pylock.toml", "pylock.r.toml"):
        shutil.copy(tmp_path / "other/pylock.toml", root / name)
        found.append(read_lock(root, "r", wanted).path.name)

    assert found == ["uv.lock", "pylock.toml", "pylock.r.toml"]


def test_the_lock_of_another_release_is_not_used(wanted: Wanted, tmp_path: Path) -> None:
    """pylock.NAME.toml is for the release NAME only."""
    write_lock(tmp_path, "packages = []", name="pylock.other.toml")

    assert "has no lock" in refusal(tmp_path, wanted)


def test_a_project_without_a_lock_is_told_how_to_make_one(wanted: Wanted, tmp_path: Path) -> None:
    """No lock: the one command that makes it."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "1"\n')

    assert refusal(tmp_path, wanted).endswith("make one with `uv lock`")


def test_a_stale_lock_is_refused_and_left_as_it_is(wanted: Wanted, tmp_path: Path) -> None:
    """A uv.lock that no longer fits pyproject.toml is not renewed behind anyone's back."""
    root = shutil.copytree(LOCKED, tmp_path / "locked")
    text = (root / "pyproject.toml").read_text()
    (root / "pyproject.toml").write_text(text.replace('"h11", ', ""))

    assert "renew it with `uv lock`" in refusal(root, wanted)
    assert (root / "uv.lock").read_bytes() == (LOCKED / "uv.lock").read_bytes()


def test_all_that_is_wrong_is_said_at_once(wanted: Wanted, tmp_path: Path) -> None:
    """Each package that can't be installed is in the one error, with what to do about it."""
    root = write_lock(
        tmp_path,
        package("nohash", "nohash-1.0-py3-none-any.whl", hashes="")
        + '[[packages]]\nname = "nokey"\nversion = "1.0"\nsdist = { url = "https://example.org/nokey-1.0.tar.gz" }\n'
        + package("source", "source-1.0.tar.gz")
        + package("windows", "windows-1.0-cp311-cp311-win_amd64.whl", "windows-1.0.tar.gz")
        + package("old", "old-1.0-cp27-none-any.whl")
        + package("young", "young-1.0-py3-none-any.whl", lines='requires-python = ">=3.99"')
        + package("twice", "twice-1.0-py3-none-any.whl")
        + package("twice", "twice-2.0-py3-none-any.whl", version="2.0")
        + '[[packages]]\nname = "forge"\nvcs = { type = "git", url = "https://example.org/f", commit-id = "abc" }\n'
        + f'[[packages]]\nname = "direct"\narchive = {{ path = "direct-1.0.tar.gz", hashes = {{ sha256 = "{HASH}" }} }}\n'
        + f'[[packages]]\nname = "far"\narchive = {{ path = "far-1-cp1-none-any.whl", hashes = {{ sha256 = "{HASH}" }} }}\n',
    )

    message = refusal(root, replace(wanted, build_sdists=("sourc", "old")))

    best, python = wanted.tags[0], wanted.environment["python_full_version"]
    for line in (
        "nohash 1.0 has a wheel without a hash; make the lock with hashes, as `uv export` does",
        "nokey 1.0 has an sdist without a hash; make the lock with hashes, as `uv export` does",
        'source 1.0 has no wheel, only source; to have it built here, write build-sdists = ["source"]',
        (
            f"windows 1.0 has no wheel for this interpreter, which takes {best} and what is older or more general;"
            ' the lock has cp311-cp311-win_amd64; to build it from its sdist, write build-sdists = ["windows"]'
        ),
        f"old 1.0 has no wheel for this interpreter, which takes {best} and what is older or more general; the lock has cp27-none-any",
        f"young 1.0 is for Python >=3.99, and the interpreter is {python}",
        "twice is there twice for this interpreter; its markers must tell them apart",
        "forge comes from git (https://example.org/f), which no hash pins; lock a wheel of it, or make it part of this project",
        'direct has no wheel, only source; to have it built here, write build-sdists = ["direct"]',
        f"far has no wheel for this interpreter, which takes {best} and what is older or more general; the lock has cp1-none-any",
        "it has no 'sourc', which build-sdists names; did you mean 'source'?",
    ):
        assert f"\n  - {line}\n" in f"{message}\n"
    assert message.count("\n") == 11


@pytest.mark.parametrize("name", ["elsewhere", "Else.Where-2", "grouped", "nothing-like-it"])
def test_build_sdists_may_name_what_this_release_does_not_hold(
    wanted: Wanted, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Locked for another platform, or in a group that does not ship: nothing is said. Not locked at all: a warning."""
    root = write_lock(
        tmp_path,
        package("here", "here-1.0-py3-none-any.whl")
        + package("elsewhere", "elsewhere-1.0.tar.gz", lines="marker = \"sys_platform == 'win32'\"")
        + package("else-where-2", "else_where_2-1.0.tar.gz", lines="marker = \"sys_platform == 'win32'\"")
        + package("grouped", "grouped-1.0.tar.gz", lines="marker = \"'docs' in dependency_groups\""),
    )

    lock = read_lock(root, "r", replace(wanted, build_sdists=(name,)))

    assert [each.name for each in lock.packages] == ["here"]
    warned = [record.getMessage() for record in caplog.records]
    assert warned == (
        [f"build-sdists names '{name}', which {lock.path} does not hold"] if name == "nothing-like-it" else []
    )


def test_many_wheels_of_other_platforms_are_told_shortly(wanted: Wanted, tmp_path: Path) -> None:
    """A distribution with a hundred wheels does not fill the screen."""
    files = [f"w-1.0-cp3{minor}-cp3{minor}-win_amd64.whl" for minor in range(10, 30)]
    root = write_lock(tmp_path, package("w", *files))

    assert "cp313-cp313-win_amd64 and 16 more" in refusal(root, wanted)


def test_a_distribution_named_in_build_sdists_is_taken_from_source(wanted: Wanted, tmp_path: Path) -> None:
    """Naming it means building it, from the locked sdist, also where there would be a wheel."""
    root = write_lock(tmp_path, package("a", "a-1.0-py3-none-any.whl", "a-1.0.tar.gz") + package("b_", "b-1.0.tar.gz"))
    (root / "pylock.toml").write_text((root / "pylock.toml").read_text().replace("b_", "b"))
    lock = read_lock(root, "r", replace(wanted, build_sdists=("A", "b")))

    assert [(p.name, p.kind) for p in lock.packages] == [("a", "sdist"), ("b", "sdist")]
    assert [list(p.entry) for p in lock.packages] == [["name", "version", "sdist"]] * 2


def test_a_distribution_without_an_sdist_cannot_be_built(wanted: Wanted, tmp_path: Path) -> None:
    """build-sdists that names what has only wheels is refused, not ignored."""
    root = write_lock(tmp_path, package("a", "a-1.0-py3-none-any.whl"))

    assert "a 1.0 is named in build-sdists, and the lock has no sdist of it" in refusal(
        root, replace(wanted, build_sdists=("a",))
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('lock-version = "2.0"\n', "lock-version 2.0; this underway reads 1.x"),
        ("packages = []\n", "it has no lock-version"),
        ("lock-version = \n", "is not TOML"),
        ('lock-version = "1.0"\ncreated-by = "x"\n', "it has no list of packages"),
        ('lock-version = "1.0"\npackages = []\n', "created-by"),
        (
            'lock-version = "1.0"\ncreated-by = "x"\nrequires-python = ">=3.99"\npackages = []\n',
            "it is for Python >=3.99",
        ),
        (
            'lock-version = "1.0"\ncreated-by = "x"\nenvironments = ["sys_platform == \'win32\'"]\npackages = []\n',
            'it is for other environments than this one: sys_platform == "win32"',
        ),
    ],
)
def test_a_lock_that_is_not_for_us_is_refused(wanted: Wanted, tmp_path: Path, text: str, said: str) -> None:
    """Another format, another version of it, another interpreter: one sentence says which."""
    write_lock(tmp_path, "")
    (tmp_path / "pylock.toml").write_text(text)

    assert said in refusal(tmp_path, wanted)


def test_markers_extras_and_groups_of_a_pylock_decide(wanted: Wanted, tmp_path: Path) -> None:
    """What a marker excludes stays out; a group or extra comes when named; the default groups are the project itself."""
    wheel = "{0}-1.0-py3-none-any.whl"
    root = write_lock(
        tmp_path,
        "".join(
            package(name, wheel.format(name), lines=f'marker = "{marker}"')
            for name, marker in {
                "win": "sys_platform == 'win32'",
                "nix": "sys_platform != 'win32'",
                "core": "'main' in dependency_groups",
                "dev": "'dev' in dependency_groups",
                "fast": "'fast' in extras",
            }.items()
        ),
        'extras = ["fast"]\ndependency-groups = ["dev"]\ndefault-groups = ["main"]',
    )

    assert names(read_lock(root, "r", wanted)) == ["core", "nix"]
    assert names(read_lock(root, "r", replace(wanted, groups=("dev",)))) == ["core", "dev", "nix"]
    assert names(read_lock(root, "r", replace(wanted, extras=("Fast",)))) == ["core", "fast", "nix"]
    message = refusal(root, replace(wanted, groups=("deb",), extras=("fats",)))
    assert "it has no group 'deb'; did you mean 'dev'?" in message
    assert "it has no extra 'fats'; did you mean 'fast'?" in message


def test_directories_become_projects_to_build(wanted: Wanted, tmp_path: Path) -> None:
    """A path in the lock is built, never installed editable; a project with nothing to build is left out."""
    root = write_lock(
        tmp_path / "p",
        '[[packages]]\nname = "lib"\ndirectory = { path = "../lib", editable = true }\n'
        '[[packages]]\nname = "virtual"\ndirectory = { path = "../virtual" }\n',
    )
    for name, lines in {"lib": '[build-system]\nrequires = ["uv_build"]\n', "virtual": ""}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "1"\n{lines}')

    assert [(p.name, p.kind, p.project) for p in read_lock(root, "r", wanted).packages] == [
        ("lib", "local", tmp_path / "lib")
    ]


def test_a_lock_without_its_own_project_still_ships_it(wanted: Wanted, tmp_path: Path) -> None:
    """`uv pip compile` writes locks without the project that they are of; it is built all the same."""
    root = write_lock(tmp_path, package("six", "six-1.0-py3-none-any.whl"))
    with (root / "pyproject.toml").open("a") as file:
        file.write('[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n')

    assert [(p.name, p.kind) for p in read_lock(root, "r", wanted).packages] == [("p", "local"), ("six", "wheel")]


def test_a_virtual_project_asks_for_its_dependencies(wanted: Wanted, tmp_path: Path) -> None:
    """Where the project itself is nothing to install, its requirements and extras stand in its place."""
    root = write_lock(tmp_path, package("six", "six-1.0-py3-none-any.whl"), 'extras = ["x"]\ndependency-groups = ["g"]')
    (root / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\ndependencies = ["six[a]"]\n'
        'optional-dependencies = { X = ["b"], y = ["c"] }\n[dependency-groups]\ng = [{ include-group = "h" }]\nh = ["d"]\n'
    )

    lock = read_lock(root, "r", replace(wanted, extras=("x",), groups=("g",)))

    assert lock.requirements == ("six[a]", "b", "d")


def test_a_member_of_a_workspace_uses_the_lock_of_the_workspace(wanted: Wanted) -> None:
    """Made from a member's directory, a release takes that member and what it needs from the lock at the root."""
    lock = read_lock(WORKSPACE / "members/web", "web", wanted)

    assert lock.path == WORKSPACE / "uv.lock"
    assert [(p.name, p.project) for p in lock.packages if p.kind == "local"] == [
        ("store", WORKSPACE / "members/store"),
        ("web", WORKSPACE / "members/web"),
    ]
    assert lock.requirements == ("web",)


def test_an_umbrella_ships_the_members_that_are_named(wanted: Wanted) -> None:
    """From the root of a workspace only the named members and what they need ship; virtual ones have nothing to build."""
    assert list(workspace_members(WORKSPACE)) == ["store", "tools", "web"]
    assert names(read_lock(WORKSPACE, "r", replace(wanted, members=("store",)))) == ["h11", "store"]
    both = read_lock(WORKSPACE, "r", replace(wanted, members=("store", "tools")))
    assert names(both) == ["h11", "iniconfig", "store"]
    assert both.requirements == ("store", "iniconfig")


def test_a_member_that_the_workspace_lacks_is_refused(wanted: Wanted) -> None:
    """The likely member is named."""
    assert "'wep'; did you mean 'web'?" in refusal(WORKSPACE, replace(wanted, members=("wep",)))


def test_what_uv_installs_from_leaves_nothing_to_choose(wanted: Wanted, tmp_path: Path) -> None:
    """The lock that is handed to uv is valid, names one artefact each, and can be read from any directory."""
    wheel = write_wheel(tmp_path / "files", "odd", {"odd.py": ""})
    root = locked_project(
        tmp_path / "p", [wheel], packages=package("six", "six-1.0-py2-none-any.whl", "six-1.0-py3-none-any.whl")
    )
    text = pylock_text(read_lock(root, "r", wanted).packages)

    odd, six = Pylock.from_dict(tomllib.loads(text)).packages
    assert odd.archive is not None
    assert Path(odd.archive.path or "").resolve() == wheel
    assert [w.filename for w in six.wheels or ()] == ["six-1.0-py3-none-any.whl"]
    assert "upload-time" not in text
    assert Pylock.from_dict(tomllib.loads(pylock_text([]))).packages == []


def test_the_best_wheel_is_chosen(wanted: Wanted, tmp_path: Path) -> None:
    """Of several that fit, the one that the interpreter likes best."""
    ours = wanted.tags[0]
    root = write_lock(tmp_path, package("six", "six-1.0-py3-none-any.whl", f"six-1.0-{ours}.whl"))

    [six] = read_lock(root, "r", wanted).packages
    assert six.entry["wheels"][0]["url"].endswith(f"{ours}.whl")
    [six] = read_lock(root, "r", replace(wanted, tags=[Tag("py3", "none", "any")])).packages
    assert six.entry["wheels"][0]["url"].endswith("py3-none-any.whl")
