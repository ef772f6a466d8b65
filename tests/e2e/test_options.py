"""Each option of a release does what docs/reference/options.md says, in a release that was built and run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ports import free_port
from projects import ZSTD, build, get, run, started, underway, uv, write_project
from underway_runtime.release.archives import archive

pytestmark = pytest.mark.e2e

LIGHT = '[tool.underway]\nmain = "hello:main"\ninclude-interpreter = false\n'
"""Without an interpreter of its own a release is made in a second."""


def version_path(release: Path) -> Path:
    [place] = (path for path in (release / "releases").iterdir() if path.is_dir())
    return place


def test_configuration_at_build_and_at_boot(tmp_path: Path) -> None:
    """config/config.py is evaluated at build, config/runtime.py and providers at boot, in order; env is declared."""
    files = {
        "config/config.py": (
            "from underway_runtime import config, env\nconfig('hello', a=1, b=1, region=env('REGION', 'eu'))\n"
        ),
        "config/runtime.py": "from underway_runtime import config, env\nconfig('hello', b=env('B', '2'))\n",
        "src/hello/providers.py": (
            "class Last:\n"
            "    def init(self, argument): return {'given': argument}\n"
            "    def load(self, values, argument):\n"
            "        return {**values, 'hello': {**values['hello'], 'c': argument['given']}}\n"
        ),
    }
    tool = LIGHT + 'build-env = ["REGION"]\nconfig-providers = [["hello.providers:Last", 3]]\n'
    release = build(write_project(tmp_path, tool, files))
    code = "from underway_runtime import config; print(config.application('hello'))"

    done = run([release / "bin/hello", "eval", code], {"B": "from the node"})

    assert done.stdout.strip() == str({"a": 1, "b": "from the node", "region": "eu", "c": 3}), done.stderr


def test_no_configuration_when_it_is_turned_off(tmp_path: Path) -> None:
    """config-path and runtime-config-path false leave the files alone."""
    files = {"config/config.py": "1 / 0", "config/runtime.py": "1 / 0"}
    release = build(write_project(tmp_path, LIGHT + "config-path = false\nruntime-config-path = false\n", files))

    assert run([release / "bin/hello", "eval", "print(1)"]).stdout == "1\n"


def test_an_undeclared_variable_at_build_is_refused(tmp_path: Path) -> None:
    """What config/config.py reads of the environment would be frozen, so it is declared or refused."""
    files = {"config/config.py": "from underway_runtime import config, env\nconfig('hello', home=env('HOME'))\n"}

    done = underway("release", cwd=write_project(tmp_path, LIGHT, files))

    assert done.returncode == 1
    assert "the environment variable HOME would be frozen" in done.stderr


def test_templates_of_the_project(tmp_path: Path) -> None:
    """underway init --templates writes the templates; the next release uses what the project made of them."""
    root = write_project(tmp_path, LIGHT)
    assert underway("init", "--templates", cwd=root).returncode == 0
    assert sorted(os.listdir(root / "rel")) == [
        "env.sh",
        "python.args",
        "remote.python.args",
        "systemd.service",
        "systemd.socket",
    ]
    with (root / "rel/env.sh").open("a") as file:
        file.write("export GREETING=hi\n")
    with (root / "rel/python.args").open("a") as file:
        file.write("-X utf8=1\n")

    release = build(root)
    done = run([release / "bin/hello", "eval", "import os, sys; print(os.environ['GREETING'], sys.flags.utf8_mode)"])

    assert done.stdout == "hi 1\n", done.stderr
    again = underway("init", "--templates", cwd=root)
    assert again.returncode == 1
    assert "--force replaces them" in again.stderr


def test_custom_steps_options_and_overlays(tmp_path: Path) -> None:
    """A step of the project sees its options, adds files and steps; overlays are in tree, manifest and archive."""
    files = {
        "release_steps.py": (
            "from dataclasses import replace\n"
            "def note(release):\n"
            "    (release.path / 'NOTE').write_text(release.options['colour'])\n"
            "    (release.path / 'scratch').write_text('unlisted')\n"
            "    return replace(release, overlays=(*release.overlays, 'NOTE'))\n"
        ),
        "files/share/motd": "hello",
    }
    tool = LIGHT + (
        'overlays = "files"\n'
        'steps = ["underway.steps:assemble", "release_steps:note", "underway.steps:tar"]\n'
        "[tool.underway.releases.hello.options]\ncolour = 'red'\n"
    )
    root = write_project(tmp_path, tool, files)
    release = build(root)
    manifest = json.loads((version_path(release) / "manifest.json").read_text())
    listed = archive.check(root / "build/release/hello-0.1.0.tar.zst").manifest.files

    assert (release / "NOTE").read_text() == "red"
    assert {"NOTE", "share/motd"} <= manifest["files"].keys()
    assert {"NOTE", "share/motd"} <= listed.keys()
    assert "scratch" not in manifest["files"]
    assert "scratch" not in listed


def test_several_releases_and_the_default(tmp_path: Path) -> None:
    """default-release is what is built without a name; each has its own place."""
    tool = (
        LIGHT + 'default-release = "two"\n[tool.underway.releases.one]\n[tool.underway.releases.two]\nversion = "7"\n'
    )
    root = write_project(tmp_path, tool)

    assert build(root) == root / "build/release/two"
    assert run([root / "build/release/two/bin/two", "version"]).stdout == "two 7\n"
    assert build(root, "one", "--version", "1.5") == root / "build/release/one"
    assert run([root / "build/release/one/bin/one", "version"]).stdout == "one 1.5\n"


def test_two_versions_side_by_side(tmp_path: Path) -> None:
    """A newer version is built next to the older one, and RELEASE_VSN starts either."""
    root = write_project(tmp_path, LIGHT)
    build(root)
    text = (root / "pyproject.toml").read_text()
    (root / "pyproject.toml").write_text(text.replace('version = "0.1.0"', 'version = "0.2.0"'))
    (root / "src/hello/__init__.py").write_text("WORD = 2\ndef main(): pass\n")
    uv("lock", "--quiet", cwd=root)

    release = build(root)

    assert run([release / "bin/hello", "version"]).stdout == "hello 0.2.0\n"
    old = run([release / "bin/hello", "eval", "import hello; print(hasattr(hello, 'WORD'))"], {"RELEASE_VSN": "0.1.0"})
    assert old.stdout == "False\n", old.stderr


def test_a_workspace_is_an_umbrella(tmp_path: Path) -> None:
    """A release of a workspace ships the members that it lists, each started as it says itself."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.uv.workspace]\nmembers = ["one", "two", "three"]\n'
        '[tool.underway.releases.both]\nversion = "1"\ninclude-interpreter = false\n'
        'applications = { two = "load", one = "permanent" }\n'
    )
    for name in ("one", "two", "three"):
        write_project(
            tmp_path / name, f'[tool.underway]\nmain = "{name}:main"\n' if name == "one" else "", name=name, lock=False,
            files={f"src/{name}/__init__.py": f"def main(): print('{name} runs', flush=True)\n"},
        )  # fmt: skip
    uv("lock", "--quiet", cwd=tmp_path)

    release = build(tmp_path)

    shipped = {path.name.partition("-")[0] for path in (release / "lib").iterdir()}
    assert shipped == {"one", "two", "underway_runtime", *ZSTD}
    started_ = run([release / "bin/both", "start"])
    assert "one runs" in started_.stdout, started_.stderr
    assert run([release / "bin/both", "eval", "import two; print(two.__name__)"]).stdout == "two\n"


def test_dry_run_writes_nothing_and_json_is_data(tmp_path: Path) -> None:
    """--dry-run says what would be done; --json is one document on standard output."""
    root = write_project(tmp_path, LIGHT)

    planned = underway("release", "--dry-run", "--json", cwd=root)
    assert json.loads(planned.stdout)["version"] == "0.1.0"
    assert not (root / "build").exists()

    built = underway("release", "--json", cwd=root)
    assert json.loads(built.stdout)["applications"][-1] == {"name": "hello", "version": "0.1.0", "mode": "permanent"}
    quiet = underway("release", "--overwrite", "--quiet", cwd=root)
    assert (quiet.stdout, quiet.stderr) == ("", "")


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("include", ["release_steps:interpreter", "path"])
def test_the_interpreter_may_be_named(tmp_path: Path, include: str) -> None:
    """include-interpreter takes a path, or a function that returns one."""
    python = shutil.which("python3", path="/usr/bin")
    if python is None:
        pytest.skip("needs /usr/bin/python3, another interpreter than the project's")
    value = python if include == "path" else include
    files = {"release_steps.py": f"def interpreter(): return {python!r}\n"}
    release = build(
        write_project(tmp_path, f'[tool.underway]\nmain = "hello:main"\ninclude-interpreter = "{value}"\n', files)
    )
    version = subprocess.run(
        [python, "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=True
    )

    assert run([release / "bin/hello", "eval", "import sys; print(sys.version)"]).stdout == version.stdout
    assert list(release.glob("python-*"))


def test_a_release_without_an_interpreter_uses_the_hosts(tmp_path: Path) -> None:
    """include-interpreter false leaves python-V out; the release runs where it was built."""
    release = build(write_project(tmp_path, LIGHT))

    assert not list(release.glob("python-*"))
    assert run([release / "bin/hello", "start"]).stdout.endswith("hello\n")


def test_an_application_class_starts_by_its_entry_point(tmp_path: Path) -> None:
    """The entry point group underway.application names what starts and stops; no configuration is needed."""
    files = {
        "src/hello/__init__.py": (
            "from underway_runtime import Application\n"
            "class Hello(Application):\n"
            "    def start(self): print('started', self.config('word', 'nothing'), flush=True)\n"
            "    def stop(self): print('stopped', flush=True)\n"
        ),
        "config/config.py": "from underway_runtime import config\nconfig('hello', word='yes')\n",
    }
    tool = '[tool.underway]\ninclude-interpreter = false\n[project.entry-points."underway.application"]\nhello = "hello:Hello"\n'
    release = build(write_project(tmp_path, tool, files))
    with started([release / "bin/hello", "start"]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started yes\n"
        assert run([release / "bin/hello", "stop"]).returncode == 0
        assert "stopped\n" in process.communicate(timeout=60)[0]


def test_wsgi_is_served_by_the_locked_waitress(tmp_path: Path) -> None:
    """wsgi = ... listens where it was told."""
    port = free_port()
    files = {
        "src/hello/__init__.py": (
            "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'wsgi says hello']\n"
        )
    }
    tool = f'[tool.underway]\nwsgi = "hello:app"\nlisten = ["tcp://127.0.0.1:{port}"]\ninclude-interpreter = false\n'
    release = build(write_project(tmp_path, tool, files, dependencies=["waitress"]))
    with started([release / "bin/hello", "start"]) as process:
        assert get(f"http://127.0.0.1:{port}/", process) == "wsgi says hello"
        assert run([release / "bin/hello", "stop"]).returncode == 0


@pytest.mark.parametrize("kind", ["zst", "gz"])
def test_the_archive_is_what_tar_says_and_can_be_verified(tmp_path: Path, kind: str) -> None:
    """tar = "gz" packs for hosts that have nothing; underway verify accepts either, and notices one changed byte."""
    root = write_project(tmp_path, LIGHT + f'tar = "{kind}"\n')
    build(root)
    file = root / f"build/release/hello-0.1.0.tar.{kind}"

    assert underway("verify", file, cwd=root).returncode == 0
    changed = bytearray(file.read_bytes())
    changed[len(changed) // 2] ^= 1
    file.write_bytes(changed)
    assert underway("verify", file, cwd=root).returncode == 1


@pytest.mark.needs_tool("ssh-keygen", "openssh-client")
def test_a_release_is_signed_and_its_signer_known(tmp_path: Path) -> None:
    """--sign-key signs the archive; verify accepts allowed signers only."""
    root = write_project(tmp_path / "project", LIGHT)
    for name in ("mine", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True, timeout=60)
        public = (tmp_path / f"{name}.pub").read_text()
        (tmp_path / f"{name}.signers").write_text(f'me@example.org namespaces="underway-release" {public}')
    build(root, "--sign-key", tmp_path / "mine")
    file = root / "build/release/hello-0.1.0.tar.zst"

    accepted = underway("verify", file, "--allowed-signers", tmp_path / "mine.signers", cwd=root)
    assert (accepted.returncode, "me@example.org" in accepted.stdout) == (0, True), accepted.stderr
    assert underway("verify", file, "--allowed-signers", tmp_path / "other.signers", cwd=root).returncode == 1


def test_a_release_verifies_itself(tmp_path: Path) -> None:
    """bin/NAME verify names the file that changed, in a release that was moved."""
    release = build(write_project(tmp_path / "project", '[tool.underway]\nmain = "hello:main"\n'))
    home = release.rename(tmp_path / "moved")

    assert run([home / "bin/hello", "verify"]).returncode == 0
    [module] = home.glob("lib/hello-0.1.0-py*/hello/__init__.py")
    text = module.read_text()
    module.unlink()
    module.write_text(text.replace("hello", "HELLO"))
    done = run([home / "bin/hello", "verify"])
    assert done.returncode == 1
    assert str(module.relative_to(home)) in done.stdout + done.stderr


def test_a_step_after_tar_may_not_change_what_is_packed(tmp_path: Path) -> None:
    """The release and its archive are the same; a step that would part them is refused."""
    files = {
        "late.py": "def step(release):\n    (release.path / 'bin/hello').write_text('#!/bin/sh')\n    return release\n"
    }
    steps = '"underway.steps:assemble", "underway.steps:tar", "late:step"'

    done = underway("release", cwd=write_project(tmp_path, LIGHT + f"steps = [{steps}]\n", files))

    assert done.returncode == 1
    assert "changed what is in the archive already" in done.stderr
    assert not (tmp_path / "build").exists()


def test_an_environment_has_a_file_of_its_own(tmp_path: Path) -> None:
    """--env chooses config/ENV.py, over config.py; the default is prod's, where there is one; a file is asked for."""
    files = {
        "config/config.py": "from underway_runtime import config\nconfig('hello', a=1, limits={'x': 1, 'y': 1})\n",
        "config/prod.py": "from underway_runtime import config\nconfig('hello', b='prod')\n",
        "config/staging.py": (
            "from underway_runtime import config\nconfig('hello', b=config.environment, limits={'y': 2})\n"
        ),
    }
    root = write_project(tmp_path, LIGHT, files)
    code = "from underway_runtime import config; print(config.application('hello'), config.environment)"

    def configured(release: Path) -> str:
        return run([release / "bin/hello", "eval", code]).stdout.strip()

    assert configured(build(root)) == "{'a': 1, 'b': 'prod', 'limits': {'x': 1, 'y': 1}} prod"
    release = build(root, "--env", "staging", "--overwrite")
    assert configured(release) == "{'a': 1, 'b': 'staging', 'limits': {'x': 1, 'y': 2}} staging"
    shown = run([release / "bin/hello", "config", "--explain", "hello.limits"]).stdout
    assert shown == (
        "hello.limits.x = 1  (config/config.py:2)\n"
        "hello.limits.y = 2  (config/staging.py:2)\n    before: 1  (config/config.py:2)\n"
    )
    refused = underway("release", "--overwrite", cwd=root, env={"UNDERWAY_ENV": "stagin"})
    assert refused.returncode == 1
    assert f"the environment 'stagin' has no {root}/config/stagin.py" in refused.stderr


def test_a_release_refuses_to_run_with_other_values_than_it_was_built_with(tmp_path: Path) -> None:
    """What config.py and a step read with compile_env is compared at each boot, unless validate-compile-env is false."""
    files = {
        "config/config.py": (
            "from underway_runtime import config\nconfig('hello', a=1, b=1)\nconfig.compile_env('hello', 'a')\n"
        ),
        "config/runtime.py": "from underway_runtime import config\nconfig('hello', a=2, b=2)\n",
        "step.py": (
            "from underway.steps.configuration import compile_env\n"
            "def bake(release):\n"
            "    assert compile_env(release, 'hello', 'b') == 1\n"
            "    assert compile_env(release, 'hello', 'c', default='none') == 'none'\n"
            "    return release\n"
        ),
    }
    tool = LIGHT + 'steps = ["underway.steps:assemble", "step:bake"]\n'
    root = write_project(tmp_path, tool, files)

    done = run([build(root) / "bin/hello", "eval", "1"])

    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("  - ")] == [
        f"  - hello.{key} was 1 at build and is 2 now ({root}/build/release/hello/releases/0.1.0/runtime.py:2)"
        for key in ("a", "b")
    ]
    text = (root / "pyproject.toml").read_text()
    (root / "pyproject.toml").write_text(text + "validate-compile-env = false\n")
    assert run([build(root, "--overwrite") / "bin/hello", "eval", "1"]).returncode == 0


def test_the_schema_of_a_project_without_a_class(tmp_path: Path) -> None:
    """config-schema travels in the boot script; a start tells all that is wrong, and one that nobody holds is refused."""
    files = {
        "src/hello/settings.py": (
            "from dataclasses import dataclass\n@dataclass\nclass Settings:\n    port: int\n    colour: str = 'red'\n"
        ),
        "config/runtime.py": "from underway_runtime import config, env\nconfig('hello', port=env('PORT', 'x'))\n",
    }
    root = write_project(tmp_path, LIGHT + 'config-schema = "hello.settings:Settings"\n', files)
    release = build(root)

    done = run([release / "bin/hello", "start"])

    assert done.returncode == 1
    assert 'hello.port is "x", str' in done.stderr
    assert "hello.settings:Settings wants int" in done.stderr
    (root / "pyproject.toml").write_text(
        (root / "pyproject.toml").read_text().replace("hello.settings", "helo.settings")
    )
    refused = underway("release", "--overwrite", cwd=root)
    assert "no application of the release holds the module 'helo.settings'; did you mean" in refused.stderr


def test_no_path_and_no_secret_of_the_building_machine_is_in_sys_config(tmp_path: Path) -> None:
    """Where values come from is told relative to the project."""
    files = {"config/config.py": "from underway_runtime import config\nconfig('hello', a=1)\n"}

    text = (version_path(build(write_project(tmp_path, LIGHT, files))) / "sys.config").read_text()

    assert "config/config.py:2" in text
    assert str(tmp_path) not in text


def test_the_layers_of_the_guide(tmp_path: Path) -> None:
    """docs/how-to/configure.md: a file, variables with a prefix and secrets over what the build knew, and who set what."""
    files = {
        "config/config.py": (
            "from underway_runtime import config\nconfig('hello', port=8000, limits={'rooms': 100, 'users': 1000})\n"
        ),
        "src/hello/settings.py": (
            "from dataclasses import dataclass, field\n\n@dataclass\nclass Limits:\n    rooms: int\n    users: int\n\n"
            "@dataclass\nclass Settings:\n    port: int\n    limits: Limits\n"
            "    login: str = field(metadata={'secret': True})\n"
        ),
    }
    etc = tmp_path / "etc"
    tool = f"""
config-schema = "hello.settings:Settings"
config-providers = [
    ["underway_runtime.providers:Toml", {{ path = "{etc}/hello.toml", optional = true }}],
    ["underway_runtime.providers:Environment", "HELLO"],
    ["underway_runtime.providers:Secrets", {{ application = "hello" }}],
]
"""
    release = build(write_project(tmp_path / "project", LIGHT + tool, files))
    (etc / "secrets").mkdir(parents=True)
    (etc / "hello.toml").write_text("[hello]\nport = 9000\n")
    (etc / "secrets/login").write_text("hunter2\n")
    environ = {"HELLO__LIMITS__ROOMS": "5", "CREDENTIALS_DIRECTORY": str(etc / "secrets")}

    done = run([release / "bin/hello", "config", "--explain", "hello"], environ)

    assert done.stdout.splitlines() == [
        "hello.limits.rooms = 5  ($HELLO__LIMITS__ROOMS)",
        "    before: 100  (config/config.py:2)",
        "hello.limits.users = 1000  (config/config.py:2)",
        f'hello.login = "[redacted]"  ({etc}/secrets/login)',
        f"hello.port = 9000  ({etc}/hello.toml)",
        "    before: 8000  (config/config.py:2)",
    ], done.stderr
    refused = run([release / "bin/hello", "start"], environ | {"HELLO__LIMITS__ROOMS": "many", "HELLO__PROT": "1"})
    assert refused.returncode == 1
    assert 'hello.limits.rooms is "many", str ($HELLO__LIMITS__ROOMS)' in refused.stderr
    assert "hello.prot ($HELLO__PROT) is not in hello.settings:Settings; did you mean 'port'?" in refused.stderr
