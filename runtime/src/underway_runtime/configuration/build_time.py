"""What the tool asks of a release while it builds it, answered by the release's own interpreter and code.

Reads one JSON question on standard input and writes one line of JSON as the last of standard output; what the project's own
code prints comes before it. Failures are one message on standard error and status 1.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..release.errors import ConfigError, UnderwayError, listing
from . import config, web_servers
from .config_file import evaluate, watched
from .provenance import Origins, recording
from .resolution import resolve_provider
from .schema import own_problems


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Evaluate the build-time configuration files, in order, and initialise the providers.

    Takes ``files`` (pairs of path and how it is called), ``environment`` (its name), ``may_read`` (variables),
    ``providers`` (pairs of reference and argument) and ``starts`` (how each web application starts). Returns ``config``; ``origins``;
    ``compile_env``, what was asked of `config.compile_env`; ``providers``, with what each ``init`` returned; and
    ``problems``, what is wrong with options of web servers and with what underway itself reads. Raises ConfigError.
    """
    origins = Origins()
    recording.set(origins)
    may_read = frozenset(question["may_read"])
    asked = config.record_compile_env()
    values: config.Values = {}
    config.install(values, question["environment"])
    for file, label in question["files"]:
        values = config.merge(values, evaluate(Path(file), os.environ, may_read, label))
        config.install(values)
    providers = [
        [reference, _initialised(reference, argument, may_read)] for reference, argument in question["providers"]
    ]
    read = {
        path: [list(path), value is not config.MISSING, None if value is config.MISSING else value]
        for path, value in asked
    }
    return {
        "config": values,
        "origins": origins.to_json(),
        "compile_env": list(read.values()),
        "providers": providers,
        "problems": [
            *own_problems(values, origins, faults=("unknown", "wrong")),
            *_server_problems(values, question["starts"], is_all=not providers),
        ],
    }


def _server_problems(values: config.Values, starts: Mapping[str, Any], *, is_all: bool) -> list[str]:
    configured = {application: values.get(application, {}).get("server", {}) for application in starts}
    return [
        problem
        for application, options in configured.items()
        for problem in web_servers.check(application, starts[application], options, at_build=True, is_all=is_all)
    ]


def _initialised(reference: str, argument: Any, may_read: frozenset[str]) -> Any:
    name = f"init of the configuration provider {reference}"
    try:
        provider = resolve_provider(reference)
        with watched(os.environ, may_read, reference):
            result = provider.init(argument)
    except ConfigError as error:
        raise ConfigError(f"{name} failed: {error}") from error
    except Exception as error:
        raise ConfigError(f"{name} failed: {type(error).__name__}: {error}") from error
    if problems := config.not_plain(result, "its result"):
        raise ConfigError(listing(f"{name} must return plain data:", problems))
    return result


def main() -> int:
    """Answer the question on standard input; the status of the process."""
    try:
        result = answer(json.load(sys.stdin))
    except UnderwayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print("\n" + json.dumps(result), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
