"""Two releases of the same project that are configured otherwise: the second one is installed in the process of the first."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from projects import build, run, started, write_project

TOOL = """
[project.entry-points."underway.application"]
hello = "hello:Hello"

[tool.underway]
version = "{version}"
"""

SOURCE = """\
from underway_runtime import Application

class Hello(Application):
    def start(self):
        print("ready", self.config("word"), flush=True)

    def config_change(self, changed, new, removed):
        print("changed", changed, flush=True)
"""

CONFIG = """\
from underway_runtime import config
config("hello", word="{word}")
"""


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_a_release_that_is_only_configured_otherwise(tmp_path: Path) -> None:
    """Built, unpacked, checked, installed and committed by the commands of a user, next to a service that goes on."""
    built = {}
    for version, word in (("1", "hello"), ("2", "good day")):
        files = {"src/hello/__init__.py": SOURCE, "config/config.py": CONFIG.format(word=word)}
        project = write_project(tmp_path / version, TOOL.format(version=version), files)
        built[version] = build(project)
    root = shutil.copytree(built["1"], tmp_path / "hello", symlinks=True)
    archive = built["2"].parent / "hello-2.tar.zst"

    def hello(*arguments: str) -> str:
        done = run([root / "bin/hello", *arguments])
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with started([root / "bin/hello", "start"]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready hello\n"
        hello("unpack", str(archive), "--sha256", sha256(archive.read_bytes()).hexdigest())
        assert hello("check", "2").splitlines() == [
            "2 would be configured in the process that runs 1",
            '  changed  hello.word: "hello" becomes "good day"',
        ]
        before = json.loads(hello("status", "--json"))
        done = json.loads(hello("upgrade", "2", "--json"))
        assert (done["how"], done["state"], done["pid"]) == ("configuration", "permanent", before["pid"])
        assert process.stdout.readline() == "changed {'word': 'good day'}\n"
        assert json.loads(hello("status", "--json"))["version"] == "2"
        hello("stop")
    with started([root / "bin/hello", "start"]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready good day\n"
