"""The step that makes a release run over a cluster, after ``Skitter.Release.step/1``; list it last before ``assemble``.

It brings ``bin/cluster``, our ``env.sh`` and ``python.args``, ``releases/V/cluster.py``, which configures each node from
the environment as the last provider, ``releases/V/cluster.json`` with what ``[tool.underway.cluster]`` says, and has the
runtime start the engine first. What the project has set of these it refuses to overwrite, by name.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from underway_runtime.configuration.config import MISSING, lookup
from underway_runtime.release.directory import ReleaseDirectory

from ..errors import StepError, listing
from ..project.options import DEFAULTS
from ..release import Release
from .boot import RUNTIME, USER_TEMPLATES, fill, shipped_template
from .configuration import RUNTIME_FILE

STEP = "underway.steps.cluster:step"
CHECK = "underway.steps.cluster:check_configuration"
ASSEMBLE = "underway.steps:assemble"
ENGINE = "underway_runtime.cluster.application:Cluster"
FIRST = "underway_runtime.cluster.engine_first"
"""What is imported before the modules of others, which may import the engine too."""
KEY = (RUNTIME, "cluster")


def step(release: Release) -> Release:
    """Make the release one for a cluster. Raises StepError with everything of the project's that it would overwrite."""
    if problems := [*_problems(release)]:
        raise StepError(listing(f"{STEP} can't go on:", problems))
    directory = ReleaseDirectory(release.path)
    version = directory.version(release.version)
    for parent in (directory.bin, version.path):
        parent.mkdir(parents=True, exist_ok=True)
    command = directory.command("cluster")
    command.write_text(fill(release, shipped_template("cluster/cluster.sh").read_text(encoding="utf-8")), "utf-8")
    command.chmod(0o755)
    shutil.copyfile(shipped_template("cluster/cluster.py"), version.cluster_config)
    version.cluster_hosts.write_text(json.dumps(release.options.cluster, indent=1) + "\n", encoding="utf-8")
    made = [
        path.relative_to(release.path).as_posix() for path in (command, version.cluster_config, version.cluster_hosts)
    ]
    return replace(
        release,
        options=replace(release.options, rel_templates_path=str(shipped_template("cluster"))),
        runtime_start={"class": ENGINE},
        runtime_modules=(FIRST,),
        config_providers=(*release.config_providers, (RUNTIME_FILE, {"path": version.cluster_config.name})),
        overlays=(*release.overlays, *made),
        steps=(ASSEMBLE, CHECK, *release.steps[1:]),
    )


def check_configuration(release: Release) -> Release:
    """Refuse a release whose configuration states what each node is to be configured with from its environment."""
    file = ReleaseDirectory(release.path).version(release.version).sys_config
    if lookup(json.loads(file.read_text(encoding="utf-8"))["config"], KEY) is not MISSING:
        raise StepError(
            f"config/config.py states {'.'.join(KEY)}, which bin/cluster sets on each node; take it out, and state hosts, tags"
            " and roles in [tool.underway.cluster]"
        )
    return release


def _problems(release: Release) -> Iterator[str]:
    if release.name == "cluster":
        yield "the release is called cluster, and so would be both of its commands; call it otherwise"
    if release.steps[:1] != (ASSEMBLE,):
        yield f"it is not the last step before {ASSEMBLE!r}; what comes between could change what it sets"
    if (executables := release.options.include_executables_for) != ["unix"]:
        yield f"include-executables-for is {executables!r}, and this is for Unix only; leave it out"
    given = Path(release.context.project, release.options.rel_templates_path)
    if given != release.context.project / DEFAULTS["rel-templates-path"]:
        yield f"rel-templates-path is {str(given)!r}, and templates for a cluster would replace those; leave it out"
    elif templates := [name for name in USER_TEMPLATES if (given / name).exists()]:
        yield f"{given} holds {', '.join(templates)}, which templates for a cluster would replace; remove them"
