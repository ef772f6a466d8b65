"""Configuration at build: ``config/config.py`` evaluated, providers initialised, ``sys.config`` written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from underway_runtime.configuration.config import FORMAT, MISSING, Values, lookup
from underway_runtime.release import server_options
from underway_runtime.release.directory import ReleaseDirectory
from underway_runtime.release.errors import listing
from underway_runtime.release.references import module_of

from ..errors import ProjectError
from ..packages.applications import owner_of
from ..release import Release
from .release_code import ask

RUNTIME_FILE = "underway_runtime.providers:PythonFile"
FLAGS = ("prune-runtime-sys-config-after-boot", "reboot-system-after-config", "start-distribution-during-config")


@dataclass(frozen=True)
class Evaluated:
    """What is known of a release's configuration at build."""

    values: Values = field(default_factory=dict)
    origins: Mapping[str, Any] = field(default_factory=dict)
    """Where each value was set, as ``underway_runtime.configuration.provenance`` has it; empty when nothing was."""
    compile_env: Sequence[Any] = ()
    """What build-time code has read of it: path, whether it was there, value."""
    problems: Sequence[str] | None = None
    """What is wrong with options of web servers, as the release's own say, and of underway's; None where it was not asked."""


def configure(release: Release) -> Release:
    """Evaluate the configuration of an assembled release and write it to ``releases/V``; the functions below, in order."""
    release, values = evaluate_config(add_runtime_config(release))
    make_sys_config(release, values)
    return release


def add_runtime_config(release: Release) -> Release:
    """Copy ``config/runtime.py`` to ``releases/V/runtime.py`` and make it the first provider; without one, nothing."""
    file = release.options.runtime_config_path
    if not file or not Path(file).is_file():
        return release
    target = ReleaseDirectory(release.path).version(release.version).runtime_config
    shutil.copyfile(file, target)
    return replace(release, config_providers=((RUNTIME_FILE, target.name), *release.config_providers))


def evaluate_config(release: Release) -> tuple[Release, Evaluated]:
    """Run ``config/config.py``, the environment's own file next to it, and each provider's ``init``, with the release's own
    interpreter and code.

    Returns the release with what each ``init`` returned in the place of its argument, and what the files state. Raises
    ProjectError with what the project's code raised, and for an environment that has no file.
    """
    files = _files(release)
    if not files and not release.config_providers:
        return release, Evaluated()
    answer = ask(
        release,
        ["-m", "underway_runtime.configuration.build_time"],
        {
            "files": files,
            "environment": release.options.env,
            "may_read": list(release.options.build_env),
            "providers": [list(provider) for provider in release.config_providers],
            "starts": _web_starts(release),
        },
        "config/config.py or a provider's init",
    )
    providers = tuple((reference, argument) for reference, argument in answer["providers"])
    origins = answer["origins"] if any(answer["origins"].values()) else {}
    return replace(release, config_providers=providers), Evaluated(
        answer["config"], origins, answer["compile_env"], answer["problems"]
    )


def make_sys_config(release: Release, configured: Evaluated | Values) -> Path:
    """Write ``releases/V/sys.config`` and return its path.

    It holds the values as they are, where they were set, and what build-time code has read of them unless
    validate-compile-env is false. With providers it also holds the trigger that makes the boot run them: their names, what
    their ``init`` returned, and the options reboot-system-after-config, start-distribution-during-config and
    prune-runtime-sys-config-after-boot. After ``Mix.Release.make_sys_config/3``.

    Raises ProjectError listing what is configured for web servers that the release takes over or that they do not take.
    """
    known = configured if isinstance(configured, Evaluated) else Evaluated(configured)
    problems = known.problems
    if problems is None:
        problems = [
            problem
            for application, start in _web_starts(release).items()
            for problem in server_options.problems_of(
                application, start, known.values.get(application, {}).get("server", {})
            )
        ]
    if problems:
        raise ProjectError(listing("the configuration is not what the applications ask for:", problems))
    document: dict[str, Any] = {"format": FORMAT, "config": known.values}
    if (environment := release.options.env) != "prod":
        document["environment"] = environment
    if known.origins:
        document["origins"] = known.origins
    if known.compile_env and release.options.validate_compile_env:
        document["compile_env"] = list(known.compile_env)
    if release.config_providers:
        document["providers"] = [list(provider) for provider in release.config_providers]
    if flags := {flag: True for flag in FLAGS if release.options[flag]}:
        document["flags"] = flags
    target = ReleaseDirectory(release.path).version(release.version).sys_config
    _write(target, document)
    return target


def compile_env(release: Release, application: str, *path: str, default: Any = MISSING) -> Any:
    """For steps after assemble: a value of the configuration as built, which the boot will insist on.

    As ``config.compile_env`` in ``config/config.py``. Raises ProjectError when it is not configured and there is no default.
    """
    file = ReleaseDirectory(release.path).version(release.version).sys_config
    document = json.loads(file.read_text(encoding="utf-8"))
    keys = (application, *path)
    value = lookup(document["config"], keys)
    if release.options.validate_compile_env:
        is_set = value is not MISSING
        document.setdefault("compile_env", []).append([list(keys), is_set, value if is_set else None])
        _write(file, document)
    if value is MISSING and default is MISSING:
        raise ProjectError(
            f"a step reads {'.'.join(keys)}, which is not configured at build; state it in config/config.py"
        )
    return default if value is MISSING else value


def schemas(release: Release) -> dict[str, str]:
    """The schemas that the option config-schema names, by the application that holds them.

    Raises ProjectError for one that no application holds, and for two of one application.
    """
    sources: dict[str, str] = {}
    for reference in release.options.config_schemas:
        module = module_of(reference)
        name = module.partition(".")[0]
        owner = name if name in release.applications else owner_of(release.applications, module)
        if owner in sources:
            raise ProjectError(f"config-schema names two schemas of {owner}: {sources[owner]} and {reference}")
        sources[owner] = reference
    return sources


def _web_starts(release: Release) -> dict[str, Mapping[str, Any]]:
    """How each application starts that a web server of ours serves."""
    applications = release.applications.values()
    return {app.name: app.start for app in applications if app.start and server_options.kind_of(app.start)}


def _files(release: Release) -> list[list[str]]:
    """The build-time configuration files: path, and how they are called."""
    given = release.options.config_path
    if not given:
        return []
    environment = release.options.env
    chosen = Path(given).with_name(f"{environment}.py")
    if environment != "prod" and not chosen.is_file():
        raise ProjectError(
            f"the environment {environment!r} has no {chosen}; make it, or build for another environment"
        )
    return [
        [str(file), os.path.relpath(file, release.context.project)] for file in (Path(given), chosen) if file.is_file()
    ]


def _write(file: Path, document: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
