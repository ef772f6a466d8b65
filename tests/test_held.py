"""What a command that is killed leaves among temporary files is cleared by the next, and nothing that is in use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from projects import ENVIRONMENT, TIMEOUT, UNDERWAY, build, underway, write_project
from test_relup import edit
from underway.planner.releases import SCRATCH
from underway.toolchain.held import held

HOLD = """
import sys
from pathlib import Path
from underway.toolchain.held import held
with held("mine-", Path(sys.argv[1])) as place:
    (place / "large").write_text("x")
    print(place, flush=True)
    sys.stdin.read()
"""


def holder(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_the_dead_left_is_cleared_and_what_is_held_stays(tmp_path: Path) -> None:
    """By name and owner; a file, a link and another's name are left alone."""
    living, kept = holder(tmp_path)
    dead, left = holder(tmp_path)
    dead.kill()
    dead.communicate(timeout=TIMEOUT)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine-link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "mine-file").write_text("")
    (tmp_path / "other-x").mkdir()

    with held("mine-", tmp_path) as place:
        assert place.is_dir()
        assert (kept / "large").exists()
        assert not left.exists()
    assert sorted(os.listdir(tmp_path)) == sorted(["elsewhere", "mine-file", "mine-link", "other-x", kept.name])

    living.communicate("", timeout=TIMEOUT)
    assert not kept.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory of another user")
def test_what_is_another_user_s_is_left_alone(tmp_path: Path) -> None:
    """Who could lock it has not made it."""
    (tmp_path / "mine-theirs").mkdir()
    os.chown(tmp_path / "mine-theirs", 65534, 65534)

    with held("mine-", tmp_path):
        pass

    assert os.listdir(tmp_path) == ["mine-theirs"]


@pytest.mark.e2e
def test_a_planner_that_is_killed_leaves_nothing_for_long(tmp_path: Path) -> None:
    """Its worker ends with it, and the next one removes what it had unpacked."""
    tool = '[tool.underway]\nmain = "hello:main"\ninclude-interpreter = false\n'
    root = write_project(tmp_path / "hello", tool, {"src/hello/limits.py": "LIMIT = 1\n"})
    build(root)
    edit(root, "0.2.0", {"limits.py": "LIMIT = 2\n"})
    build(root)
    archives = sorted((root / "build/release").glob("*.tar.*"))
    words = ["relup", "--target", str(archives[1]), "--fromto", str(archives[0])]
    (tmp_path / "tmp").mkdir()
    environ = {**ENVIRONMENT, "TMPDIR": str(tmp_path / "tmp")}
    process = subprocess.Popen([UNDERWAY, *words], cwd=root, env=environ, stderr=subprocess.PIPE)
    while process.poll() is None and not any((tmp_path / "tmp").glob(f"{SCRATCH}*/release")):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=TIMEOUT)
    assert process.returncode == -signal.SIGKILL, "it was faster than it could be killed"
    assert os.listdir(tmp_path / "tmp") != []

    done = underway(*words, cwd=root, env={"TMPDIR": str(tmp_path / "tmp")})

    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path / "tmp") == []
