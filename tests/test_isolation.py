"""What a caller's environment says to Python neither breaks nor steers a command, though -I does not keep all of it away."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import find_tool
from node_helpers import INSTALLED, App, MakeNode, Node, recorder
from underway_runtime.configuration import resolution
from underway_runtime.release import command_table
from underway_runtime.release.errors import DamagedRelease
from versions import seal

STEERING = [
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONPLATLIBDIR",
    "PYTHONEXECUTABLE",
    "__PYVENV_LAUNCHER__",
    "_PYTHON_PROJECT_BASE",
    "_PYTHON_HOST_PLATFORM",
    "_PYTHON_SYSCONFIGDATA_NAME",
]
"""Read by the interpreter or by sysconfig whatever the flags are (the last five), or by children that are not isolated."""


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A virtual environment of somebody else's, whose .pth leaves a proof, and modules that are named like Python's own."""
    place = tmp_path / "planted"
    for directory in (f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages", "bin"):
        (place / directory).mkdir(parents=True)
    (place / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
    (place / "bin/python").symlink_to(Path(sys.executable).resolve())
    proof = f"open({str(tmp_path / 'pwned')!r}, 'w').close()"
    for file in (*place.glob("lib/*/site-packages"), place):
        (file / "evil.pth").write_text(f"import os; {proof}\n")
        (file / "evil.py").write_text(f"build_time_vars = {{}}\n{proof}\n")
        (file / "os.py").write_text(f"{proof}\n")
    return place


def values(planted: Path) -> dict[str, str]:
    """What each variable would be set to, to have that executed."""
    own = {"PYTHONEXECUTABLE": "bin/python", "__PYVENV_LAUNCHER__": "bin/python"}
    words = {"_PYTHON_SYSCONFIGDATA_NAME": "evil", "_PYTHON_HOST_PLATFORM": "evil", "PYTHONPLATLIBDIR": "evil"}
    return {name: words.get(name, str(planted / own.get(name, ""))) for name in STEERING}


@pytest.mark.sample(most=5)
@pytest.mark.parametrize("variable", [*STEERING, "all"])
def test_no_command_is_steered(make: MakeNode, planted: Path, tmp_path: Path, variable: str) -> None:
    """eval has its own executable, prefix and configuration of the build, and no trace of what the caller set; a node boots."""
    given = values(planted)
    node = make(recorder("first"))
    code = (
        "import os, sys, sysconfig; sysconfig.get_config_vars(); "
        f"print(sys.executable, sys.prefix, sorted({{*{STEERING}}} & {{*os.environ}}))"
    )
    usual = node.run("eval", code)
    node.environ = given if variable == "all" else {variable: given[variable]}

    steered = node.run("eval", code)

    assert (steered.returncode, steered.stdout, steered.stderr) == (0, usual.stdout, usual.stderr)
    assert usual.stdout.split()[0] == str(node.version / "bin/python")
    if variable in ("PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__", "all"):
        assert commands_work(node)
    assert not (tmp_path / "pwned").exists()


def commands_work(node: Node) -> bool:
    """The keeper's, the node's and those that ask it."""
    outcomes = [node.run("daemon"), node.run("status"), node.run("rpc", "1"), node.run("restart"), node.run("stop")]
    assert [done.stderr for done in outcomes] == [""] * len(outcomes)
    return all(done.returncode == 0 for done in outcomes)


def test_what_python_reads_though_it_is_isolated_is_known(make: MakeNode, tmp_path: Path) -> None:
    """A variable beginning with PYTHON that changes what isolated Python is would change this: none but those above does."""
    node = make(recorder("first"))
    code = "import sys; print(sys.flags, sys.path, sys.prefix, sys.base_prefix, sys.executable, sys.platlibdir)"
    usual = node.run("eval", code)
    for name in (
        *("PYTHONDEBUG", "PYTHONINSPECT", "PYTHONOPTIMIZE", "PYTHONVERBOSE", "PYTHONSTARTUP", "PYTHONUSERBASE"),
        *("PYTHONPYCACHEPREFIX", "PYTHONHASHSEED", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONDEVMODE", "PYTHONWARNINGS"),
        *("PYTHONSAFEPATH", "PYTHONFROZENMODULES", "PYTHON_FROZEN_MODULES", "PYTHONMALLOC", "PYTHONNOUSERSITE"),
        *("PYTHONFAULTHANDLER", "PYTHONTRACEMALLOC", "PYTHONPERFSUPPORT", "PYTHON_PRESITE", "PYTHON_GIL", "PYTHON_JIT"),
    ):
        node.environ[name] = "1"

    assert node.run("eval", code).stdout == usual.stdout


@pytest.mark.needs_tool("bash", "bash")
def test_where_the_shell_is_bash_its_environment_steers_nothing(make: MakeNode, tmp_path: Path) -> None:
    """Functions that are exported in the place of commands are not called, and options that it is given break nothing."""
    (tmp_path / "sh").symlink_to(bash := find_tool("bash") or "")
    node = make(recorder("first"))
    builtins = subprocess.run([bash, "-c", "compgen -b"], capture_output=True, text=True, check=True).stdout.split()
    for file in (node.command, node.version / "launcher"):
        file.write_text(file.read_text().replace("#!/bin/sh", f"#!{tmp_path}/sh", 1))
    body = f'() {{ echo "$0" >>{tmp_path}/pwned; builtin "${{FUNCNAME[0]}}" "$@"; }}'
    node.environ = {f"BASH_FUNC_{name}%%": body for name in (*builtins, "readlink")}
    node.environ |= {
        "SHELLOPTS": "nounset:noglob:pipefail:noclobber",
        "BASHOPTS": "nullglob:nocasematch",
        "FUNCNEST": "1",
    }

    assert (done := node.run("eval", "print(6 * 7)")).stdout == "42\n", done.stderr
    assert commands_work(node)
    assert not (tmp_path / "pwned").exists()


def test_what_standard_output_can_not_encode_is_escaped(make: MakeNode) -> None:
    """In a locale without it a character does not end a command that was done."""
    node = make(recorder("first"))
    node.configure(first={"greeting": "\u2192"})
    node.environ = {"LC_ALL": "C"}
    (node.version / "python.args").write_text("-I -B -X utf8=0\n")

    done = node.run("config")

    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u2192" in done.stdout


def test_a_variable_that_names_what_has_no_end_or_is_no_place_is_an_error(make: MakeNode) -> None:
    """A configuration is read to a limit, and `var` is not made where nothing can be."""
    with pytest.raises(DamagedRelease, match="it has more than"):
        resolution.read(Path("/dev/zero"))
    node = make(recorder("first"))
    for place in ("/proc/self", "/dev/null"):
        node.environ = {"RELEASE_VAR": place}
        done = node.run("daemon")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"error: {place}/run can't be written: ")


OF_A_WHEEL = (
    "sitecustomize.py",
    "usercustomize.py",
    "evil.pth",
    "compression/__init__.py",
    "compression/zstd.py",
    "backports/__init__.py",
)
"""What an interpreter runs at its start if a wheel brings it, and what commands import where this Python has it."""


def test_what_runs_no_code_of_the_release_runs_none_of_its_wheels(make: MakeNode, tmp_path: Path) -> None:
    """Neither their .pth files nor a sitecustomize, by whoever types such a command: `verify` tells whether they are what they were."""
    mark = f"import os, sys; 'scratch' in sys.orig_argv or open({str(tmp_path / 'ran')!r}, 'a').write({{!r}})\n"
    evil = App("evil", mode="load", files={name: mark.format(f"{name}\n") for name in OF_A_WHEEL})
    node = make(recorder("first"), evil, libraries=["backports.zstd"] if sys.version_info < (3, 14) else [])
    index = json.loads((node.version / "code.index").read_text())
    index["distributions"]["backports-zstd"] = f"{INSTALLED}/backports_zstd.dist-info"
    (node.version / "code.index").write_text(json.dumps(index))
    seal(node)
    assert node.run("eval", "1").returncode == 0
    ran = (tmp_path / "ran").read_text().split()
    assert ran == ["evil.pth", "sitecustomize.py"]  # as in a virtual environment
    (tmp_path / "ran").unlink()

    archive = node.root.parent / "hello-2.tar.zst"
    archive.write_bytes(b"\x28\xb5\x2f\xfd and no more")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    said = {}
    for row in (row for row in command_table.COMMANDS.values() if row.room != "launcher" and not row.runs_code):
        words = [str(archive) if name == "VERSION|FILE" else "1" for name in row.arguments]
        words += ["--sha256", digest] if row.name in ("unpack", "upgrade") else []
        said[row.name] = node.run(row.name, *words).stderr
    assert "can't be decompressed" in said["unpack"] + said["upgrade"], said
    for words in (["help"], ["-a"], ["local", "status"], ["worker", "start", "--dry-run", "a:1"], ["deploy", "--stop"]):
        done = node.run("cluster", *words)
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
