"""Nothing in a release loads what is outside of it: held against real binaries, after the place that they came from is gone."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import binaries
from binaries import is_true, library, load, make_release, program, record, run
from underway.errors import BuildError
from underway.project.options import Options
from underway.release import Release
from underway.steps.binaries import closed_world, elf
from underway.steps.binaries.closed_world import close

pytestmark = pytest.mark.needs_tool("gcc", "gcc")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which this machine has libraries."""
    place = tmp_path / "this machine"
    place.mkdir()
    monkeypatch.setenv("LD_LIBRARY_PATH", str(place))
    return place


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """A release of one application, ``app``, in a directory with a space in its name."""
    return make_release(tmp_path / "a release", "app")


def home(release: Release, name: str = "app") -> Path:
    """The directory of an application."""
    return release.path / f"lib/{name}-1.0"


def moved(release: Release, here: Path) -> Release:
    """The release elsewhere, with what this machine had gone."""
    shutil.rmtree(here)
    target = release.path.with_name("moved")
    release.path.rename(target)
    return replace(release, path=target, version_path=target / "releases/1.0")


def test_what_a_module_needs_is_bundled_with_all_that_it_needs_in_turn(release: Release, here: Path) -> None:
    """A library of this machine goes to the interpreter's, and is found there when this machine's is gone."""
    far = library(here / "libfar.so.1")
    near = library(here / "libnear.so.2", far)
    module = library(home(release) / "app/module.so", near)
    before = module.read_bytes(), module.stat().st_ino

    close(release)

    assert (module.read_bytes(), module.stat().st_ino) == before, "a wheel's file is not touched without need"
    release = moved(release, here)
    maps = load(release, home(release) / "app/module.so")
    assert f"{release.path}/python-{binaries.VERSION}/lib/libfar.so.1" in maps
    assert f"{release.path}/python-{binaries.VERSION}/lib/libnear.so.2" in maps


def test_a_runpath_becomes_an_rpath(release: Release, here: Path) -> None:
    """What is next to the module is still found there, what is not, in the interpreter's lib; RECORD tells the truth."""
    beside = library(home(release) / "app/libbeside.so.1")
    module = library(home(release) / "app/module.so", beside, library(here / "libfar.so.1"), runpath="$ORIGIN")
    record(home(release))
    before = module.read_bytes()

    close(release)

    after = module.read_bytes()
    assert len(before) == len(after)
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1
    assert is_true(home(release))
    release = moved(release, here)
    maps = load(release, home(release) / "app/module.so")
    assert f"{release.path}/lib/app-1.0/app/libbeside.so.1" in maps
    assert f"{release.path}/python-{binaries.VERSION}/lib/libfar.so.1" in maps


def test_the_environment_cannot_bring_other_libraries_in(release: Release, tmp_path: Path) -> None:
    """LD_LIBRARY_PATH comes before a RUNPATH, and after what a release has."""
    beside = library(home(release) / "libbeside.so.1")
    module = library(home(release) / "module.so", beside, runpath="$ORIGIN")
    other = shutil.copyfile(beside, tmp_path / beside.name)

    close(release)

    maps = run([binaries.interpreter(release), module], LD_LIBRARY_PATH=str(tmp_path))
    assert str(beside) in maps
    assert str(other) not in maps


def test_a_wheel_that_has_all_it_needs_is_not_touched(release: Release) -> None:
    """Neither its binaries nor its RECORD are written."""
    libs = home(release) / "app.libs"
    handed_down = library(libs / "libinner-5f3a.so.1")
    middle = library(libs / "libmiddle-77ab.so.1", handed_down)
    outer = library(libs / "libouter-0c1d.so.1", middle, rpath="$ORIGIN")
    module = library(home(release) / "app/module.so", outer, rpath="$ORIGIN/../app.libs")
    elf.set_rpath([middle], None)
    library(home(release) / "app/loads.so", middle, handed_down, rpath="$ORIGIN/../app.libs")
    record(home(release))
    before = {path: path.stat().st_mtime_ns for path in home(release).rglob("*")}

    close(release)

    assert {path: path.stat().st_mtime_ns for path in home(release).rglob("*")} == before
    assert list((release.path / f"python-{binaries.VERSION}/lib").iterdir()) == []
    load(release, module)


def test_other_links_to_a_file_keep_it_as_it_was(release: Release, here: Path, tmp_path: Path) -> None:
    """A wheel's file may be a hard link to a cache's, or to another release's."""
    module = library(tmp_path / "cache/module.so", library(here / "libfar.so.1"), runpath="$ORIGIN:/opt/far")
    before = module.read_bytes()
    module.chmod(0o755)
    os.link(module, home(release) / "module.so")

    close(release)

    assert module.read_bytes() == before
    assert (home(release) / "module.so").read_bytes() != before
    assert (home(release) / "module.so").stat().st_mode == module.stat().st_mode


def test_an_application_is_the_same_in_every_release(tmp_path: Path, here: Path) -> None:
    """How a wheel's binaries are changed does not depend on what else is in the release."""
    far = library(here / "libfar.so.1")
    one, other = make_release(tmp_path / "one", "app"), make_release(tmp_path / "other", "app", "more")
    library(home(other, "more") / "libmore.so", far)
    shutil.copyfile(far, other.path / f"python-{binaries.VERSION}/lib/libfar.so.1")
    module = library(home(one) / "module.so", far, runpath="$ORIGIN:/opt")
    shutil.copyfile(module, home(other) / "module.so")
    for release in (one, other):
        record(home(release))
        close(release)

    files = [{path.name: path.read_bytes() for path in home(r).rglob("*") if path.is_file()} for r in (one, other)]
    assert files[0] == files[1]


@pytest.mark.parametrize("entry", ["/opt/build/lib", "", "lib", "$ORIGIN/../../../../lib", "$LIB/x"])
def test_places_outside_are_not_looked_into(release: Release, here: Path, entry: str) -> None:
    """Absolute ones, the current directory, and what leaves the release go; others stay."""
    library(here / "libfar.so.1")
    module = library(home(release) / "app/module.so", rpath=f"{entry}:$ORIGIN/libs")

    close(release)

    assert elf.rpath(module) == ("$ORIGIN/libs",)


def test_a_library_is_found_where_its_build_had_it(release: Release, tmp_path: Path) -> None:
    """What was linked here against a library in a place of its own is closed over that."""
    far = library(tmp_path / "opt/libfar.so.1")
    library(home(release) / "module.so", far, runpath=str(far.parent))

    close(release)

    release = moved(release, far.parent)
    load(release, home(release) / "module.so")


def test_what_nobody_has_is_refused_at_once_with_a_way_out(release: Release, here: Path) -> None:
    """The error lists every library and what needs it, and the option that lets it be."""
    gone = [library(here / f"lib{name}.so.1") for name in ("one", "two")]
    library(home(release) / "app/first.so", gone[0])
    library(home(release) / "app/second.so", gone[1], rpath="$ORIGIN")
    for path in gone:
        path.unlink()

    with pytest.raises(BuildError) as refused:
        close(release)

    said = str(refused.value)
    assert "lib/app-1.0/app/first.so needs libone.so.1" in said
    assert "lib/app-1.0/app/second.so needs libtwo.so.1" in said
    assert 'host-libraries = ["libone.so.1", "libtwo.so.1"]' in said


def test_what_is_the_host_s_may_stay_outside(release: Release, here: Path) -> None:
    """What the option names, and drivers, are neither bundled, though they are here, nor refused."""
    library(home(release) / "cuda.so", library(here / "libcuda.so.1"), library(here / "libnvidia-ml.so.1"))
    gone = library(here / "libtbb.so.12")
    library(home(release) / "tbb.so", gone, runpath="$ORIGIN")
    gone.unlink()

    close(replace(release, options=Options(host_libraries=["libtbb.so.*"], strip=False)))

    assert list((release.path / f"python-{binaries.VERSION}/lib").iterdir()) == []


def test_a_program_in_an_application_has_its_own_libraries(release: Release, here: Path) -> None:
    """It starts wherever its directory is, with any interpreter, and RECORD lists what came along."""
    far = library(here / "libfar.so.1")
    inner = library(home(release) / "app/libinner.so", library(here / "libnear.so.1", far))
    program(home(release) / "app/bin/tool", inner, runpath="$ORIGIN/..")
    record(home(release))

    changed = close(release).changed

    assert {path.rpartition("/")[2] for path in changed} >= {"tool", "libnear.so.1", "libfar.so.1", "RECORD"}
    assert is_true(home(release))
    release = moved(release, here)
    shutil.rmtree(release.path / f"python-{binaries.VERSION}")
    maps = run([home(release) / "app/bin/tool"])
    assert f"{home(release)}/{closed_world.LIBRARIES}/libfar.so.1" in maps


def test_a_program_in_the_prefix_uses_the_interpreter_s_libraries(release: Release, here: Path) -> None:
    """What a wheel put into bin is in releases/V, which belongs to one release."""
    tool = program(release.version_path / "bin/tool", library(here / "libfar.so.1"))

    close(release)

    assert elf.rpath(tool) == (f"$ORIGIN/../../../python-{binaries.VERSION}/lib",)
    release = moved(release, here)
    run([release.version_path / "bin/tool"])


def test_a_place_is_handed_down_to_what_a_library_loads(release: Release, here: Path) -> None:
    """A library that only finds what it needs by its loader's RPATH is not closed over this machine's."""
    inner = library(home(release) / "inner/libinner.so.1")
    middle = library(home(release) / "middle/libmiddle.so.1", inner)
    outer = library(home(release) / "outer.so", middle, rpath="$ORIGIN/middle:$ORIGIN/inner")
    shutil.copyfile(inner, here / inner.name)

    close(release)

    assert list((release.path / f"python-{binaries.VERSION}/lib").iterdir()) == []
    load(release, outer)


def test_a_release_may_be_made_behind_a_link(release: Release, here: Path) -> None:
    """The loader tells where things really are."""
    real = release.path.rename(release.path.with_name("really"))
    release.path.symlink_to(real)
    library(home(release) / "module.so", library(here / "libfar.so.1"), runpath="$ORIGIN")

    close(release)

    load(release, home(release) / "module.so")


@pytest.mark.parametrize("way", ["elsewhere/../a release", "link/../../a release"])
def test_a_release_may_be_made_at_a_path_that_goes_up(release: Release, here: Path, way: str) -> None:
    """What a binary says of its own application's directory is kept, however the way there is written."""
    (release.path.parent / "elsewhere").mkdir()
    (release.path.parent / "far/away").mkdir(parents=True)
    (release.path.parent / "link").symlink_to("far/away")
    near = library(home(release) / "app.libs/libnear.so.2")
    library(home(release) / "app/module.so", near, runpath="$ORIGIN/../app.libs")
    path = release.path.parent / way
    written = replace(release, path=path, version_path=path / "releases/1.0")

    outcome = close(written)

    assert outcome.changed >= {"lib/app-1.0/app/module.so"}
    release = moved(release, here)
    assert f"{home(release)}/app.libs/libnear.so.2" in load(release, home(release) / "app/module.so")


def test_what_no_process_of_the_release_loads_is_left_alone(release: Release, here: Path) -> None:
    """Binaries for other processors and for musl are cargo."""
    other = library(home(release) / "other.so", library(here / "libgone.so.1"), runpath="/opt")
    content = bytearray(other.read_bytes())
    content[18:20] = (0x1234).to_bytes(2, "little")
    other.write_bytes(content)
    library(home(release) / "musl.so", library(here / "libc.musl-x86_64.so.1"), runpath="/opt")
    shutil.rmtree(here)

    close(release)

    assert other.read_bytes() == bytes(content)


def test_the_glibc_floor_is_that_of_everything(release: Release) -> None:
    """It is the newest that any binary names, whoever brought it, and is written down with the interpreter's loader."""
    shutil.copyfile("/proc/self/exe", home(release) / "tool")

    done = close(release)

    files = [path for path in release.path.rglob("*") if path.is_file() and elf.is_elf(path)]
    floors = {path: elf.read(path).glibc or () for path in files}
    assert len(set(floors.values())) > 1
    assert done.glibc == ".".join(map(str, max(floors.values())))
    said = (release.version_path / "glibc").read_text()
    assert said == f"{done.glibc} {elf.loader(binaries.interpreter(release))}\n"


def test_the_loader_has_the_last_word(release: Release, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would load from outside is refused, whatever we made of the headers."""
    library(home(release) / "module.so", library(here / "libfar.so.1"))
    monkeypatch.setattr(closed_world, "_missing", lambda world: iter(()))

    with pytest.raises(BuildError, match=r"module\.so loads no libfar\.so\.1: there is none"):
        close(release)


def test_without_an_interpreter_only_places_outside_go(release: Release, here: Path) -> None:
    """Such a release uses the libraries of the host that has the interpreter."""
    module = library(home(release) / "module.so", library(here / "libfar.so.1"), rpath="/opt")
    shutil.rmtree(release.path / f"python-{binaries.VERSION}")

    close(replace(release, interpreter_source=None))

    assert elf.rpath(module) == ()
    assert (release.version_path / "glibc").read_text().endswith(" \n")
    assert not (release.path / f"python-{binaries.VERSION}").exists()


def test_closing_again_changes_nothing(release: Release, here: Path) -> None:
    """A step that runs again finds its own work done."""
    far = library(here / "libfar.so.1")
    library(home(release) / "module.so", far, runpath="/opt")
    program(home(release) / "tool", far)
    record(home(release))
    close(release)
    before = {path: path.stat().st_mtime_ns for path in release.path.rglob("*") if path.name != "glibc"}

    assert close(release).changed == frozenset()
    assert {path: path.stat().st_mtime_ns for path in before} == before
