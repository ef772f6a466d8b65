"""Installed distributions -> applications: what each is, requires and starts, in which order and mode. Writes nothing.

Order and modes are those of Mix (elixir-lang/elixir, ``lib/mix/lib/mix/release.ex``): an application that is listed keeps the
mode that it was given; any other has the highest that one of those that depend on it has, permanent over transient
over temporary over load over none; what nobody depends on is permanent. Applications start in the order in which they are
listed, each after all that it depends on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from underway_runtime.release.boot_script import MODES, STARTING_MODES, Mode
from underway_runtime.release.references import is_reference, module_of

from ..errors import BuildError, ProjectError, did_you_mean, listing
from ..release import Application
from . import wheel_record

GROUP = "underway.application"
"""The entry point group in which a distribution names its Application class."""

_ONE_OF = f"a mode is one of {', '.join(MODES)}"
RUNTIME = "underway_runtime"
"""Starts before all others, and always."""


def application_name(name: str) -> str:
    """The name of a distribution's application: ``typing_extensions`` for ``Typing.Extensions``."""
    return canonicalize_name(name).replace("-", "_")


@dataclass(frozen=True)
class About:
    """What a dist-info says of a distribution."""

    name: str
    """As the application's."""
    version: str
    dist_info: str
    requires: tuple[str, ...]
    """Its requirements, with their markers."""
    points: tuple[tuple[str, str], ...]
    """Name and value of each of its entry points in our group."""


def about(site_packages: Path, dist_info: str) -> About:
    """Read a dist-info. Raises BuildError when it has no name or no version."""
    dist = Distribution.at(site_packages / dist_info)
    metadata = dist.metadata  # read again each time that it is asked for, and by much that is asked for
    if not all(key in metadata and metadata[key] for key in ("Name", "Version")):
        raise BuildError(f"{dist_info} has no METADATA with name and version of its distribution")
    points = ((point.name, point.value) for point in dist.entry_points if point.group == GROUP)
    requires = tuple(metadata.get_all("Requires-Dist") or ())
    return About(application_name(metadata["Name"]), metadata["Version"], dist_info, requires, tuple(points))


def read_applications(
    site_packages: Path,
    environment: Mapping[str, str],
    requirements: Iterable[str] = (),
    local: Collection[str] = (),
) -> dict[str, Application]:
    """Read the applications that are installed in a site-packages directory; as `applications_of` what is read there."""
    abouts = [about(site_packages, info) for info in wheel_record.dist_infos(site_packages)]
    applications = applications_of(abouts, environment, requirements, local)
    return {name: replace(app, source=site_packages) for name, app in applications.items()}


def applications_of(
    abouts: Iterable[About],
    environment: Mapping[str, str],
    requirements: Iterable[str] = (),
    local: Collection[str] = (),
) -> dict[str, Application]:
    """Distributions as applications, by name, sorted; where the files of each are is not said.

    `environment` is the PEP 508 environment of the interpreter. `requirements` are what the release asks for itself, and
    decide with the distributions' own requirements which extras are in force. `local` names those that were built from
    source here. Raises ProjectError with every distribution that names no, or more than one, Application class.
    """
    by_name = {one.name: one for one in abouts}
    requires = _requires(by_name, environment, requirements)
    built = {application_name(name) for name in local}
    problems: list[str] = []
    applications = {}
    for name, one in sorted(by_name.items()):
        start, problem = _start(one)
        problems += [problem] if problem else []
        applications[name] = Application(
            name=name,
            version=one.version,
            requires=tuple(sorted(requires[name])),
            dist_info=one.dist_info,
            start=start,
            local=name in built,
        )
    if problems:
        raise ProjectError(listing(f"entry points in the group {GROUP} don't say what starts:", problems))
    return applications


def starting(
    applications: Mapping[str, Application], starts: Mapping[str, Mapping[str, Any]], lazy: Sequence[str] = ()
) -> dict[str, Application]:
    """The applications with what starts them, and with the modules of those that start.

    `starts` is what the project says, by application; it wins over an entry point. Of an application that was built from source
    here all modules are preloaded, but those that match a pattern in `lazy` or are inside a package that does; of one that was
    downloaded the module that starts it, since what else it holds may need what is not in the release. Raises
    ProjectError for applications that are not there.
    """
    if unknown := [name for name in starts if name not in applications]:
        raise ProjectError(
            listing("what starts is not in the release:", (f"{n!r}{did_you_mean(n, applications)}" for n in unknown))
        )
    started = {name: replace(app, start=starts.get(name, app.start)) for name, app in applications.items()}
    return {
        name: app if app.start is None else replace(app, modules=_preloaded(app, app.start, lazy))
        for name, app in started.items()
    }


def _preloaded(application: Application, start: Mapping[str, Any], lazy: Sequence[str]) -> tuple[str, ...]:
    """The modules to import before it starts: first that which starts it, which may set up what others need, as Django's do."""
    first = tuple(module_of(str(start[kind])) for kind in ("class", "asgi", "wsgi", "main") if kind in start)
    if application.local and application.dist_info:
        every = modules_of(application, lazy)
        return (*(name for name in first if name in every), *(name for name in every if name not in first))
    return first


def modules_of(application: Application, lazy: Sequence[str] = ()) -> tuple[str, ...]:
    """The modules to import before an application starts, parents first: all of its own that can be imported.

    Without ``__main__``, tests, what `lazy` names, and files in directories that are no regular package: those may be
    templates and scripts.
    """
    files = [entry.path for entry in wheel_record.read(application.source, application.dist_info)]
    packages = {file.rpartition("/")[0] for file in files if file.endswith(("/__init__.py", "/__init__.pyc"))}
    return tuple(
        sorted(
            module
            for file in files
            if (module := wheel_record.module_name(file)) and _is_preloaded(file, packages)
            if not any(_is_left_out(part) for part in module.split("."))
            if not any(fnmatchcase(parent, pattern) for parent in _lineage(module) for pattern in lazy)
        )
    )


def owner_of(applications: Mapping[str, Application], module: str) -> str:
    """The name of the application that holds a module; of the project's own, where several do.

    Raises ProjectError when none does.
    """
    modules: set[str] = set()
    for application in sorted(applications.values(), key=lambda app: (not app.local, app.name)):
        held = {
            parent
            for entry in wheel_record.read(application.source, application.dist_info)
            if (name := wheel_record.module_name(entry.path))
            for parent in _lineage(name)
        }
        if module in held:
            return application.name
        modules |= held
    raise ProjectError(f"no application of the release holds the module {module!r}{did_you_mean(module, modules)}")


def boot_order(
    applications: Mapping[str, Application], listed: Mapping[str, Mode], first: Sequence[str] = ()
) -> tuple[tuple[str, Mode], ...]:
    """All applications with their modes, in start order: the boot script ``start``.

    `listed` is the option ``applications``, its order kept; `first` are the applications that the release is made of, permanent
    unless listed. Raises ProjectError for names and modes that are unknown.
    """
    given = {application_name(name): mode for name, mode in listed.items()}
    problems = [
        f"there is no application {name!r}{did_you_mean(name, applications)}"
        for name in given
        if name not in applications
    ]
    problems += [
        f"application {name!r} has mode {mode!r}{did_you_mean(str(mode), MODES, _ONE_OF)}"
        for name, mode in given.items()
        if mode not in MODES
    ]
    if given.get(RUNTIME, "permanent") != "permanent":
        problems.append(f"application {RUNTIME!r} is permanent always; all others stand on it")
    if problems:
        raise ProjectError(listing("the option applications does not hold:", problems))
    roots = [*given, *(name for name in map(application_name, first) if name not in given)]
    modes = _modes(applications, given, roots)
    return tuple((name, modes[name]) for name in start_order(applications, roots))


def start_order(applications: Mapping[str, Application], listed: Sequence[str]) -> tuple[str, ...]:
    """All applications, each after what it requires: the runtime, those `listed` in their order, the rest by name.

    Distributions may require each other in a circle. Then the one that is reached first comes after the others.
    """
    order: dict[str, None] = {}
    for root in (RUNTIME, *listed, *sorted(applications)):
        if root in applications:
            _visit(applications, root, order, set())
    return tuple(order)


def clean(order: Iterable[tuple[str, Mode]]) -> tuple[tuple[str, Mode], ...]:
    """The boot script ``start_clean`` of a boot script ``start``: nothing but the runtime starts."""
    return tuple(
        (name, "permanent" if name == RUNTIME else "none" if mode == "none" else "load") for name, mode in order
    )


def mode_problems(
    applications: Mapping[str, Application], order: Sequence[tuple[str, Mode]], skip: Collection[str] = ()
) -> list[str]:
    """What is wrong with a boot script: applications that are unknown, or that start without what they require.

    `skip` is the option ``skip-mode-validation-for``: applications that may. Empty when all is well.
    """
    modes = dict(order)
    skipped = {application_name(name) for name in skip}
    problems = []
    for name, mode in order:
        if name not in applications:
            problems.append(f"there is no application {name!r}{did_you_mean(name, applications)}")
            continue
        if mode not in MODES:
            problems.append(f"{name} has mode {mode!r}{did_you_mean(str(mode), MODES, _ONE_OF)}")
        for child in () if name in skipped else applications[name].requires:
            if child not in modes:
                problems.append(f"{name} is listed, but it depends on {child}, which isn't")
            elif mode in STARTING_MODES and modes[child] not in STARTING_MODES:
                problems.append(
                    f"{name} has mode {mode} but depends on {child}, which is set to {modes[child]}; set all that depend"
                    f' on {child} to load or none too, or write skip-mode-validation-for = ["{name}"]'
                )
    return problems


def _requires(
    abouts: Mapping[str, About], environment: Mapping[str, str], requirements: Iterable[str]
) -> dict[str, set[str]]:
    """Which applications each one requires, by the extras that somebody asks for."""
    stated = {name: [_requirement(name, text) for text in one.requires] for name, one in abouts.items()}
    extras: dict[str, set[str]] = {name: {""} for name in abouts}
    requires: dict[str, set[str]] = {name: set() for name in abouts}
    for text in requirements:
        requirement = _requirement("the project", text)
        extras.setdefault(application_name(requirement.name), {""}).update(requirement.extras)
    again = list(abouts)
    while again:
        name = again.pop()
        for requirement in stated[name]:
            target = application_name(requirement.name)
            marker = requirement.marker
            if target not in abouts or (
                marker is not None
                and not any(marker.evaluate({**environment, "extra": extra}) for extra in extras[name])
            ):
                continue
            if target != name:
                requires[name].add(target)
            if not requirement.extras <= extras[target]:
                extras[target] |= requirement.extras
                again.append(target)
    return requires


def _requirement(whose: str, text: str) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        raise BuildError(f"{whose} requires {text!r}, which can't be understood: {error}") from None


def _start(one: About) -> tuple[dict[str, Any] | None, str | None]:
    """Find out what a distribution's entry point says starts, and what is wrong with it."""
    points = [point for point in one.points if application_name(point[0]) == one.name]
    if not one.points:
        return None, None
    if len(chosen := points or list(one.points)) > 1:
        names = ", ".join(sorted(name for name, _ in one.points))
        return None, f"{one.name} names several: {names}; call one of them {one.name!r}"
    value = chosen[0][1].partition("[")[0].strip()
    if not is_reference(value):
        return None, f'{one.name} names {chosen[0][1]!r}, which is not of the form "module:Class"'
    return {"class": value}, None


def _modes(applications: Mapping[str, Application], given: Mapping[str, Mode], roots: Sequence[str]) -> dict[str, Mode]:
    """Mix's merging, as the least that satisfies it; a circle of requirements changes nothing of it."""
    modes: dict[str, Mode] = {}

    def merge(name: str, mode: Mode) -> None:
        mode = given.get(name, mode)
        if name not in modes or MODES.index(mode) < MODES.index(modes[name]):
            modes[name] = mode
            for child in applications[name].requires:
                merge(child, mode)

    for root in (*roots, RUNTIME):
        if root in applications:
            merge(root, "permanent")
    for name in _unreached_first(applications):
        if name not in modes:
            merge(name, "permanent")
    return modes


def _unreached_first(applications: Mapping[str, Application]) -> list[str]:
    """All names; those that no other requires come first, for they say how what they require starts."""
    required = {child for application in applications.values() for child in application.requires}
    return sorted(applications, key=lambda name: (name in required, name))


def _visit(applications: Mapping[str, Application], name: str, order: dict[str, None], path: set[str]) -> None:
    if name in order or name in path:
        return
    for child in applications[name].requires:
        _visit(applications, child, order, path | {name})
    order[name] = None


def _is_preloaded(file: str, packages: Collection[str]) -> bool:
    """Whether a file is a module that its surroundings mean to be imported: at the top, or in a package all the way."""
    if file.endswith(".so") and file.count(".", file.rfind("/") + 1) < 2:
        return False  # a library that modules load, not a module: those carry a tag, as foo.abi3.so
    directory = file.rpartition("/")[0]
    if not directory:
        return True
    inside = [parent.replace(".", "/") in packages for parent in _lineage(directory.replace("/", "."))]
    return inside[0] and inside == sorted(inside, reverse=True)  # a namespace may be around, not within


def _is_left_out(part: str) -> bool:
    return part in ("__main__", "conftest", "test", "tests") or part.startswith("test_") or part.endswith("_test")


def _lineage(module: str) -> Iterator[str]:
    """A module and the packages that it is in, innermost first."""
    while module:
        yield module
        module = module.rpartition(".")[0]
