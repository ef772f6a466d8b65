"""What the index lists, the standard library's modules among it, is what importlib would find, and follows the disk.

Each test runs the real interpreter of a small release whose standard library lies inside it, as in a built one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

import code_server_helpers as helpers
from code_server_helpers import HELLO, TIMEOUT, Distribution, Interpreter, Release
from underway.steps.modules import list_code

interpreter = helpers.interpreter

pytestmark = pytest.mark.sample

LISTED = "type(m.__spec__.loader).__name__ == 'ListedLoader'"


@cache
def own_library(interpreter: Interpreter) -> Path:
    """A copy of the interpreter with its standard library; some modules have unchecked pycs. Made once in a process."""
    python = interpreter.directory.with_name("copied")
    shutil.copytree(interpreter.directory / "bin", python / "bin")
    below = f"lib/python{interpreter.minor}"
    unused = ("test", "idlelib", "site-packages", "dist-packages", "config-*", "lib2to3", "tkinter", "ensurepip")
    shutil.copytree(interpreter.directory / below, python / below, ignore=shutil.ignore_patterns(*unused))
    files = [python / below / file for file in ("colorsys.py", "this.py", "bisect.py", "wsgiref/__init__.py")]
    subprocess.run(
        [
            interpreter.executable,
            *["-I", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"],
            *files,
        ],
        check=True,
        timeout=TIMEOUT,
    )
    return python


@pytest.fixture
def release(interpreter: Interpreter, tmp_path: Path) -> Release:
    """A release of HELLO, all listed. The files of its standard library are links to a copy: `write` makes new ones."""
    release = helpers.make_release(tmp_path / "hello", interpreter, [HELLO], listed=True)
    python = release.root / interpreter.directory.name
    python.unlink()
    shutil.copytree(own_library(interpreter), python, copy_function=os.link)
    index = json.loads((release.version / "code.index").read_text())
    places = [*release.lib.iterdir(), library(release), library(release) / "lib-dynload"]
    index["code"] = list_code(release.root, places, tag(interpreter))
    (release.version / "code.index").write_text(json.dumps(index))
    return release


def tag(interpreter: Interpreter) -> str:
    return f"cpython-{interpreter.minor.replace('.', '')}"


def write(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def library(release: Release) -> Path:
    return next(release.root.glob("python-*/lib/python3.*"))


def test_each_listed_module_is_what_importlib_would_find(release: Release) -> None:
    """Names, files, pycs, packages, loaders and their data are the same for all modules of all directories."""
    told = release.evaluate("""
import importlib.machinery as machinery, os, sys
from underway_runtime.code_server.finder import running

def facts(spec):
    loader = spec.loader
    kind = next(k for k in (machinery.ExtensionFileLoader, machinery.SourceFileLoader) if isinstance(loader, k))
    known = [spec.name, spec.origin, spec.cached, spec.has_location, spec.submodule_search_locations, spec.parent]
    return [*known, kind.__name__, loader.name, loader.path, loader.is_package(spec.name), loader.get_filename(spec.name)]

server, different, count = running(), [], {}
ordinary = [(machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
            (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
            (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES)]
root = server.lib.removesuffix("lib")
for directory in server.index.code:
    finder = machinery.FileFinder(root + directory, *ordinary)
    for name in server.index.kinds(directory):
        spec, other = server.finder(root + directory).find_spec("some." + name), finder.find_spec("some." + name)
        count[type(spec.loader).__name__] = count.get(type(spec.loader).__name__, 0) + 1
        if facts(spec) != facts(other):
            different.append([facts(spec), facts(other)])
        elif isinstance(spec.loader, machinery.SourceFileLoader):
            same = spec.loader.get_source(spec.name) == other.loader.get_source(spec.name)
            same = same and spec.loader.get_data(spec.cached) == other.loader.get_data(spec.cached)
            if not same:
                different.append(spec.name)
told = [different, count]
""")

    assert told[0] == []
    assert told[1]["ListedLoader"] > 400
    assert told[1].get("ExtensionFileLoader", 0) > 10


def test_code_is_that_of_the_pyc_and_names_its_source(release: Release) -> None:
    """The standard library's too is imported through the index, without its source, and tracebacks find that."""
    file = library(release) / "colorsys.py"
    write(file, file.read_bytes() + b"\nCHANGED = True\n")

    told = release.evaluate(f"""
import colorsys as m, inspect, wsgiref
code = m.rgb_to_hls.__code__
told = [{LISTED}, hasattr(m, "CHANGED"), code.co_filename == m.__file__, inspect.getsource(m.rgb_to_hls)[:14],
        wsgiref.__path__, m.__spec__.loader.get_code("colorsys") is not None]
""")

    assert told == [
        True,
        False,
        True,
        "def rgb_to_hls",
        [f"ROOT/{library(release).relative_to(release.root)}/wsgiref"],
        True,
    ]


def test_modules_that_came_later_are_found(release: Release) -> None:
    """What the build did not see in a directory that it listed is found there."""
    (library(release) / "added.py").write_text("IS = 'module'")
    (library(release) / "added_package").mkdir()
    (library(release) / "added_package/__init__.py").write_text("IS = 'package'")
    (release.lib / HELLO.directory / "hello/added.py").write_text("IS = 'inner'")

    told = release.evaluate(
        "import added, added_package, hello.added; told = [added.IS, added_package.IS, hello.added.IS]"
    )

    assert told == ["module", "package", "inner"]


def test_modules_that_are_gone_are_not_found(release: Release) -> None:
    """A module whose file was taken away is missing as ever, though its pyc be there."""
    (library(release) / "colorsys.py").unlink()
    shutil.rmtree(library(release) / "wsgiref")

    told = release.evaluate("""
import importlib.util
told = [importlib.util.find_spec(name) is None for name in ("colorsys", "wsgiref", "this")]
try:
    import colorsys
except ModuleNotFoundError as error:
    told.append(str(error))
""")

    assert told == [True, True, False, "No module named 'colorsys'"]


def test_without_an_unchecked_pyc_the_source_counts(release: Release, interpreter: Interpreter) -> None:
    """A pyc that is gone, that is to be compared with its source, or of another interpreter is not taken."""
    sources = [library(release) / f"{name}.py" for name in ("colorsys", "this", "bisect")]
    pycs = [library(release) / f"__pycache__/{source.stem}.{tag(interpreter)}.pyc" for source in sources]
    for source in sources:
        write(source, b"IS = 'source'")
    pycs[0].unlink()
    content = pycs[1].read_bytes()
    write(pycs[1], b"\0\0\r\n" + content[4:])
    write(pycs[2], content[:4] + bytes(12) + content[16:])

    told = release.evaluate("import colorsys, this, bisect; told = [colorsys.IS, this.IS, bisect.IS]")

    assert told == ["source"] * 3


def test_a_damaged_pyc_is_named(release: Release, interpreter: Interpreter) -> None:
    """The import fails as imports do and says which file is to be restored."""
    pyc = library(release) / f"__pycache__/colorsys.{tag(interpreter)}.pyc"
    content = pyc.read_bytes()

    for damaged in (content[:100], content[:16] + b"N"):
        write(pyc, damaged)
        result = release.run("-c", "import colorsys")
        assert result.returncode == 1
        assert f"ImportError: {pyc} is damaged (" in result.stderr
        assert "restore it from the release's archive" in result.stderr


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        pytest.param(["-O"], {}, id="optimized"),
        pytest.param(["-X", "pycache_prefix=/nonexistent"], {}, id="pycs elsewhere, by option"),
        pytest.param([], {"PYTHONPYCACHEPREFIX": "/nonexistent"}, id="pycs elsewhere, by variable"),
        pytest.param(["--check-hash-based-pycs", "always"], {}, id="pycs always checked"),
    ],
)
def test_processes_that_want_other_pycs_get_importlibs_loader(
    release: Release, options: list[str], environ: dict[str, str]
) -> None:
    """The listing is for the pycs of the build; whoever asks for others gets what importlib does."""
    told = release.evaluate(
        "import colorsys as m; told = [type(m.__loader__).__name__, m.__spec__.cached]", *options, env=environ
    )

    assert told[0] == "SourceFileLoader"
    assert told[1].startswith("/nonexistent") or not environ


def test_tools_that_wrap_loaders_and_follow_imports_work(release: Release) -> None:
    """Lazy loaders, path hooks of others, -X importtime, trace and runpy go through the listing as through importlib."""
    lazily = release.evaluate("""
import importlib.util, sys
spec = importlib.util.find_spec("colorsys")
spec.loader = importlib.util.LazyLoader(spec.loader)
sys.modules["colorsys"] = m = importlib.util.module_from_spec(spec)
spec.loader.exec_module(m)
told = [m.rgb_to_hls(1, 1, 1)[1]]
""")
    hooked = release.evaluate("""
import importlib.machinery as machinery, sys
class Loader(machinery.SourceFileLoader):
    def get_code(self, fullname):
        return self.source_to_code(self.get_data(self.path) + b"\\nHOOKED = 1", self.path)
sys.path_hooks.insert(0, machinery.FileFinder.path_hook((Loader, machinery.SOURCE_SUFFIXES)))
sys.path_importer_cache.clear()
import colorsys, wsgiref.util
told = [colorsys.HOOKED, wsgiref.util.HOOKED]
""")
    timed = release.run("-X", "importtime", "-c", "import colorsys")
    traced = release.run("-m", "trace", "--count", "--summary", "-C", os.devnull, "--module", "this")
    run = release.output("-m", "this")

    assert (lazily, hooked) == ([1], [1, 1])
    assert any(line.endswith(" colorsys") for line in timed.stderr.splitlines())
    assert "Beautiful is better" in run
    assert "Beautiful is better" in traced.stdout, traced.stderr


def test_the_index_of_another_release_counts_at_once(release: Release) -> None:
    """A directory's finder asks the index in force, so one that is installed meanwhile is obeyed."""
    told = release.evaluate("""
import copy, importlib.util
from underway_runtime.code_server.finder import Index, running
def kind():
    return type(importlib.util.find_spec("colorsys").loader).__name__
told = [kind()]
running().index = Index({"format": 1, "top": {}, "shared": {}, "distributions": {}, "pth": []})
told.append(kind())
""")

    assert told == ["ListedLoader", "SourceFileLoader"]


def test_a_release_without_a_listing_works(release: Release) -> None:
    """An index that an older build wrote has no listing; importlib looks into the directories then."""
    file = release.version / "code.index"
    index = json.loads(file.read_text())
    del index["code"]
    file.write_text(json.dumps(index))

    told = release.evaluate(
        "import colorsys, hello.greet; told = [type(m.__loader__).__name__ for m in (colorsys, hello.greet)]"
    )

    assert told == ["SourceFileLoader"] * 2


def test_only_what_importlib_chooses_is_listed(tmp_path: Path) -> None:
    """Between a package, an extension module and a module of one name nobody has to choose; without a pyc nothing is listed."""
    tree = Distribution(
        "a",
        files={
            "plain.py": "",
            "__pycache__/plain.cpython-311.pyc": "",
            "uncompiled.py": "",
            "both.py": "",
            "both.cpython-311-x86_64-linux-gnu.so": "",
            "__pycache__/both.cpython-311.pyc": "",
            "ext.cpython-311-x86_64-linux-gnu.so": "",
            "two.abi3.so": "",
            "two.so": "",
            "shadowed.py": "",
            "__pycache__/shadowed.cpython-311.pyc": "",
            "shadowed/__init__.py": "",
            "package/__init__.py": "",
            "package/__pycache__/__init__.cpython-311.pyc": "",
            "namespace/inner.py": "",
            "namespace/__pycache__/inner.cpython-311.pyc": "",
            "not-a-name.py": "",
        },
    )
    tree.install(tmp_path / "lib/a")

    listed = list_code(tmp_path, [tmp_path / "lib/a", tmp_path / "lib/gone"], "cpython-311")

    assert listed == {
        "lib/a": {"modules": "plain", "packages": "package", "extensions": listed["lib/a"]["extensions"]},
        "lib/a/namespace": {"modules": "inner"},
    }
    assert set(listed["lib/a"]["extensions"].split()) == {
        "both.cpython-311-x86_64-linux-gnu.so",
        "ext.cpython-311-x86_64-linux-gnu.so",
    }
