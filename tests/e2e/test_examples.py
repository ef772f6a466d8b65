"""The examples are projects of their own, with their own locks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.e2e
def test_an_example_passes_its_own_tests(tmp_path: Path) -> None:
    """Those of the chat pass with what it has locked, not with what we have."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {
        "UV_PROJECT_ENVIRONMENT": str(tmp_path / "venv"),
        "UV_PYTHON_DOWNLOADS": "never",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [find_uv_bin(), "run", "--locked", "--python", sys.executable, "pytest", "-p", "no:cacheprovider"],
        cwd=EXAMPLES / "chat",
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
