"""Packages of several applications are what they would be in one merged site-packages."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import code_server_helpers as helpers
from code_server_helpers import TIMEOUT, Distribution, Interpreter, Make, directories_of, make_release

interpreter = helpers.interpreter
make = helpers.make

pytestmark = pytest.mark.sample


# Packages of several applications


def test_a_package_of_several_applications_has_all_its_places(make: Make) -> None:
    """What two applications put into one regular package is all there; its own directory comes first."""
    release = make(
        Distribution("plugin", files={"pkg/extra.py": ""}),
        Distribution("base", files={"pkg/__init__.py": "", "pkg/core.py": ""}),
    )

    told = release.evaluate("import pkg.core, pkg.extra; told = [pkg.__file__, pkg.__path__, pkg.extra.__file__]")

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

    told = release.evaluate("""
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

    told = release.evaluate("""
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

    told = release.evaluate("""
import ns.one, ns.two, ns.deep.one, ns.deep.two
told = [type(ns.__path__).__name__.lstrip("_"), list(ns.__path__), list(ns.deep.__path__), getattr(ns, "__file__", None)]
""")

    assert told == [
        "NamespacePath",
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

    told = release.evaluate(
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

    assert release.evaluate(code, env={"PYTHONPATH": mine}) == ["mine", 1]
    assert release.evaluate(f"import sys; sys.path.append({mine!r}); {code}") == ["lib", 2]


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

    told = release.evaluate(
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

    told = release.evaluate("import zope.one, zope.two, zope.three; told = sorted(zope.__path__)", "-I")

    assert told == [f"ROOT/lib/zope_{name}-1.0/zope" for name in ("one", "three", "two")]


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


def same_as_one_site_packages(
    interpreter: Interpreter, directory: Path, distributions: list[Distribution], listed: bool
) -> None:
    """Compare what the code server gives with what one merged directory gives."""
    release = make_release(directory / "hello", interpreter, distributions, listed=listed)
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
    @given(distributions().filter(lambda drawn: not is_refused(drawn)), st.booleans())
    def check(drawn: list[Distribution], listed: bool) -> None:
        directory = factory.mktemp("drawn")
        same_as_one_site_packages(interpreter, directory, drawn, listed)
        shutil.rmtree(directory)

    check()


def test_any_distributions_import_as_from_one_site_packages(
    interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Modules, packages, namespaces, listings and data are those of one merged site-packages, listed by the index or not."""
    check_examples(interpreter, tmp_path_factory, examples=20)


@pytest.mark.drill
@pytest.mark.timeout(1800)
def test_any_distributions_import_as_from_one_site_packages_drill(
    interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same, for many more sets of distributions."""
    check_examples(interpreter, tmp_path_factory, examples=settings().max_examples // 4)
