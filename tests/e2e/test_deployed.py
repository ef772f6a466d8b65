"""From a build to a host by the words that the build printed."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from projects import underway, write_project


@dataclass(frozen=True)
class Deploy:
    """hello-0.1.0 on a host, an archive of 0.2.0 that was brought there, and what was printed when that was built."""

    home: Path
    archive: Path
    printed: str
    outcome: dict[str, Any]

    def typed(self, command: str) -> subprocess.CompletedProcess[str]:
        """Type a command in the release directory."""
        return subprocess.run(
            shlex.split(command),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=120,
            env={"PATH": "/usr/bin:/bin"},
        )


@pytest.fixture(scope="module")
def deploy(tmp_path_factory: pytest.TempPathFactory) -> Deploy:
    """Built once."""
    place = tmp_path_factory.mktemp("deploy")
    one = write_project(place / "one")
    two = write_project(place / "two", version="0.2.0")
    assert underway("release", cwd=one).returncode == 0
    printed = underway("release", cwd=two).stdout
    outcome = json.loads(underway("release", "--overwrite", "--json", cwd=two).stdout)
    home = place / "srv/hello"
    shutil.copytree(one / "build/release/hello", home, symlinks=True)
    archive = shutil.copy(two / "build/release/hello-0.2.0.tar.zst", home)
    return Deploy(home, Path(archive), printed, outcome)


def test_the_digest_and_the_command_are_printed(deploy: Deploy) -> None:
    """For people as a line to copy, for machines as words."""
    digest = hashlib.sha256(deploy.archive.read_bytes()).hexdigest()
    command = ["bin/hello", "upgrade", "./hello-0.2.0.tar.zst", "--sha256", digest]

    assert f"Archive at build/release/hello-0.2.0.tar.zst, sha256 {digest}\n" in deploy.printed
    assert f"\n    {shlex.join(command)}\n" in deploy.printed
    assert deploy.outcome["deploy"] == [
        {
            "file": deploy.outcome["archives"][0],
            "sha256": digest,
            "signed": False,
            "command": command,
        }
    ]


def test_the_command_deploys_it(deploy: Deploy) -> None:
    """As it stands there, in the directory of the release; a service that is stopped boots it next."""
    [line] = re.findall(r"^    (bin/hello upgrade .*)$", deploy.printed, re.MULTILINE)

    done = deploy.typed(line)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("0.2.0 is permanent, and boots at the next start")
    assert deploy.typed("bin/hello version").stdout == "hello 0.2.0\n"
    assert deploy.typed("bin/hello verify").returncode == 0
