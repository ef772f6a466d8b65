"""Every process of a release imports the release's code, however it is started, or says why it can't.

Each test runs the real interpreter of a small release, once for each interpreter that is installed here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import code_server_helpers as helpers
from code_server_helpers import HELLO, RUNTIME, SCRIPT, Distribution, Interpreter, Make

interpreter = helpers.interpreter
make = helpers.make

pytestmark = pytest.mark.sample


# What every process has


def test_lib_is_the_one_entry_at_the_end_of_the_path(make: Make) -> None:
    """sys.path ends with lib, whatever is in it, and sys.prefix is the version's directory."""
    release = make(HELLO)

    path, prefix, executable, writes = release.evaluate(
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
    start.write_text("# what site itself imports to read this is not ours\n")

    assert all_modules - set(release.output(*modules).split()) == {
        "underway_runtime",
        "underway_runtime.code_server",
        "underway_runtime.code_server.finder",
        "underway_runtime.code_server.loader",
        "_json",
    }


def test_modules_have_the_ordinary_loader_file_and_pyc(make: Make) -> None:
    """A module comes from its application's directory through importlib's own loader, or one of that class."""
    release = make(HELLO)

    told = release.evaluate("""
import hello.greet as m, importlib.machinery as machinery
told = [m.__file__, m.__spec__.cached, isinstance(m.__loader__, machinery.SourceFileLoader), m.__loader__.path,
        m.__spec__.origin, m.__spec__.has_location, m.__loader__.is_package("hello.greet"), m.__package__]
""")

    assert told[0] == "ROOT/lib/hello_world-1.2/hello/greet.py"
    assert Path(told[1]).parent == Path("ROOT/lib/hello_world-1.2/hello/__pycache__")
    assert told[2:] == [True, told[0], told[0], True, False, "hello"]


def test_pycs_of_the_build_are_used(make: Make) -> None:
    """An unchecked pyc is imported as it is; nobody looks at the source."""
    release = make(HELLO)
    compile_all = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    release.output("-I", *compile_all, str(release.lib / HELLO.directory))
    (release.lib / HELLO.directory / "alone.py").write_text("ALONE = 'changed'\n")

    assert release.evaluate("import alone; told = alone.ALONE") is True


def test_modules_without_source_are_imported(make: Make) -> None:
    """Code that ships as pyc only is found like any other."""
    release = make(HELLO)
    place = release.lib / HELLO.directory
    release.output("-I", "-m", "compileall", "-q", "-b", str(place))
    for source in place.rglob("*.py"):
        source.unlink()

    assert release.evaluate("import alone, hello.greet; told = hello.greet.greet()") == "hello"


def test_extension_modules_are_imported(make: Make, interpreter: Interpreter) -> None:
    """Compiled modules load from their application's directory."""
    extension = interpreter.extension
    release = make(Distribution("fast", files={f"fast/{extension.name}": extension.read_bytes()}))

    told = release.evaluate(
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
    assert release.evaluate(code) == [
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

    assert release.evaluate(code, env={"PYTHONPATH": str(tmp_path / "mine")}) == "mine"
    assert release.evaluate(code, cwd=tmp_path / "mine") == "mine"
    assert release.evaluate(code, "-I", cwd=tmp_path / "mine") is True


def test_lib_on_the_path_already_is_served_too(make: Make) -> None:
    """PYTHONPATH may name lib itself, as a parent process that passes on its sys.path does."""
    release = make(HELLO)

    told = release.evaluate(
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
        .evaluate("import hello; told = hello.__file__")
        .endswith("/lib/hello_world-1.2/hello/__init__.py")
    )


def test_a_release_behind_a_link_works(make: Make, tmp_path: Path) -> None:
    """Started through a link to its root, or by a crooked path, a release finds its own code."""
    release = make(HELLO)
    (tmp_path / "current").symlink_to(release.root)

    linked = replace(release, root=tmp_path / "current").evaluate("import hello; told = hello.__file__")
    crooked = release.evaluate("import hello; told = hello.__file__", command=f"{release.version}/bin/../bin/python")

    assert linked == crooked == "ROOT/lib/hello_world-1.2/hello/__init__.py"


def test_running_code_writes_nothing_into_the_release(make: Make) -> None:
    """No pyc is written, by the process or its children, even where that is permitted."""
    release = make(HELLO)
    before = release.files()

    release.evaluate(
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
    before, after = release.evaluate(code)

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

    told = release.evaluate("""
import runpy
told = [runpy.run_module("hello.greet")["greet"](), runpy.run_module("alone")["__spec__"].origin]
""")

    assert told == ["hello", "ROOT/lib/hello_world-1.2/alone.py"]


def test_children_find_the_same_code(make: Make) -> None:
    """A subprocess of sys.executable imports from the release, with any options but -S, in any environment."""
    release = make(HELLO)

    told = release.evaluate("""
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
    """python FILE imports what is next to the file, then from the release."""
    release = make(HELLO)
    (tmp_path / "tool.py").write_text("import neighbour, alone; print(neighbour.X, alone.ALONE)")
    (tmp_path / "neighbour.py").write_text("X = 1")

    assert release.output(str(tmp_path / "tool.py")) == "1 True\n"
