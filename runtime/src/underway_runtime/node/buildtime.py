"""What the tool asks of a release while it builds it, answered by the release's own interpreter and code.

Reads one JSON question on standard input and writes one line of JSON as the last of standard output; what the project's own
code prints comes before it. Failures are one message on standard error and status 1.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from ..release.errors import ConfigError, UnderwayError, listing
from . import config


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Evaluate the build-time configuration file and initialise the providers.

    Takes ``file`` (a path or None), ``may_read`` (environment variables) and ``providers`` (pairs of reference and
    argument); returns ``config`` and ``providers``, with what each ``init`` returned. Raises ConfigError.
    """
    file = question["file"]
    stated = config.evaluate(Path(file), os.environ, frozenset(question["may_read"])) if file else {}
    providers = [[reference, _initialised(reference, argument)] for reference, argument in question["providers"]]
    return {"config": stated, "providers": providers}


def _initialised(reference: str, argument: Any) -> Any:
    provider = config.resolve_provider(reference)
    try:
        result = provider.init(argument)
    except Exception as error:
        raise ConfigError(
            f"init of the configuration provider {reference} failed: {type(error).__name__}: {error}"
        ) from error
    if problems := config.not_plain(result, "its result"):
        raise ConfigError(listing(f"init of the configuration provider {reference} must return plain data:", problems))
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
