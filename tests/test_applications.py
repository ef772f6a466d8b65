"""Installed distributions become applications, in an order and in modes that are Mix's."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underway.errors import BuildError, ProjectError
from underway.packages.applications import (
    RUNTIME,
    application_name,
    boot_order,
    clean,
    mode_problems,
    modules_of,
    owner_of,
    read_applications,
    start_order,
    starting,
)
from underway.release import Application
from underway.toolchain import interpreters
from underway_runtime.release.boot_script import MODES, Mode
from wheels import write_dist_info

ENVIRONMENT = interpreters.markers(interpreters.describe(Path(sys.executable)))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An empty site-packages."""
    return tmp_path / "lib/python3.11/site-packages"


def apps(**requires: Sequence[str]) -> dict[str, Application]:
    """Applications by what each requires; what is only required is there too."""
    names = {*requires, *(child for children in requires.values() for child in children)}
    return {name: Application(name, "1", tuple(sorted(requires.get(name, ())))) for name in sorted(names)}


def modes(applications: Mapping[str, Application], own: Sequence[str] = (), **listed: Mode) -> dict[str, Mode]:
    return dict(boot_order(applications, listed, own))


# what is installed


def test_a_distribution_is_an_application(site: Path) -> None:
    """Name, version and place come from the dist-info; the name is normalized."""
    write_dist_info(site, "Zope.Interface", {"zope/interface.py": ""}, version="5.1")

    assert read_applications(site, ENVIRONMENT) == {
        "zope_interface": Application("zope_interface", "5.1", source=site, dist_info="Zope.Interface-5.1.dist-info")
    }
    assert application_name("Typing.Extensions") == "typing_extensions"


def test_requirements_are_those_that_hold_here(site: Path) -> None:
    """Markers are evaluated for the interpreter, and only what is installed counts."""
    write_dist_info(
        site, "a", requires=["b; sys_platform != 'win32'", "C-d", "e; sys_platform == 'win32'", "absent", "a[x]"]
    )
    for name in ("b", "c-d", "e"):
        write_dist_info(site, name)

    assert read_applications(site, ENVIRONMENT)["a"].requires == ("b", "c_d")


def test_an_extra_is_in_force_where_somebody_asks_for_it(site: Path) -> None:
    """A dependant's extra, an extra of an extra and the project's own turn requirements on; nobody's stays off."""
    write_dist_info(site, "web", requires=["server[Fast]", "speed; extra == 'more'"], extras=["more"])
    write_dist_info(
        site, "server", requires=["speed; extra == 'fast'", "server[colour]; extra == 'fast'", "log; extra == 'colour'"]
    )
    write_dist_info(site, "speed", requires=["log; extra == 'never'"])
    write_dist_info(site, "log")

    found = read_applications(site, ENVIRONMENT, ["web"])
    assert {name: app.requires for name, app in found.items()} == {
        "web": ("server",),
        "server": ("log", "speed"),
        "speed": (),
        "log": (),
    }
    assert read_applications(site, ENVIRONMENT, ["web[more]"])["web"].requires == ("server", "speed")


def test_an_entry_point_says_what_starts(site: Path) -> None:
    """The group underway.application names a class; with several, the one with the application's name."""
    group = "[underway.application]\n"
    write_dist_info(site, "one", entry_points=group + "anything = one.app:One\n")
    write_dist_info(site, "my-two", entry_points=group + "other = two:Other\nMy.Two = two:Two [extra]\n")
    write_dist_info(site, "none", entry_points="[console_scripts]\nnone = none:main\n")

    found = read_applications(site, ENVIRONMENT)
    assert {name: app.start for name, app in found.items()} == {
        "one": {"class": "one.app:One"},
        "my_two": {"class": "two:Two"},
        "none": None,
    }


def test_entry_points_that_leave_a_choice_are_refused(site: Path) -> None:
    """All distributions that name several classes, or none that can be, are in one error."""
    group = "[underway.application]\n"
    write_dist_info(site, "two", entry_points=group + "a = two:A\nb = two:B\n")
    write_dist_info(site, "bare", entry_points=group + "bare = bare\n")

    with pytest.raises(ProjectError) as caught:
        read_applications(site, ENVIRONMENT)
    assert "  - two names several: a, b; call one of them 'two'" in str(caught.value)
    assert """  - bare names 'bare', which is not of the form "module:Class\"""" in str(caught.value)


def test_a_distribution_without_metadata_is_refused(site: Path) -> None:
    """A dist-info that names nothing can't be released."""
    write_dist_info(site, "a")
    (site / "a-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.4\n")

    with pytest.raises(BuildError, match=r"a-1\.0\.dist-info has no METADATA"):
        read_applications(site, ENVIRONMENT)


# modules


FILES = (
    *("chat/__init__.py", "chat/__main__.py", "chat/web.py", "chat/rooms/__init__.py", "chat/rooms/lobby.py"),
    *("chat/tests/__init__.py", "chat/tests/test_web.py", "chat/conftest.py", "chat/test_more.py", "chat/page.html"),
    *("chat/templates/project.py", "chat/2to3.py", "chat/fast.cpython-311-x86_64-linux-gnu.so", "chat/libz.so"),
    *("chat_cli.py", "acme/__init__.pyi", "acme/chat/__init__.py", "acme/chat/hooks.py", "scripts/run.py"),
)


def test_what_starts_is_preloaded_whole(site: Path) -> None:
    """All modules of an application, parents first; not __main__, tests, libraries, or files in what is not a package."""
    write_dist_info(site, "chat", dict.fromkeys(FILES, ""))
    chat = read_applications(site, ENVIRONMENT)["chat"]

    assert modules_of(chat) == (
        *(
            "acme.chat",
            "acme.chat.hooks",
            "chat",
            "chat.fast",
            "chat.rooms",
            "chat.rooms.lobby",
            "chat.web",
            "chat_cli",
        ),
    )


def test_what_starts_an_application_is_imported_first(site: Path) -> None:
    """What sets up a framework is there before modules that need it: Django's models can't be imported before."""
    write_dist_info(site, "chat", dict.fromkeys(("chat/__init__.py", "chat/models.py", "chat/wsgi.py"), ""))
    chat = replace(read_applications(site, ENVIRONMENT)["chat"], local=True)

    started = starting({"chat": chat}, {"chat": {"wsgi": "chat.wsgi:application"}})
    assert started["chat"].modules == ("chat.wsgi", "chat", "chat.models")


def test_lazy_modules_are_not_preloaded(site: Path) -> None:
    """A pattern names a module and all that is inside it."""
    write_dist_info(site, "chat", dict.fromkeys(FILES, ""))
    chat = read_applications(site, ENVIRONMENT)["chat"]

    assert modules_of(chat, ["chat.r*", "acme", "*_cli"]) == ("chat", "chat.fast", "chat.web")


def test_starting_attaches_what_the_project_says(site: Path) -> None:
    """The project's word wins over an entry point; unknown applications are refused."""
    write_dist_info(site, "chat", {"chat.py": ""}, entry_points="[underway.application]\nchat = chat:App\n")
    write_dist_info(site, "lib", {"lib.py": ""})
    found = read_applications(site, ENVIRONMENT)
    main = {"main": "chat:main", "args": []}

    assert {name: app.start for name, app in starting(found, {}).items()} == {
        "chat": {"class": "chat:App"},
        "lib": None,
    }
    assert starting(found, {"chat": main})["chat"].start == main
    with pytest.raises(ProjectError, match="'chad'; did you mean 'chat'"):
        starting(found, {"chad": {}})


def test_of_what_starts_all_that_is_local_is_preloaded(site: Path) -> None:
    """A project's own modules are all preloaded but the lazy ones, a download's only the one that starts, a library's none."""
    files = {"{0}/__init__.py": "", "{0}/cli.py": ""}
    for name in ("chat", "shop", "lib"):
        write_dist_info(site, name, {path.format(name): text for path, text in files.items()})
    found = read_applications(site, ENVIRONMENT, local=["chat", "lib"])
    starts = {name: {"main": f"{name}:main", "args": []} for name in ("chat", "shop")}

    assert [app.modules for app in starting(found, starts).values()] == [("chat", "chat.cli"), (), ("shop",)]
    assert starting(found, starts, lazy=["*.cli"])["chat"].modules == ("chat",)


def test_a_module_has_an_owner(site: Path) -> None:
    """The application that holds a module or package is found, also in a namespace; the project's own goes first."""
    write_dist_info(site, "a-lib", {"acme/lib.py": "", "both.py": ""})
    write_dist_info(site, "web", {"acme/web/__init__.py": "", "acme/web/app.py": "", "both.py": ""})
    found = read_applications(site, ENVIRONMENT, local=["web"])

    assert [owner_of(found, name) for name in ("acme.lib", "acme.web.app", "acme.web", "both")] == [
        "a_lib",
        "web",
        "web",
        "web",
    ]
    with pytest.raises(
        ProjectError, match=r"no application of the release holds the module 'acme.wep'; did you mean 'acme.web'"
    ):
        owner_of(found, "acme.wep")


# order


def test_applications_start_in_the_listed_order_as_far_as_they_can() -> None:
    """The runtime first, then what is listed, each after what it requires, then the rest by name."""
    found = apps(web=["store", "log"], store=["log"], zoo=[], alone=[], underway_runtime=[])

    assert start_order(found, ["zoo", "web"]) == (RUNTIME, "zoo", "log", "store", "web", "alone")
    assert start_order(found, ["web", "log", "zoo"]) == (RUNTIME, "log", "store", "web", "zoo", "alone")


def test_a_circle_is_broken_the_same_way_each_time() -> None:
    """Distributions that require each other start in an order that depends on names alone."""
    found = apps(a=["b"], b=["c"], c=["a"], d=["b"])

    assert start_order(found, []) == ("c", "b", "a", "d")
    assert start_order(dict(reversed(found.items())), []) == ("c", "b", "a", "d")
    assert start_order(found, ["d"]) == ("a", "c", "b", "d")
    assert set(modes(found, d="load").values()) == {"load"}


graphs = st.dictionaries(st.sampled_from("abcdefgh"), st.sets(st.sampled_from("abcdefgh")), min_size=1)
listings = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(MODES))


@given(graphs, listings)
def test_what_is_required_starts_first_whatever_is_listed(graph: dict[str, set[str]], listed: dict[str, Mode]) -> None:
    """In every order each application is there once, and before it all that it requires but by way of a circle."""
    acyclic = {name: {child for child in children if child > name} for name, children in graph.items()}
    found = apps(**{name: sorted(children) for name, children in acyclic.items()})
    order = start_order(found, [name for name in listed if name in found])

    assert sorted(order) == sorted(found)
    for name, app in found.items():
        assert all(order.index(child) < order.index(name) for child in app.requires)


# modes


@given(graphs, listings)
def test_modes_are_those_of_mix(graph: dict[str, set[str]], listed: dict[str, Mode]) -> None:
    """A mode that was given stays; any other is the highest of those that depend on it, and permanent where none does."""
    found = apps(**{name: sorted(children - {name}) for name, children in graph.items()})
    given_modes = {name: mode for name, mode in listed.items() if name in found}
    merged = dict(boot_order(found, given_modes))

    for name in found:
        parents = [merged[parent] for parent, app in found.items() if name in app.requires]
        if name in given_modes:
            assert merged[name] == given_modes[name]
        elif not parents:
            assert merged[name] == "permanent"
        else:
            assert MODES.index(merged[name]) <= min(map(MODES.index, parents))


def test_a_mode_reaches_what_the_application_depends_on() -> None:
    """Dependencies take the mode of their dependant, at any depth, unless they are given their own."""
    found = apps(web=["store"], store=["log", "disk"])

    assert modes(found, ["web"]) == dict.fromkeys(["web", "store", "log", "disk"], "permanent")
    assert modes(found, ["web"], web="temporary") == dict.fromkeys(["web", "store", "log", "disk"], "temporary")
    assert modes(found, ["web"], web="load", store="none") == {
        "web": "load",
        "store": "none",
        "log": "none",
        "disk": "none",
    }


@pytest.mark.parametrize(
    ("left", "right", "merged"),
    [
        ("permanent", "none", "permanent"),
        ("transient", "permanent", "permanent"),
        ("temporary", "transient", "transient"),
        ("load", "temporary", "temporary"),
        ("none", "load", "load"),
        ("none", "none", "none"),
    ],
)
def test_of_two_modes_the_higher_wins(left: Mode, right: Mode, merged: Mode) -> None:
    """permanent over transient over temporary over load over none, whichever is met first, and for what is below too."""
    found = apps(a=["shared"], b=["shared"], shared=["below"])

    assert modes(found, a=left, b=right) == {"a": left, "b": right, "shared": merged, "below": merged}
    assert modes(found, b=right, a=left) == {"a": left, "b": right, "shared": merged, "below": merged}


def test_the_listed_come_in_their_order_and_the_own_after_them() -> None:
    """As in Mix the release's own application comes after those that are listed, unless it is one of them."""
    found = apps(web=[], zoo=[], ant=[], underway_runtime=[])

    assert [name for name, _ in boot_order(found, {"zoo": "load"}, ["web"])] == [RUNTIME, "zoo", "web", "ant"]
    assert [name for name, _ in boot_order(found, {"web": "load", "zoo": "load"}, ["web"])] == [
        RUNTIME,
        "web",
        "zoo",
        "ant",
    ]


def test_unknown_applications_and_modes_are_all_named() -> None:
    """One error for the whole option, with what was likely meant."""
    found = apps(datasette_vega=["datasette"], underway_runtime=[])
    wrong = {"datasete": "load", "datasette-vega": "permanant", "underway-runtime": "load"}

    with pytest.raises(ProjectError) as caught:
        boot_order(found, wrong)  # type: ignore[arg-type]  # what a caller without types may give
    assert str(caught.value).splitlines() == [
        "the option applications does not hold:",
        "  - there is no application 'datasete'; did you mean 'datasette'?",
        (
            "  - application 'datasette_vega' has mode 'permanant'; did you mean 'permanent'?"
            " a mode is one of permanent, transient, temporary, load, none"
        ),
        "  - application 'underway_runtime' is permanent always; all others stand on it",
    ]


def test_starting_over_what_does_not_start_is_a_problem() -> None:
    """permanent, transient or temporary over load or none is told for each pair, unless it is skipped by name."""
    found = apps(web=["store", "log"], store=[], log=[])
    order = boot_order(found, {"store": "load", "log": "none"}, ["web"])

    problems = mode_problems(found, order)
    assert [problem.partition(";")[0] for problem in problems] == [
        "web has mode permanent but depends on log, which is set to none",
        "web has mode permanent but depends on store, which is set to load",
    ]
    assert 'skip-mode-validation-for = ["web"]' in problems[0]
    assert mode_problems(found, order, skip=["Web"]) == []
    assert mode_problems(found, boot_order(found, {"web": "load", "store": "none"})) == []


def test_a_boot_script_names_what_there_is() -> None:
    """Steps may write boot scripts: unknown names and modes, and what is left out, are problems."""
    found = apps(web=["store"])

    assert mode_problems(found, [("wep", "load")]) == ["there is no application 'wep'; did you mean 'web'?"]
    assert mode_problems(found, [("web", "load")]) == ["web is listed, but it depends on store, which isn't"]
    [problem] = mode_problems(found, [("store", "loaded")])  # type: ignore[list-item]  # what a step may write
    assert problem.startswith("store has mode 'loaded'; did you mean 'load'?")


def test_start_clean_starts_the_runtime_only() -> None:
    """As in Mix: all others are loaded, and those of mode none stay out."""
    order: list[tuple[str, Mode]] = [(RUNTIME, "permanent"), ("log", "none"), ("web", "transient")]

    assert clean(order) == ((RUNTIME, "permanent"), ("log", "none"), ("web", "load"))
