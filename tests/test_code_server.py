"""What a release imports is what one merged site-packages would give, in every process and for every user of imports.

Each test runs the real interpreter of a small release, once for each interpreter that is installed here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from code_server_helpers import (
    RUNTIME,
    SCRIPT,
    TIMEOUT,
    Distribution,
    Interpreter,
    Release,
    directories_of,
    lay_out,
    make_release,
)

Make: TypeAlias = Callable[..., Release]


def installed() -> Iterator[Any]:
    """The interpreters to test with: the system's and pyenv's newest of each supported minor version."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in ("3.11", "3.12", "3.13"):
        system = Path(f"/usr/bin/python{minor}")
        built = sorted(pyenv.glob(f"{minor}.*/bin/python{minor}"), key=lambda path: int(path.parts[-3].split(".")[2]))
        found = [("system", system)] * system.exists() + [("pyenv", path) for path in built[-1:]]
        for source, path in found:
            yield pytest.param(path, id=f"{minor}-{source}")
        if not found:
            yield pytest.param(None, id=minor, marks=pytest.mark.skip(f"python{minor} is not installed here"))


@pytest.fixture(scope="session", params=installed())
def interpreter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    return lay_out(request.param, tmp_path_factory.mktemp("interpreter"))


@pytest.fixture
def make(interpreter: Interpreter, tmp_path: Path) -> Make:
    return lambda *distributions: make_release(tmp_path / "hello", interpreter, distributions)


HELLO = Distribution(
    "Hello.World",
    "1.2",
    {
        "hello/__init__.py": "VERSION = '1.2'\n",
        "hello/__main__.py": "import sys; print(__name__, __package__, sys.argv[1:])\n",
        "hello/greet.py": "def greet():\n    return 'hello'\nif __name__ == '__main__':\n    print(greet())\n",
        "hello/data/words.txt": "hello world",
        "alone.py": "ALONE = True\n",
    },
    entry_points="[console_scripts]\nhello = hello.greet:greet\n[greeters]\nworld = hello.greet\n",
)


# What every process has


def test_lib_is_the_one_entry_at_the_end_of_the_path(make: Make) -> None:
    """sys.path ends with lib, whatever is in it, and sys.prefix is the version's directory."""
    release = make(HELLO)

    path, prefix, executable, writes = release.told(
        "import sys; told = [sys.path, sys.prefix, sys.executable, not sys.dont_write_bytecode]", "-I"
    )

    assert path[-1] == "ROOT/lib"
    assert [entry for entry in path if entry.startswith("ROOT/lib/")] == []
    assert prefix == "ROOT/releases/1"
    assert executable == "ROOT/releases/1/bin/python"
    assert not writes


def test_starting_imports_next_to_nothing(make: Make) -> None:
    """The code server adds itself, its package and the C half of json to a process, and nothing else."""
    release = make(HELLO)
    modules = ["-I", "-c", "import sys; print(*sys.modules)"]

    all_modules = set(release.output(*modules).split())
    (start,) = release.version.glob("lib/python*/site-packages/underway.pth")
    start.unlink()

    assert all_modules - set(release.output(*modules).split()) == {
        "underway_runtime",
        "underway_runtime.node",
        "underway_runtime.node.code",
        "_json",
    }


def test_modules_have_the_ordinary_loader_file_and_pyc(make: Make) -> None:
    """A module comes from its application's directory through importlib's own loader."""
    release = make(HELLO)

    told = release.told("import hello.greet as m; told = [m.__file__, m.__cached__, type(m.__loader__).__name__]")

    assert told[0] == "ROOT/lib/hello_world-1.2/hello/greet.py"
    assert Path(told[1]).parent == Path("ROOT/lib/hello_world-1.2/hello/__pycache__")
    assert told[2] == "SourceFileLoader"


def test_pycs_of_the_build_are_used(make: Make) -> None:
    """An unchecked pyc is imported as it is; nobody looks at the source."""
    release = make(HELLO)
    compile_all = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    release.output("-I", *compile_all, str(release.lib / HELLO.directory))
    (release.lib / HELLO.directory / "alone.py").write_text("ALONE = 'changed'\n")

    assert release.told("import alone; told = alone.ALONE") is True


def test_modules_without_source_are_imported(make: Make) -> None:
    """Code that ships as pyc only is found like any other."""
    release = make(HELLO)
    place = release.lib / HELLO.directory
    release.output("-I", "-m", "compileall", "-q", "-b", str(place))
    for source in place.rglob("*.py"):
        source.unlink()

    assert release.told("import alone, hello.greet; told = hello.greet.greet()") == "hello"


def test_extension_modules_are_imported(make: Make, interpreter: Interpreter) -> None:
    """Compiled modules load from their application's directory."""
    extension = interpreter.extension
    release = make(Distribution("fast", files={f"fast/{extension.name}": extension.read_bytes()}))

    told = release.told(
        "import fast._queue as m; told = [m.__file__, type(m.__loader__).__name__, hasattr(m, 'Empty')]"
    )

    assert told == [f"ROOT/lib/fast-1.0/fast/{extension.name}", "ExtensionFileLoader", True]


def test_what_is_not_there_is_not_found_as_ever(make: Make) -> None:
    """A missing module is the usual ModuleNotFoundError, also inside packages of several applications."""
    release = make(
        Distribution("a", files={"pkg/__init__.py": "", "pkg/a.py": ""}), Distribution("b", files={"pkg/b.py": ""})
    )

    code = """
told = []
for name in ["nothing", "pkg.nothing", "pkg.a.nothing"]:
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        told.append(str(error))
"""
    assert release.told(code) == [
        "No module named 'nothing'",
        "No module named 'pkg.nothing'",
        "No module named 'pkg.a.nothing'; 'pkg.a' is not a package",
    ]


def test_what_is_earlier_on_the_path_wins(make: Make, tmp_path: Path) -> None:
    """lib is the last entry: PYTHONPATH and the current directory come before it, as before site-packages."""
    release = make(HELLO)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/alone.py").write_text("ALONE = 'mine'\n")
    code = "import alone; told = alone.ALONE"

    assert release.told(code, env={"PYTHONPATH": str(tmp_path / "mine")}) == "mine"
    assert release.told(code, cwd=tmp_path / "mine") == "mine"
    assert release.told(code, "-I", cwd=tmp_path / "mine") is True


def test_lib_on_the_path_already_is_served_too(make: Make) -> None:
    """PYTHONPATH may name lib itself, as a parent process that passes on its sys.path does."""
    release = make(HELLO)

    told = release.told(
        "import hello, sys; told = [hello.VERSION, sys.path.count(hello.__file__.partition('/hello_world')[0])]",
        env={"PYTHONPATH": str(release.lib)},
    )

    assert told == ["1.2", 1]


def test_a_moved_release_works(make: Make, tmp_path: Path) -> None:
    """Nothing names the place: the same tree works elsewhere, under a name with spaces and letters beyond ASCII."""
    release = make(HELLO)
    elsewhere = tmp_path / "an other place é"
    release.root.rename(elsewhere)

    assert (
        replace(release, root=elsewhere)
        .told("import hello; told = hello.__file__")
        .endswith("/lib/hello_world-1.2/hello/__init__.py")
    )


def test_a_release_behind_a_link_works(make: Make, tmp_path: Path) -> None:
    """Started through a link to its root, or by a crooked path, a release finds its own code."""
    release = make(HELLO)
    (tmp_path / "current").symlink_to(release.root)

    linked = replace(release, root=tmp_path / "current").told("import hello; told = hello.__file__")
    crooked = release.told("import hello; told = hello.__file__", command=f"{release.version}/bin/../bin/python")

    assert linked == crooked == "ROOT/lib/hello_world-1.2/hello/__init__.py"


def test_running_code_writes_nothing_into_the_release(make: Make) -> None:
    """No pyc is written, by the process or its children, even where that is permitted."""
    release = make(HELLO)
    before = release.files()

    release.told(
        "import alone, hello.greet, subprocess, sys; told = subprocess.call([sys.executable, '-m', 'hello.greet'], stdout=-3)"
    )

    assert release.files() == before


def test_starting_twice_changes_nothing(make: Make) -> None:
    """site may process a directory twice: there is still one entry, one hook and one of each finder, and one run."""
    release = make(
        Distribution(
            "late",
            files={"late.pth": "import counted; counted.times += 1\n", "counted.py": "times = 0\n"},
        ),
    )
    code = """
import sys
def count():
    return [sys.path.count(LIB), len(sys.path_hooks), len(sys.meta_path), __import__("counted").times, len(sys.path)]
LIB = sys.path[-1]
before = count()
import site
for directory in list(sys.path):
    if directory.endswith("site-packages"):
        site.addsitedir(directory)
told = [before, count()]
"""
    before, after = release.told(code)

    assert before[0] == before[3] == 1
    assert after == before


# Refusals


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        pytest.param(None, "is missing", id="missing"),
        pytest.param("", "is not one: ", id="empty"),
        pytest.param('{"format": 1, "top": {', "is not one: ", id="truncated"),
        pytest.param("\xff\xfe", "is not one: ", id="not text"),
        pytest.param("[1]", "it has no format", id="another document"),
        pytest.param('{"format": 2, "tops": []}', "its format is 2; this runtime reads format 1", id="newer format"),
        pytest.param('{"format": 1, "top": {"hello": "hello_world-1.2"}}', "'top'", id="wrong type"),
        pytest.param('{"format": 1, "top": {}, "shared": {}, "distributions": {}}', "'pth'", id="key missing"),
        pytest.param('{"format": 1} x', "Extra data", id="trailing text"),
        pytest.param("[" * 100_000, "is not one: ", id="nested without end"),
    ],
)
def test_without_a_good_index_the_process_ends(make: Make, damage: str | None, what: str) -> None:
    """A missing or damaged code.index, or one of an unknown format, is one sentence, status 1, and nothing runs."""
    release = make(HELLO)
    index = release.version / "code.index"
    if damage is None:
        index.unlink()
    else:
        index.write_bytes(damage.encode("latin-1"))

    result = release.run("-c", "print('ran')")

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"underway: the code index {index} ")
    assert what in result.stderr
    assert result.stderr.endswith("; restore it from the release's archive\n")
    assert result.stderr.count("\n") == 1


def test_an_index_that_cannot_be_read_is_named(make: Make) -> None:
    """A code.index that is not a file is told as what it is."""
    release = make(HELLO)
    (release.version / "code.index").unlink()
    (release.version / "code.index").mkdir()

    result = release.run("-c", "print('ran')")

    assert (result.returncode, result.stdout) == (1, "")
    assert f"the code index {release.version}/code.index can't be read: Is a directory" in result.stderr


def test_without_the_runtime_the_process_ends(make: Make) -> None:
    """When the runtime's own directory is gone, that is said, and nothing runs."""
    release = make(HELLO)
    (release.lib / RUNTIME).unlink()

    result = release.run("-c", "print('ran')")

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"underway: the code server cannot be imported from {release.lib / RUNTIME}"
        " (No module named 'underway_runtime'); restore it from the release's archive\n"
    )


def test_a_process_with_a_closed_stderr_still_ends(make: Make) -> None:
    """Status 1 even when there is nobody to tell."""
    release = make(HELLO)
    (release.version / "code.index").unlink()

    assert release.run("-c", 'exec "$0" -c "print(1)" 2>&-', str(release.python), command="/bin/sh").returncode == 1


# Packages of several applications


def test_a_package_of_several_applications_has_all_its_places(make: Make) -> None:
    """What two applications put into one regular package is all there; its own directory comes first."""
    release = make(
        Distribution("plugin", files={"pkg/extra.py": ""}),
        Distribution("base", files={"pkg/__init__.py": "", "pkg/core.py": ""}),
    )

    told = release.told("import pkg.core, pkg.extra; told = [pkg.__file__, pkg.__path__, pkg.extra.__file__]")

    assert told == [
        "ROOT/lib/base-1.0/pkg/__init__.py",
        ["ROOT/lib/base-1.0/pkg", "ROOT/lib/plugin-1.0/pkg"],
        "ROOT/lib/plugin-1.0/pkg/extra.py",
    ]


def test_shared_packages_below_the_top_have_all_their_places(make: Make) -> None:
    """A regular sub-package with modules in several applications is whole, at every depth."""
    release = make(
        Distribution(
            "base", files={"pkg/__init__.py": "", "pkg/plugins/__init__.py": "BASE = 1", "pkg/plugins/a.py": ""}
        ),
        Distribution("b", files={"pkg/plugins/b.py": "", "pkg/plugins/deep/one.py": ""}),
        Distribution(
            "c", files={"pkg/plugins/c.py": "", "pkg/plugins/deep/__init__.py": "", "pkg/plugins/deep/two.py": ""}
        ),
    )

    told = release.told("""
import pkg.plugins.a, pkg.plugins.b, pkg.plugins.c, pkg.plugins.deep.one, pkg.plugins.deep.two, pkgutil
told = [pkg.plugins.BASE, pkg.plugins.__path__, pkg.plugins.deep.__path__,
        sorted(m.name for m in pkgutil.walk_packages(pkg.__path__, "pkg."))]
""")

    assert told == [
        1,
        ["ROOT/lib/base-1.0/pkg/plugins", "ROOT/lib/b-1.0/pkg/plugins", "ROOT/lib/c-1.0/pkg/plugins"],
        ["ROOT/lib/c-1.0/pkg/plugins/deep", "ROOT/lib/b-1.0/pkg/plugins/deep"],
        [
            "pkg.plugins",
            "pkg.plugins.a",
            "pkg.plugins.b",
            "pkg.plugins.c",
            "pkg.plugins.deep",
            "pkg.plugins.deep.one",
            "pkg.plugins.deep.two",
        ],
    ]


def test_between_applications_the_precedence_of_one_directory_holds(make: Make, interpreter: Interpreter) -> None:
    """A package wins over a module, an extension module over source, and both over a namespace package."""
    extension = interpreter.extension
    source = {"one.py": "", "three/x.txt": "", "pkg/one.py": "", "pkg/three/x.txt": "", "pkg/_queue.py": ""}
    better = {"one/__init__.py": "", "three.py": "", "pkg/one/__init__.py": "", "pkg/three.py": ""}
    release = make(
        Distribution("a", files=source),
        Distribution("b", files={**better, f"pkg/{extension.name}": extension.read_bytes()}),
    )

    told = release.told("""
import one, three, pkg.one, pkg.three, pkg._queue
told = [m.__file__ for m in (one, three, pkg.one, pkg.three, pkg._queue)] + [hasattr(three, "__path__")]
""")

    assert told == [
        "ROOT/lib/b-1.0/one/__init__.py",
        "ROOT/lib/b-1.0/three.py",
        "ROOT/lib/b-1.0/pkg/one/__init__.py",
        "ROOT/lib/b-1.0/pkg/three.py",
        f"ROOT/lib/b-1.0/pkg/{extension.name}",
        False,
    ]


def test_namespace_packages_join_their_portions(make: Make) -> None:
    """PEP 420 packages of several applications are one, also nested, with no __file__ and importlib's own path."""
    release = make(
        Distribution("one", files={"ns/one/__init__.py": "", "ns/deep/one.py": ""}),
        Distribution("two", files={"ns/two.py": "", "ns/deep/two.py": ""}),
    )

    told = release.told("""
import ns.one, ns.two, ns.deep.one, ns.deep.two
told = [type(ns.__path__).__name__, list(ns.__path__), list(ns.deep.__path__), getattr(ns, "__file__", None)]
""")

    assert told == [
        "_NamespacePath",
        ["ROOT/lib/one-1.0/ns", "ROOT/lib/two-1.0/ns"],
        ["ROOT/lib/one-1.0/ns/deep", "ROOT/lib/two-1.0/ns/deep"],
        None,
    ]


def test_namespace_packages_join_with_other_entries_of_the_path(make: Make, tmp_path: Path) -> None:
    """A portion elsewhere on sys.path belongs to the package, also one that is added when it is imported already."""
    release = make(Distribution("one", files={"ns/one.py": ""}), Distribution("two", files={"ns/deep/two.py": ""}))
    for place, name in (("early", "ns/early.py"), ("early", "ns/deep/three.py"), ("later", "ns/later.py")):
        (tmp_path / place / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place / name).touch()

    told = release.told(
        f"""
import sys, ns.one, ns.deep.two, ns.early, ns.deep.three
before = len(ns.__path__)
sys.path.append({str(tmp_path / "later")!r})
import ns.later
told = [before, len(ns.__path__), len(ns.deep.__path__)]
""",
        env={"PYTHONPATH": str(tmp_path / "early")},
    )

    assert told == [3, 4, 2]


def test_inside_a_namespace_what_is_earlier_on_the_path_wins(make: Make, tmp_path: Path) -> None:
    """A regular package outside of lib hides the shared one of the same name inside, when its portion comes first."""
    release = make(
        Distribution("one", files={"ns/sub/__init__.py": "WHO = 'lib'", "ns/sub/a.py": ""}),
        Distribution("two", files={"ns/sub/b.py": ""}),
    )
    (tmp_path / "mine/ns/sub").mkdir(parents=True)
    (tmp_path / "mine/ns/sub/__init__.py").write_text("WHO = 'mine'")
    mine = str(tmp_path / "mine")
    code = "import ns.sub; told = [ns.sub.WHO, len(ns.sub.__path__)]"

    assert release.told(code, env={"PYTHONPATH": mine}) == ["mine", 1]
    assert release.told(f"import sys; sys.path.append({mine!r}); {code}") == ["lib", 2]


def test_packages_that_extend_their_path_find_all_places(make: Make, tmp_path: Path) -> None:
    """pkgutil.extend_path, older than namespace packages, gets each place once, and those outside of lib."""
    extend = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    release = make(
        Distribution("one", files={"old/__init__.py": extend, "old/one.py": "", "old/in/__init__.py": extend}),
        Distribution("two", files={"old/__init__.py": extend, "old/two.py": "", "old/in/__init__.py": extend}),
    )
    (tmp_path / "mine/old").mkdir(parents=True)
    (tmp_path / "mine/old/three.py").touch()
    (tmp_path / "mine/old/__init__.py").write_text(extend)

    told = release.told(
        f"""
import sys; sys.path.append({str(tmp_path / "mine")!r})
inner = __import__("old.in", fromlist=["x"])
import old.one, old.two, old.three
told = [old.__path__, inner.__path__]
"""
    )

    assert told[0][:2] == ["ROOT/lib/one-1.0/old", "ROOT/lib/two-1.0/old"]
    assert len(told[0]) == 3
    assert told[1] == ["ROOT/lib/one-1.0/old/in", "ROOT/lib/two-1.0/old/in"]


NSPKG = (
    "import sys, types, os;has_mfs = sys.version_info > (3, 5);"
    "p = os.path.join(sys._getframe(1).f_locals['sitedir'], *({names!r}));"
    "importlib = has_mfs and __import__('importlib.util');has_mfs and __import__('importlib.machinery');"
    "m = has_mfs and sys.modules.setdefault({name!r}, importlib.util.module_from_spec("
    "importlib.machinery.PathFinder.find_spec({name!r}, [os.path.dirname(p)])));"
    "m = m or sys.modules.setdefault({name!r}, types.ModuleType({name!r}));"
    "mp = (m or []) and m.__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)\n"
)
"""What setuptools writes for ``namespace_packages``."""


def test_namespaces_of_setuptools_have_all_their_places(make: Make) -> None:
    """An -nspkg.pth file in one application does not hide the portions of the others."""
    one = NSPKG.format(name="zope", names=("zope",))
    release = make(
        Distribution("zope.one", files={"zope/one.py": "", "zope.one-nspkg.pth": one}),
        Distribution("zope.two", files={"zope/two.py": "", "zope.two-nspkg.pth": one}),
        Distribution("zope.three", files={"zope/three.py": ""}),
    )

    told = release.told("import zope.one, zope.two, zope.three; told = sorted(zope.__path__)", "-I")

    assert told == [f"ROOT/lib/zope_{name}-1.0/zope" for name in ("one", "three", "two")]


# pkgutil, resources, metadata, .pth files


def test_pkgutil_lists_and_walks_what_there_is(make: Make) -> None:
    """iter_modules without a path lists the release's modules, sorted; walk_packages goes into its packages."""
    release = make(
        HELLO,
        Distribution("zz", files={"ns/x.py": "", "Abc.py": "", "hello_too/__init__.py": "", "hello_too/m.py": ""}),
    )

    told = release.told("""
import pkgutil, sys
lib = sys.path[-1]
listed = [(m.name, m.ispkg) for m in pkgutil.iter_modules(prefix="p.") if getattr(m.module_finder, "path", lib) == lib]
walked = [m.name for m in pkgutil.walk_packages([lib])]
found = next(m for m in pkgutil.iter_modules([lib]) if m.name == "hello")
told = [listed, walked, found.module_finder.find_spec("hello").origin, repr(found.module_finder)]
""")

    listed = [["p.Abc", False], ["p.alone", False], ["p.hello", True], ["p.hello_too", True]]
    assert told[0] == [*listed, ["p.underway_runtime", True]]
    assert [name for name in told[1] if not name.startswith("underway_runtime")] == [
        "Abc",
        "alone",
        "hello",
        "hello.__main__",
        "hello.greet",
        "hello_too",
        "hello_too.m",
    ]
    assert told[2:] == ["ROOT/lib/hello_world-1.2/hello/__init__.py", "LibraryFinder('ROOT/lib')"]


def test_pkgutil_gives_data_and_names(make: Make) -> None:
    """get_data and resolve_name work, also for what another application put into the package."""
    release = make(HELLO, Distribution("more", files={"hello/data/more.txt": "more"}))

    told = release.told("""
import pkgutil
told = [pkgutil.get_data("hello", f"data/{name}.txt").decode() for name in ("words", "more")]
told += [pkgutil.resolve_name("hello.greet:greet")()]
try:
    pkgutil.get_data("hello", "data/none.txt")
except FileNotFoundError as error:
    told.append(error.filename)
""")

    assert told == ["hello world", "more", "hello", "ROOT/lib/hello_world-1.2/hello/data/none.txt"]


def test_resources_are_files_of_the_release(make: Make) -> None:
    """importlib.resources gives real paths: nothing is copied out to be read."""
    release = make(HELLO)

    told = release.told("""
import importlib.resources as resources
file = resources.files("hello").joinpath("data", "words.txt")
with resources.as_file(file) as path:
    told = [file.read_text(), str(path)]
""")

    assert told == ["hello world", "ROOT/lib/hello_world-1.2/hello/data/words.txt"]


def test_resources_of_all_places_are_there(make: Make) -> None:
    """Data that several applications put into one package is found and listed, in shared directories too."""
    release = make(
        HELLO,
        Distribution("more", files={"hello/data/more.txt": "more", "hello/own.txt": "own", "ns/in.txt": "in"}),
        Distribution("last", files={"hello/data/last.txt": "last", "ns/last.txt": "last"}),
    )

    told = release.told("""
from importlib.resources import files
hello = files("hello")
told = [
    (hello / "data" / "words.txt").read_text(), hello.joinpath("data/more.txt").read_text(),
    hello.joinpath("own.txt").read_text(), hello.joinpath("data").joinpath("last.txt").read_text(),
    sorted(path.name for path in (hello / "data").iterdir()),
    sorted(path.name for path in hello.iterdir() if path.is_file()),
    hello.joinpath("none.txt").is_file(), hello.is_dir(), hello.name,
    [files("ns").joinpath(name).read_text() for name in ("in.txt", "last.txt")],
]
""")

    assert told == [
        "hello world",
        "more",
        "own",
        "last",
        ["last.txt", "more.txt", "words.txt"],
        ["__init__.py", "__main__.py", "greet.py", "own.txt"],
        False,
        True,
        "hello",
        ["in", "last"],
    ]


def test_distributions_are_found_by_any_spelling(make: Make) -> None:
    """importlib.metadata finds a distribution under every name that PEP 503 makes equal, and no other."""
    release = make(HELLO, Distribution("typing_extensions"))

    told = release.told("""
from importlib.metadata import PackageNotFoundError, version
told = [version(name) for name in ("Hello.World", "hello-world", "HELLO__World", "typing-extensions")]
for name in ("hello", "hello-world-1.2"):
    try:
        version(name)
    except PackageNotFoundError as error:
        told.append(str(error))
""")

    assert told[:4] == ["1.2", "1.2", "1.2", "1.0"]
    assert told[4:] == [f"No package metadata was found for {name}" for name in ("hello", "hello-world-1.2")]


def test_metadata_tells_files_entry_points_and_modules(make: Make) -> None:
    """Entry points load, every file of RECORD is where metadata says, and modules are mapped to distributions."""
    release = make(HELLO, Distribution("other", files={"other.py": ""}))

    told = release.told("""
import importlib.metadata as metadata
(point,) = metadata.entry_points(group="greeters")
files = metadata.files("hello.world")
told = [
    point.load().__name__, point.dist.name,
    sorted({str(file.locate().parent) for file in files}), all(file.locate().is_file() for file in files),
    sorted(d.metadata["Name"] for d in metadata.distributions()),
    {k: v for k, v in metadata.packages_distributions().items() if k in ("hello", "other")},
]
""")

    assert told[:2] == ["hello.greet", "Hello.World"]
    directory = "ROOT/lib/hello_world-1.2"
    assert told[2] == [directory, *(f"{directory}/{below}" for below in (HELLO.dist_info, "hello", "hello/data"))]
    assert told[3:] == [True, ["Hello.World", "other"], {"hello": ["Hello.World"], "other": ["other"]}]


def test_metadata_answers_for_lib_only(make: Make, tmp_path: Path) -> None:
    """A search of other directories finds nothing of the release, and an earlier entry of the path wins."""
    release = make(HELLO)
    Distribution("hello_world", "9").install(tmp_path / "mine")
    mine = str(tmp_path / "mine")

    told = release.told(f"""
import sys
from importlib.metadata import distributions, version
told = [
    [d.version for d in distributions(path=["/nowhere"])],
    [d.version for d in distributions(path=[sys.path[-1]], name="Hello.World")],
    [d.version for d in distributions(path=[{mine!r}])],
    version("hello.world"),
]
sys.path.insert(0, {mine!r})
told.append(version("hello.world"))
""")

    assert told == [[], ["1.2"], ["9"], "1.2", "9"]


def test_another_metadata_library_gets_its_own_kind(make: Make) -> None:
    """importlib_metadata, the backport, asks with a context and expects a distribution of its own classes."""
    backport = """
import importlib.metadata as _stdlib, sys
class DistributionFinder:
    class Context(_stdlib.DistributionFinder.Context):
        pass
class PathDistribution(_stdlib.PathDistribution):
    pass
def version(name):
    for finder in sys.meta_path:
        for found in getattr(finder, "find_distributions", lambda context: ())(DistributionFinder.Context(name=name)):
            return type(found).__module__, found.version
"""
    release = make(HELLO, Distribution("backport", files={"backport.py": backport}))

    assert release.told("import backport; told = backport.version('hello-world')") == ["backport", "1.2"]


def test_pth_files_are_processed(make: Make) -> None:
    """Lines of code are run, with lib to import from; directories are added after lib."""
    release = make(
        Distribution(
            "late",
            files={
                "late.pth": "# a comment\nimport late_hook; late_hook.ran = True\nvendored\nmissing\n",
                "late_hook.py": "ran = False\n",
                "vendored/inside.py": "",
            },
        ),
        Distribution("other", files={"other.pth": "import late_hook, other\n", "other.py": ""}),
    )

    told = release.told("import sys, late_hook, inside; told = [late_hook.ran, sys.path[-2:], 'other' in sys.modules]")

    assert told == [True, ["ROOT/lib", "ROOT/lib/late-1.0/vendored"], True]


def test_new_files_are_seen_after_invalidation(make: Make) -> None:
    """importlib.invalidate_caches makes every directory be looked at anew, those of several applications too."""
    release = make(
        Distribution("a", files={"pkg/__init__.py": "", "alone.py": ""}), Distribution("b", files={"pkg/b.py": ""})
    )

    told = release.told("""
import importlib.util, os, sys
lib = sys.path[-1]
names = {"alone": "a-1.0/alone.py", "pkg.b": "b-1.0/pkg/b.py"}
def found():
    return [importlib.util.find_spec(name) is not None for name in names]
def move(ending, new_ending):
    for path in names.values():
        place = os.path.dirname(f"{lib}/{path}")
        times = os.stat(place)
        os.rename(f"{lib}/{path}{ending}", f"{lib}/{path}{new_ending}")
        os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))
move("", ".away")
told = [found()]
move(".away", "")
told.append(found())
importlib.invalidate_caches()
told.append(found())
""")

    assert told == [[False, False], [False, False], [True, True]]


def test_modules_can_be_reloaded_and_inspected(make: Make) -> None:
    """importlib.reload keeps the module, inspect shows its source."""
    release = make(HELLO, Distribution("more", files={"hello/more.py": ""}))

    told = release.told("""
import importlib, inspect, hello.greet, hello.more
path = list(hello.__path__)
told = [importlib.reload(hello) is hello, hello.__path__ == path, inspect.getsource(hello.greet.greet)]
""")

    assert told == [True, True, "def greet():\n    return 'hello'\n"]


# Other ways to start code


def test_packages_and_modules_run_with_m(make: Make) -> None:
    """python -m takes a package, a module in it, and a module at the top."""
    release = make(
        HELLO, Distribution("more", files={"hello/more.py": "print(__file__)", "ns/run.py": "print(__name__)"})
    )

    assert release.output("-m", "hello", "a", "b") == "__main__ hello ['a', 'b']\n"
    assert release.output("-I", "-m", "hello.greet") == "hello\n"
    assert release.output("-I", "-m", "hello.more") == "ROOT/lib/more-1.0/hello/more.py\n"
    assert release.output("-m", "ns.run") == "__main__\n"


def test_runpy_runs_modules(make: Make) -> None:
    """run_module and run_path do within a process what -m does."""
    release = make(HELLO)

    told = release.told("""
import runpy
told = [runpy.run_module("hello.greet")["greet"](), runpy.run_module("alone")["__spec__"].origin]
""")

    assert told == ["hello", "ROOT/lib/hello_world-1.2/alone.py"]


def test_children_find_the_same_code(make: Make) -> None:
    """A subprocess of sys.executable imports from the release, with any options but -S, in any environment."""
    release = make(HELLO)

    told = release.told("""
import subprocess, sys
def child(*options, **how):
    ask = [sys.executable, *options, "-c", "import hello, sys; print(hello.__file__, sys.path[-1])"]
    return subprocess.run(ask, capture_output=True, text=True, check=True, **how).stdout.split()
told = [child(), child("-I", "-B"), child("-E", cwd="/tmp"), child("-s", "-P", env={})]
""")

    assert told == [["ROOT/lib/hello_world-1.2/hello/__init__.py", "ROOT/lib"]] * 4


JOBS = Distribution(
    "jobs",
    files={
        "jobs/__init__.py": "",
        "jobs/work.py": "import os\ndef work(n):\n    import alone\n    return [n, alone.__file__]\n",
        "jobs/__main__.py": """
import json, multiprocessing, sys
from jobs.work import work
if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        print(json.dumps(pool.map(work, [1, 2])))
        pool.close()
        pool.join()
""",
    },
)


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_multiprocessing_finds_the_same_code(make: Make, method: str) -> None:
    """A pool's processes import from the release, whichever way they are started."""
    release = make(HELLO, JOBS)

    answered = json.loads(release.output("-I", "-m", "jobs", method))

    assert answered == [[n, "ROOT/lib/hello_world-1.2/alone.py"] for n in (1, 2)]


def test_a_server_may_execute_itself_again(make: Make) -> None:
    """os.execv of sys.executable with the original arguments starts the same program on the same code."""
    again = """
import os, sys, alone
if "AGAIN" not in os.environ:
    os.environ["AGAIN"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
print(alone.__file__, sys.argv[1:], sys.flags.isolated)
"""
    release = make(HELLO, Distribution("server", files={"server/__init__.py": "", "server/__main__.py": again}))

    expected = "ROOT/lib/hello_world-1.2/alone.py ['--port', '1'] 1\n"
    assert release.output("-I", "-m", "server", "--port", "1") == expected


def test_scripts_of_wheels_find_their_code(make: Make, tmp_path: Path) -> None:
    """A script in releases/V/bin runs from anywhere, also through a link to it."""
    release = make(HELLO)
    script = release.version / "bin/hello"
    script.write_text(SCRIPT + "import hello.greet, sys\nprint(hello.greet.__file__, sys.argv[1:], sys.prefix)\n")
    script.chmod(0o755)
    (tmp_path / "link").symlink_to(script)

    expected = "ROOT/lib/hello_world-1.2/hello/greet.py ['x'] ROOT/releases/1\n"
    assert release.output("x", command=str(script)) == expected
    assert release.output("x", command=str(tmp_path / "link")) == expected


def test_a_file_runs_with_its_own_directory_first(make: Make, tmp_path: Path) -> None:
    """python FILE imports what is beside the file, then from the release."""
    release = make(HELLO)
    (tmp_path / "tool.py").write_text("import beside, alone; print(beside.X, alone.ALONE)")
    (tmp_path / "beside.py").write_text("X = 1")

    assert release.output(str(tmp_path / "tool.py")) == "1 True\n"


# Any set of distributions

NAMES = ("a", "b", "m")
FILES = ("__init__.py", "m.py", "n.py", "x.txt")


@st.composite
def distributions(draw: st.DrawFn) -> list[Distribution]:
    """Up to four distributions over few names, so that they meet; a path that two of them have is the same file."""
    path = st.builds(
        lambda places, file: "/".join([*places, file]),
        st.lists(st.sampled_from(NAMES), max_size=3),
        st.sampled_from(FILES),
    ).filter(lambda path: path not in FILES or path.endswith(("m.py", "n.py")))
    files = st.sets(path, min_size=1, max_size=6).map(
        lambda paths: {path: f"WHO = {path!r}\n" for path in sorted(paths)}
    )
    return [
        Distribution(f"d{number}", files=content) for number, content in enumerate(draw(st.lists(files, max_size=4)))
    ]


def is_refused(distributions: list[Distribution]) -> bool:
    """Whether one application has a module where another has a regular package: a build refuses such a pair."""
    modules = {(d.name, p.removesuffix(".py")) for d in distributions for p in d.files if p.endswith(".py")}
    return any(f"{name}/__init__" in {path for other, path in modules if other != owner} for owner, name in modules)


PROBE = """
import importlib, json, os, pkgutil, sys
site, depth, names = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
if site not in sys.path:
    sys.path.append(site)

def below(path):
    return "/".join(os.path.relpath(path, site).split("/")[depth:])

def listed(path, prefix=""):
    return [[m.name, m.ispkg] for m in pkgutil.iter_modules(path, prefix) if m.name != "underway_runtime"]

def tree(place):
    return [[p.name, p.read_text() if p.is_file() else None] for p in place.iterdir() if p.name != "__pycache__"]

def data(package):
    try:
        return str(pkgutil.get_data(package, "x.txt"))
    except FileNotFoundError:
        return "none"

seen = {"": listed([site])}
places = {}
for name in names:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        seen[name] = [type(error).__name__, str(error)]
        continue
    spec = module.__spec__
    seen[name] = [spec.origin and below(spec.origin), spec.has_location, getattr(module, "WHO", None)]
    if spec.submodule_search_locations is not None:
        path = list(module.__path__)
        places[name] = [os.path.relpath(place, site) for place in path]
        seen[name] += [
            sorted({below(place) for place in path}),
            path[0] == os.path.dirname(spec.origin) if spec.origin else None,
            sorted(listed(path, name + ".")),
            sorted(m.name for m in pkgutil.walk_packages(path, name + ".")),
            sorted(tree(importlib.resources.files(name))),
            data(name),
        ]
print(json.dumps([seen, places]))
""".replace("import importlib,", "import importlib, importlib.resources,", 1)


def probe(command: Path, site: Path, depth: int, names: list[str], *options: str) -> Any:
    """What a python sees of these modules: everything that has no place in it, and the places of packages."""
    result = subprocess.run(
        [command, *options, "-c", PROBE, site, str(depth), json.dumps(names)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={},
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


def same_as_one_site_packages(interpreter: Interpreter, directory: Path, distributions: list[Distribution]) -> None:
    """Compare what the code server gives with what one merged directory gives."""
    release = make_release(directory / "hello", interpreter, distributions)
    for distribution in distributions:
        distribution.install(directory / "merged")
    (directory / "merged").mkdir(exist_ok=True)
    paths = {path for distribution in distributions for path in distribution.files}
    where = {place for path in paths for place in [path.partition(".")[0], *directories_of(path)]}
    names = sorted({place.replace("/", ".") for place in where} | {"a.missing", "missing"})

    seen, places = probe(release.python, release.lib, 1, names, "-I")
    expected, _ = probe(interpreter.executable, directory / "merged", 0, names, "-I", "-S", "-B")

    assert seen == expected
    for name, found in places.items():
        having = {
            d.directory for d in distributions if any(path.startswith(name.replace(".", "/") + "/") for path in d.files)
        }
        assert sorted(found) == sorted(f"{place}/{name.replace('.', '/')}" for place in having)


def check_examples(interpreter: Interpreter, factory: pytest.TempPathFactory, examples: int) -> None:
    @settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(distributions().filter(lambda drawn: not is_refused(drawn)))
    def check(drawn: list[Distribution]) -> None:
        directory = factory.mktemp("drawn")
        same_as_one_site_packages(interpreter, directory, drawn)
        shutil.rmtree(directory)

    check()


def test_any_distributions_import_as_from_one_site_packages(
    interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Modules, packages, namespaces, listings and data are those of one merged site-packages."""
    check_examples(interpreter, tmp_path_factory, examples=20)


@pytest.mark.drill
@pytest.mark.timeout(1800)
def test_any_distributions_import_as_from_one_site_packages_drill(
    interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same, for many more sets of distributions."""
    check_examples(interpreter, tmp_path_factory, examples=settings().max_examples // 4)
