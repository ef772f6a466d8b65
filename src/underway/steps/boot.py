"""What a release boots from: boot scripts, NAME.rel, start data, the cookie's source, the launcher and its templates."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

from underway_runtime.release import boot_script, command_table
from underway_runtime.release.boot_script import STARTING_MODES, CodePath, Load, Mode, PrimLoad, Progress, Start
from underway_runtime.release.directory import ReleaseDirectory

from ..errors import BuildError, listing
from ..release import Release
from . import configuration

RUNTIME = "underway_runtime"
USER_TEMPLATES = ("env.sh", "python.args", "remote.python.args", "systemd.service", "systemd.socket")
"""Templates that a project may replace by files of the same name below rel-templates-path."""


def make_boot_script(
    release: Release, path: Path, modes: Sequence[tuple[str, Mode]], prepend: Sequence[str] = ()
) -> Path:
    """Write ``path.rel`` and ``path.script`` and return the path of the .rel.

    `path` is without extension. `modes` says which applications are in it, how, and in which order they start; an application's
    requirements come before it. `prepend` names directories, as ``$RELEASE_LIB/...``, that come first in the code path. Nothing
    that is written holds an absolute path. After ``Mix.Release.make_boot_script/4``.

    Raises BuildError with everything that is wrong: applications that are not in the release or are listed twice, a
    directory that is not below ``$RELEASE_LIB``.
    """
    names = [name for name, _ in modes]
    problems = [f"{name!r} is not in the release" for name in names if name not in release.applications]
    problems += [
        f"{name!r} is listed {names.count(name)} times" for name in dict.fromkeys(names) if names.count(name) > 1
    ]
    problems += [
        f"{entry!r} does not begin with $RELEASE_LIB/" for entry in prepend if not entry.startswith("$RELEASE_LIB/")
    ]
    if problems:
        raise BuildError(listing(f"the boot script {path.name!r} can't be made:", problems))

    schemas = configuration.schemas(release)
    directories = dict.fromkeys(f"$RELEASE_LIB/{_directory(release, name)}" for name in names)
    loaded = [name for name, mode in modes if mode != "none"]
    starting = [(name, mode) for name, mode in modes if mode in STARTING_MODES]
    of_runtime = {name: release.runtime_modules for name, _ in starting if name == RUNTIME}
    preloads = of_runtime | {name: release.applications[name].modules for name, _ in starting if name != RUNTIME}
    script = boot_script.BootScript(
        name=path.name,
        release=release.name,
        version=release.version,
        instructions=(
            CodePath((*prepend, *directories)),
            *(_load(release, name, set(names), schemas.get(name)) for name in loaded),
            Progress("applications_loaded"),
            *(PrimLoad(name, modules) for name, modules in preloads.items() if modules),
            Progress("modules_loaded"),
            *(Start(name, mode) for name, mode in starting),
            Progress("started"),
        ),
    )
    path.with_name(f"{path.name}.script").write_text(boot_script.dump(script), encoding="utf-8")
    rel = path.with_name(f"{path.name}.rel")
    rel.write_text(_rel_text(release, modes), encoding="utf-8")
    return rel


def write_boot_scripts(release: Release) -> None:
    """Write every boot script of the release; the .rel of ``start`` becomes NAME.rel and its copy in ``releases/``."""
    directory = ReleaseDirectory(release.path)
    version = directory.version(release.version)
    for name, modes in release.boot_scripts.items():
        rel = make_boot_script(release, version.path / name, modes)
        if name == "start":
            rel.replace(version.rel(release.name))
            shutil.copyfile(version.rel(release.name), directory.copied_rel(release.name, release.version))
        else:
            rel.unlink()


def make_start_data(release: Release, path: Path) -> None:
    """Write the version of the interpreter and of the release to boot to `path`, on one line."""
    path.write_text(f"{release.interpreter_version} {release.version}\n", encoding="utf-8")


def make_cookie(release: Release, path: Path) -> None:
    """Write to `path` where the node takes its cookie from; the cookie itself is made or read on the node.

    Mix.Release writes the cookie into the release; there every copy of the artefact holds the secret, so here the option
    ``cookie`` names a file or a variable, and without it the node makes one at its first boot.
    """
    option = release.options.cookie
    source = {"from": "node"} if not option else {"from": next(iter(option)), **option}
    path.write_text(json.dumps(source) + "\n", encoding="utf-8")


def write_gates(release: Release) -> None:
    """Write the gates of the release to ``releases/V``, where it has some."""
    if gates := release.options.gates:
        file = ReleaseDirectory(release.path).version(release.version).gates
        file.write_text(json.dumps(gates, indent=1) + "\n", encoding="utf-8")


def write_heart(release: Release, path: Path) -> None:
    """Write to `path` how often a node that fails is started again, where the option ``heart`` asks for that.

    In Erlang this is a flag of the emulator and a command in the environment, and there is no limit.
    """
    option = release.options.heart
    if option is not False:
        path.write_text(json.dumps(option if isinstance(option, dict) else {}) + "\n", encoding="utf-8")


def rel_templates_path(release: Release, name: str) -> Path:
    """The template called `name`: the project's own below the option rel-templates-path, or the one that we ship."""
    template = Path(release.options.rel_templates_path, name)
    return template if name in USER_TEMPLATES and template.is_file() else shipped_template(name)


def shipped_template(name: str) -> Path:
    """The template called `name` as this tool ships it."""
    with as_file(files("underway") / "templates" / name) as path:
        return path


def write_launchers(release: Release) -> None:
    """Write ``bin/NAME``, the launcher of the version, and the files that it reads."""
    directory = ReleaseDirectory(release.path)
    version = directory.version(release.version)
    directory.bin.mkdir(parents=True, exist_ok=True)
    command = directory.command(release.name)
    for target, template in (
        (command, "name.sh"),
        (version.launcher, "launcher.sh"),
        (version.env_sh, "env.sh"),
        (version.python_args, "python.args"),
        (version.remote_python_args, "remote.python.args"),
        (version.unit("service"), "systemd.service"),
        (version.unit("socket"), "systemd.socket"),
    ):
        target.write_text(fill(release, rel_templates_path(release, template).read_text(encoding="utf-8")), "utf-8")
    for executable in (command, version.launcher):
        executable.chmod(0o755)
    site_packages = version.site_packages(release.interpreter_version)
    site_packages.mkdir(parents=True, exist_ok=True)
    hook = rel_templates_path(release, "underway.pth").read_text(encoding="utf-8")
    (site_packages / "underway.pth").write_text(fill(release, hook), encoding="utf-8")


def fill(release: Release, template: str) -> str:
    """A template with its placeholders filled in."""
    runtime = release.applications.get(RUNTIME)
    values = {
        "@RELEASE_NAME@": release.name,
        "@RELEASE_VERSION@": release.version,
        "@RUNTIME_DIRECTORY@": _directory(release, RUNTIME) if runtime else RUNTIME,
        **command_table.placeholders(),
    }
    for placeholder, value in values.items():
        template = template.replace(placeholder, value)
    return template


def _load(release: Release, name: str, present: set[str], schema: str | None) -> Load:
    application = release.applications[name]
    requires = tuple(sorted(set(application.requires) & present))
    start = release.runtime_start if name == RUNTIME else application.start
    return Load(name, application.version, requires, start, schema)


def _directory(release: Release, name: str) -> str:
    return release.applications[name].directory


def _rel_text(release: Release, modes: Sequence[tuple[str, Mode]]) -> str:
    document = {
        "format": 1,
        "name": release.name,
        "version": release.version,
        "interpreter": release.interpreter_version,
        "applications": [
            {"name": name, "version": release.applications[name].version, "mode": mode} for name, mode in modes
        ],
    }
    return json.dumps(document, indent=1) + "\n"
