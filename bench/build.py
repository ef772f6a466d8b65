"""How long a release takes to build, next to a byte-compiled virtual environment of the same lock; caches are warm."""

from __future__ import annotations

import shutil

from _measure import compare, make_release, make_venv, rounds, scratch_project, timed


def main() -> None:
    """Build each once to warm the caches, then measure."""
    with scratch_project() as project:
        make_venv(project)
        make_release(project)

        def venv() -> float:
            shutil.rmtree(project / ".venv")
            return timed(lambda: make_venv(project))

        def release() -> float:
            shutil.rmtree(project / "build")
            return timed(lambda: make_release(project))

        compare(
            "Building examples/chat",
            {"uv sync, no interpreter": venv, "underway release": release},
            rounds(),
        )


if __name__ == "__main__":
    main()
