"""From launch to the first answer: a release next to the same lock in a byte-compiled virtual environment."""

from __future__ import annotations

import os
from collections.abc import Callable

from _measure import compare, free_port, make_release, make_venv, rounds, scratch_project, seconds_to_answer


def main() -> None:
    """Start each once to warm the page cache, then measure."""
    with scratch_project() as project:
        venv, release = make_venv(project), make_release(project)

        def from_venv() -> float:
            port = free_port()
            return seconds_to_answer(
                [venv / "bin/uvicorn", "--port", str(port), "chat.web:app"], port, {"PATH": os.defpath}
            )

        def from_release(mode: str) -> float:
            port = free_port()
            env = {"CHAT_LISTEN": f"tcp://127.0.0.1:{port}", "RELEASE_MODE": mode}
            return seconds_to_answer([release / "bin/chat", "start"], port, env)

        ways: dict[str, Callable[[], float]] = {
            "uvicorn in a venv": from_venv,
            "release, code preloaded": lambda: from_release("embedded"),
            "release, code on demand": lambda: from_release("interactive"),
        }
        for way in ways.values():
            way()
        compare("Starting examples/chat, until its first answer", ways, rounds(10))


if __name__ == "__main__":
    main()
