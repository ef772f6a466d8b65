"""A project made to run as its release would, from its virtual environment: what ``underway run`` runs.

::

    build/run/NAME/
    ├── bin/NAME                  as in a release; so `build/run/NAME/bin/NAME remote` works too
    ├── lib/underway_runtime-V/   a link to the runtime of this tool
    ├── releases/V/               boot scripts, launcher and configuration, as in a release
    │   ├── bin/python            a link to the interpreter of the virtual environment
    │   ├── share/ etc/ ...       links to what wheels put into the virtual environment
    │   └── lib/pythonX.Y/site-packages/underway.pth   adds the virtual environment's site-packages
    └── var/

Nothing is copied, and of the project nothing is kept compiled; code is imported when it is used: what was edited is what the
next start runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from packaging.requirements import Requirement

import underway_runtime
from underway_runtime.release import boot_script
from underway_runtime.release.boot_script import CodePath, PrimLoad
from underway_runtime.release.directory import ReleaseDirectory

from ..build.build import release_of
from ..build.plan import BuildPlan, plan
from ..build.starts import starts_of
from ..errors import BuildError, ProjectError
from ..packages.applications import RUNTIME, application_name, owner_of, read_applications
from ..project import sources
from ..project.project import Definition, definition, read
from ..release import Application, Release
from ..steps import ASSEMBLE, boot, cluster, configuration
from ..steps.publish import check_target, publish, workspace
from ..toolchain import uv
from ..toolchain.interpreters import markers

PLACE = Path("build", "run")
LEFT_OUT = {"bin", "include", "lib", "lib64", "pyvenv.cfg", ".gitignore", ".lock", "CACHEDIR.TAG"}
"""What is in a virtual environment and was not put there by a wheel."""


@dataclass(frozen=True)
class Prepared:
    """A project that can be run."""

    command: Path
    """Its ``bin/NAME``."""
    sources: tuple[Path, ...]
    """The directories of the projects that are built from source: this one, and those that it names by path."""


def prepare(root: Path, name: str | None, *, env: str | None = None, sync: bool = True) -> Prepared:
    """Make the directory that the project runs from, with the configuration of the environment `env`.

    With `sync`, uv brings the virtual environment up to date with the lock first, as `uv run` does. Raises an
    UnderwayError for whatever would stop a build, for a virtual environment that is missing or lacks what the lock
    holds, and when the project is running from there already.
    """
    project = read(root)
    chosen = definition(project, name, {})
    environment = _environment(chosen, sync=sync)
    overrides = {
        "python": str(environment / "bin" / "python"),
        "include-interpreter": False,
        **({"env": env} if env else {}),
    }
    planned = plan(root, name, overrides)
    target = root / PLACE / chosen.name
    applications = _applications(planned, environment)
    starts = starts_of(chosen, applications, partial(_owner, planned))
    projects = {root, *(package.project for package in planned.lock.packages if package.project is not None)}
    with workspace(target) as directory:
        release = release_of(planned, applications, starts, directory / chosen.name)
        check_target(target, release.version, overwrite=True)
        if cluster.STEP in release.steps:
            release = cluster.step(replace(release, steps=(ASSEMBLE,)))
        _write(release, planned, environment, sorted(projects))
        publish(release.path, target)
    return Prepared(ReleaseDirectory(target).command(chosen.name), tuple(sorted(projects)))


_NO_PROGRAMS = ("python", "activate", "deactivate")
"""How names of what is in every virtual environment begin: its own interpreter, and what shells read."""


def _environment(chosen: Definition, *, sync: bool) -> Path:
    root = chosen.project.root
    path = Path(root, os.environ.get("UV_PROJECT_ENVIRONMENT") or ".venv")
    if sync and (root / "uv.lock").is_file():
        uv.sync(root, chosen.options.groups, chosen.options.extras)
    if not (path / "bin" / "python").exists():
        raise BuildError(f"there is no virtual environment at {path}; make it with `uv sync`")
    return path


def _applications(planned: BuildPlan, environment: Path) -> dict[str, Application]:
    """What the lock holds, as the virtual environment has it, and the runtime."""
    root = planned.definition.project.root
    lying = {application_name(p.name): p for p in planned.lock.packages if p.project and not sources.builds(p.project)}
    local = [package.name for package in planned.lock.packages if package.project is not None]
    site_packages = _site_packages(environment)
    applications = read_applications(site_packages, markers(planned.interpreter), local=local)
    for name in lying:  # uv has not installed it; it is run from where it lies
        needs = sorted(set(applications) & _needed(planned))
        applications[name] = Application(
            name, planned.definition.project.version or "0", requires=tuple(needs), local=True
        )
    wanted = {application_name(package.name) for package in planned.lock.packages}
    if missing := sorted(wanted - applications.keys()):
        raise BuildError(
            f"the virtual environment {environment} lacks {', '.join(missing)}, which the lock of {root} holds; run"
            " `uv sync`"
        )
    here = underway_runtime.__version__
    if RUNTIME in applications and applications[RUNTIME].version != here:
        raise ProjectError(
            f"the virtual environment has underway-runtime {applications[RUNTIME].version} and this tool runs {here};"
            f" align them: `uv add underway-runtime=={here}`"
        )
    runtime = Application(RUNTIME, here)
    return {
        **{name: app for name, app in applications.items() if name in wanted},
        RUNTIME: applications.get(RUNTIME, runtime),
    }


def _needed(planned: BuildPlan) -> set[str]:
    return {application_name(Requirement(requirement).name) for requirement in planned.lock.requirements}


def _owner(planned: BuildPlan, applications: Mapping[str, Application], module: str) -> str:
    """The application that holds a module. What is installed as editable lists no modules: then it is the project."""
    installed = {name: application for name, application in applications.items() if application.dist_info}
    try:
        return owner_of(installed, module)
    except ProjectError:
        project = application_name(planned.definition.project.name)
        if project not in applications:
            raise
        return project


def _write(release: Release, planned: BuildPlan, environment: Path, projects: Sequence[Path]) -> None:
    directory = ReleaseDirectory(release.path)
    directories = directory.version(release.version)
    runtime = directory.application(RUNTIME, release.applications[RUNTIME].version)
    runtime.mkdir(parents=True)
    (runtime / RUNTIME).symlink_to(Path(underway_runtime.__file__).parent)

    # releases/V is a virtual environment of the same interpreter
    base = planned.interpreter.executable
    directories.python.parent.mkdir(parents=True)
    directories.python.symlink_to(base)
    for program in (environment / "bin").iterdir():
        if not program.name.startswith(_NO_PROGRAMS):
            (directories.python.parent / program.name).symlink_to(program)
    directories.pyvenv_cfg.write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n", encoding="utf-8")
    for entry in environment.iterdir():
        if entry.name not in LEFT_OUT:
            (directories.path / entry.name).symlink_to(entry)

    boot.write_launchers(release)
    args = directories.python_args.read_text(encoding="utf-8").splitlines()
    directories.python_args.write_text(
        "\n".join(line for line in args if line.strip() != "-B") + "\n", encoding="utf-8"
    )
    boot.make_start_data(release, directory.start_data)
    boot.make_cookie(release, directories.cookie_source)
    hook = directories.site_packages(release.interpreter_version) / "underway.pth"
    link = os.path.relpath(runtime, hook.parent)
    edited = f"{RUNTIME}.code_server.edited_source"
    lying = [directory for project in projects for directory in _lies_in(project)]
    hook.write_text(
        "".join(f"{directory}\n" for directory in (link, *lying))
        + f"import {edited}; {edited}.compile_always({[*map(str, projects)]!r}, {str(environment)!r})\n"
        f"import site; site.addsitedir({str(_site_packages(environment))!r})\n",
        encoding="utf-8",
    )

    release = configuration.configure(release)
    boot.write_boot_scripts(release)
    for name in release.boot_scripts:
        script = boot_script.read(directories.boot_script(name))
        instructions = tuple(
            instruction for instruction in script.instructions if not isinstance(instruction, CodePath | PrimLoad)
        )
        directories.boot_script(name).write_text(boot_script.dump(replace(script, instructions=instructions)), "utf-8")


def _lies_in(project: Path) -> list[Path]:
    """What is put on the path for a project that nothing installs."""
    places = [project / "src", project]
    return [] if sources.builds(project) else [directory for directory in places if directory.is_dir()]


def _site_packages(environment: Path) -> Path:
    return next(iter(sorted(environment.glob("lib/python3*/site-packages"))), environment)
