"""Whoever uses the import system finds what is in a release: pkgutil, importlib.resources, importlib.metadata, site."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

import code_server_helpers as helpers
from code_server_helpers import HELLO, Distribution, Interpreter, Make

interpreter = helpers.interpreter
make = helpers.make

pytestmark = pytest.mark.sample


def test_pkgutil_lists_and_walks_what_there_is(make: Make) -> None:
    """iter_modules without a path lists the release's modules, sorted; walk_packages goes into its packages."""
    release = make(
        HELLO,
        Distribution("zz", files={"ns/x.py": "", "Abc.py": "", "hello_too/__init__.py": "", "hello_too/m.py": ""}),
    )

    told = release.evaluate("""
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

    told = release.evaluate("""
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

    told = release.evaluate("""
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

    told = release.evaluate("""
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

    told = release.evaluate("""
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

    told = release.evaluate("""
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

    told = release.evaluate(f"""
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

    assert release.evaluate("import backport; told = backport.version('hello-world')") == ["backport", "1.2"]


START = """
told = []
def begin():
    import inside
    told.append("start")
"""


def starts(interpreter: Interpreter) -> bool:
    """Whether a Python knows ``.start`` files (PEP 829)."""
    return Version(interpreter.minor) >= Version("3.15")


def test_pth_files_are_processed(make: Make) -> None:
    """Lines of code are run, with lib to import from; directories are added after lib."""
    release = make(
        Distribution(
            "late",
            files={
                "late.pth": "# a comment\nimport late_hook; late_hook.ran = True\nvendored\n",
                "late_hook.py": "ran = False\n",
                "vendored/inside.py": "",
            },
        ),
        Distribution("other", files={"other.pth": "import late_hook, other\n", "other.py": ""}),
    )

    told = release.evaluate(
        "import sys, late_hook, inside; told = [late_hook.ran, sys.path[-2:], 'other' in sys.modules]"
    )

    assert told == [True, ["ROOT/lib", "ROOT/lib/late-1.0/vendored"], True]


def test_a_directory_of_a_pth_file_may_be_missing(make: Make, interpreter: Interpreter) -> None:
    """It is not added; Python says so where it does for those in site-packages, since 3.15."""
    release = make(Distribution("late", files={"late.pth": "missing\n", "late.py": ""}))

    done = release.run("-c", "import sys; print([path for path in sys.path if path.endswith('missing')])")

    assert (done.returncode, done.stdout) == (0, "[]\n")
    assert ("missing does not exist" in done.stderr) == starts(interpreter)


def test_start_files_say_what_is_called_when_python_starts(make: Make, interpreter: Interpreter) -> None:
    """Since 3.15, once all directories are there, and instead of the lines of code in the pth file of that name."""
    note = "import {0}_hook; {0}_hook.told.append('pth')\n"
    release = make(
        Distribution("early", files={"early.start": "early_hook:begin\n", "early_hook.py": START}),
        Distribution(
            "late",
            files={
                "late.pth": note.format("late"),
                "late.start": "late_hook:begin\n",
                "late_hook.py": START,
            },
        ),
        Distribution("other", files={"other.pth": "vendored\n", "other.py": "", "vendored/inside.py": ""}),
    )

    told = release.evaluate("import early_hook, late_hook; told = [early_hook.told, late_hook.told]")

    assert told == ([["start"], ["start"]] if starts(interpreter) else [[], ["pth"]])


def test_new_files_are_seen_after_invalidation(make: Make) -> None:
    """importlib.invalidate_caches makes every directory be looked at again, those of several applications too."""
    release = make(
        Distribution("a", files={"pkg/__init__.py": "", "own/__init__.py": "", "own/new.py.away": ""}),
        Distribution("b", files={"pkg/b.py": "", "pkg/new.py.away": ""}),
    )

    told = release.evaluate("""
import importlib.util, os, sys, own, pkg
places = ["a-1.0/own", "b-1.0/pkg"]
def found():
    return [importlib.util.find_spec(name) is not None for name in ("own.new", "pkg.new")]
told = [found()]
for place in (f"{sys.path[-1]}/{below}" for below in places):
    times = os.stat(place)
    os.rename(f"{place}/new.py.away", f"{place}/new.py")
    os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))
told.append(found())
importlib.invalidate_caches()
told.append(found())
""")

    assert told == [[False, False], [False, False], [True, True]]


def test_modules_can_be_reloaded_and_inspected(make: Make) -> None:
    """importlib.reload keeps the module, inspect shows its source."""
    release = make(HELLO, Distribution("more", files={"hello/more.py": ""}))

    told = release.evaluate("""
import importlib, inspect, hello.greet, hello.more
path = list(hello.__path__)
told = [importlib.reload(hello) is hello, hello.__path__ == path, inspect.getsource(hello.greet.greet)]
""")

    assert told == [True, True, "def greet():\n    return 'hello'\n"]
