"""What a node has imported when it is ready, and what its modules made meanwhile: that is a part of each start."""

from __future__ import annotations

import json
import subprocess
from typing import TypeAlias

import pytest

from code_server_helpers import Interpreter
from node_helpers import TIMEOUT, nodes, once_ready, read_until, recorder

Report: TypeAlias = dict[str, list[str]]

OURS = {
    "": "application apps code_server configuration control frozen node process release upgrade",
    "apps": """controller hooks job_workers launch main_function plain_servers readiness server_drain service serving socket_adoption
        socket_sharing sockets state suspension""",
    "code_server": "finder loader",
    "configuration": "boot_config config fields provenance resolution schema",
    "control": """client_session connection cookie frames handshake loop_monitor metrics metrics_http node_control node_status
        output requests server session socket_file""",
    "node": """commands control_endpoint forced_end gates handover in_place_install keeper_client node phases serving""",
    "process": """audit_hooks deadlines facts garbage_collector interpreter_stack leftovers lock log memory oom peer proc_sockets
        process_table release_processes settings stop_signals upgrade_journal usage_journal""",
    "release": """addresses boot_script channel command_line command_table decode directory display errors filesystem gates names
        references server_options standard""",
    "release.channel": "datagram",
    "release.filesystem": "atomic_files descriptors directories openat walk",
}
"""By room. What only an upgrade, a handover, a rare command or a kind of application takes is imported there."""

STANDARD = """asyncio codeop concurrent.futures.thread dataclasses datetime enum fcntl gc grp hmac importlib.util
    ipaddress json pathlib pwd queue resource runpy termios urllib.parse"""
"""The same of the standard library; what these import is in it."""

REPORT = """
import json, re, sys
made = {
    f"{name}.{key}": value
    for name, module in [*sys.modules.items()] if name.startswith("underway_runtime")
    for key, value in vars(module).items() if getattr(value, "__module__", name) == name
}
print("report", json.dumps({
    "modules": [*sys.modules],
    "patterns": [name for name, value in made.items() if isinstance(value, re.Pattern)],
    "dataclasses": [
        name for name, value in made.items()
        if isinstance(value, type) and (how := vars(value).get("__dataclass_params__")) and how.init
    ],
}), flush=True)
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, interpreter: Interpreter) -> Report:
    """What a node of one small application reports when its keeper knows that it is ready."""
    with nodes(tmp_path_factory.mktemp("start"), interpreter) as make:
        node = make(recorder("one", start=once_ready(f"exec({REPORT!r}, {{}})")))
        node.environ["RELEASE_COOKIE"] = "made by the first start"
        report: Report = json.loads(read_until(node.spawn("start").stdout, "report (.*)")[1])
    return report


def test_a_node_imports_what_each_start_takes(report: Report) -> None:
    """No module of the runtime is imported at a start that is not in the list above, and each of the list is."""
    listed = {
        ".".join(("underway_runtime", *filter(None, (room, name))))
        for room, names in OURS.items()
        for name in names.split()
    }

    assert {name for name in report["modules"] if name.startswith("underway_runtime.")} == listed


def test_a_node_imports_little_of_the_standard_library(report: Report, interpreter: Interpreter) -> None:
    """Nothing that the list above does not bring, of which each is imported."""
    code = f"import sys, {', '.join(STANDARD.split())}; print(*sys.modules)"
    done = subprocess.run(
        [interpreter.executable, "-I", "-B", "-c", code], capture_output=True, text=True, timeout=TIMEOUT, check=True
    )
    imported = {name for name in report["modules"] if not name.startswith("underway_runtime")}

    assert imported - {*done.stdout.split(), "__main__", "one"} == set()
    assert {*STANDARD.split()} - imported == set()


def test_an_import_compiles_nothing(report: Report) -> None:
    """Patterns are texts, which `re` compiles when they are first used, and values are of `Frozen`, not of `dataclass`."""
    assert (report["patterns"], report["dataclasses"]) == ([], [])
