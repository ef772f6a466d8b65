"""``bin/NAME config``: what is configured, where each value came from, and nothing that is secret."""

from __future__ import annotations

import json
import sys
from typing import Any

from ..process import lock
from ..process.settings import Settings
from ..release import boot_script
from ..release.display import one_line
from ..release.errors import UnderwayError, did_you_mean
from . import boot_config
from .provenance import REDACTED, Setting, leaves, printable, without_passwords
from .resolution import Resolved


def run(settings: Settings, *, explain: str | None, as_json: bool) -> int:
    """Print the configuration of the running node; without one, what a boot would be configured with now.

    `explain` is an application, or ``application.key``, and shows what was set there before as well. Raises UnderwayError
    for one that is not configured, and what resolving raises.
    """
    resolved, source = _configuration(settings)
    rows = _rows(resolved, explain)
    if as_json:
        document = {
            "source": source,
            "environment": resolved.environment,
            "settings": rows,
            "variables": resolved.origins.variables,
        }
        print(json.dumps(document, indent=1))
        return 0
    for row in rows:
        where = f"  ({one_line(row['from'])})" if row["from"] else ""
        print(f"{_name(row['key'])} = {printable(row['value'])}{where}")
        if explain is not None:
            for before in row["before"]:
                print(f"    before: {printable(before['value'])}  ({one_line(before['from'])})")
    if explain is None:
        for name, where in sorted(resolved.origins.variables.items()):
            print(f"# read from the environment: {one_line(name)}  ({one_line(where)})")
    return 0


def _configuration(settings: Settings) -> tuple[Resolved, str]:
    if lock.find(settings.tmp, settings.name) is not None:
        if (running := boot_config.of_running_node(settings)) is not None:
            return running, "the running node"
        print(
            f"{settings.name} runs and keeps no record of its configuration, or is just starting; this is what a start"
            " would be configured with now",
            file=sys.stderr,
        )
    script = boot_script.read(settings.boot_script)
    return boot_config.with_boot_script(boot_config.resolve(settings, script), script), "a start now"


def _rows(resolved: Resolved, key: str | None) -> list[dict[str, Any]]:
    origins = resolved.origins
    history: dict[tuple[str, ...], list[Setting]] = {}
    for setting in origins.settings:
        history.setdefault(setting.path, []).append(setting)
    rows = []
    names = []
    for path, value in sorted(leaves(resolved.values)):
        name = ".".join(path)
        names += [name]
        if key is not None and name != key and not name.startswith(f"{key}."):
            continue
        secret = origins.is_secret(path)

        def redacted(value: Any, secret: bool = secret) -> Any:
            return REDACTED if secret else without_passwords(value)

        set_at = history.get(path, [])
        rows.append(
            {
                "key": name,
                "value": redacted(value),
                "secret": secret,
                "from": set_at[-1].where if set_at else "",
                "before": [
                    {"value": redacted(earlier.value), "from": earlier.where} for earlier in reversed(set_at[:-1])
                ],
            }
        )
    if key is not None and not rows:
        raise UnderwayError(f"{key} is not configured{did_you_mean(key, names)}")
    return rows


def _name(key: str) -> str:
    return key if key.isprintable() else printable(key)
