"""The guide to clusters, word for word: every command of docs/how-to/cluster.md, in order, on hosts of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts import Network, network
from node_helpers import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs_tool("ssh", "openssh-client"),
    pytest.mark.needs_tool("sshd", "openssh-server"),
    pytest.mark.needs_tool("ip", "iproute2"),
    pytest.mark.needs_tool("unshare", "util-linux"),
    pytest.mark.timeout(600),
]

REPOSITORY = Path(__file__).resolve().parents[2]
GUIDE = REPOSITORY / "docs/how-to/cluster.md"
TIMEOUT = 200.0
HOSTS = ("alpha", "beta", "gamma")


def steps() -> Iterator[tuple[str, str]]:
    """What the guide says is done, in order: ``("$", command)``, ``("beta$", command)``, or ``("toml", table)`` of the project."""
    for kind, block in re.findall(r"^```(console|toml)\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL):
        if kind == "toml":
            yield kind, block
            continue
        for line in block.replace("\\\n", " ").splitlines():
            prompt, dollar, command = line.partition("$ ")
            assert dollar, line
            yield f"{prompt}$", command


class Reader:
    """Somebody who follows the guide, at a machine of their own."""

    def __init__(self, home: Path, net: Network) -> None:
        self.place = home
        self.home = home
        self.net = net
        tools = home / "tools"
        tools.mkdir()
        (home / "underway").symlink_to(REPOSITORY)
        # An OpenSSH client reads the configuration in the home that the system knows, whatever HOME says.
        ssh = tools / "ssh"
        ssh.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {shlex.quote(str(net.ssh_config))} "$@"\n')
        ssh.chmod(0o755)
        own = Path(sys.executable).parent
        self.environ = {
            **{
                key: value
                for key, value in os.environ.items()
                if not key.startswith(("RELEASE_", "CLUSTER_", "VIRTUAL_"))
            },
            "PATH": f"{tools}:{own}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(home),
            "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache/uv")),
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
            "UV_PYTHON_DOWNLOADS": "never",
        }

    def type(self, command: str) -> str:
        """Run a command; what it prints. What it does to the current directory stays."""
        done = subprocess.run(
            ["bash", "-c", f"{command}\nstatus=$?; pwd >{shlex.quote(str(self.home / 'place'))}; exit $status"],
            cwd=self.place,
            env=self.environ,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        self.place = Path((self.home / "place").read_text().strip())
        return done.stdout + done.stderr

    def look_at(self, command: str) -> None:
        """Run what stays in the foreground until it runs, and end it with Ctrl-C."""
        asking = re.sub(r" start .*", " status --json", command)
        with subprocess.Popen(
            shlex.split(command), cwd=self.place, env=self.environ, stdin=subprocess.DEVNULL, start_new_session=True
        ) as process:

            def runs() -> bool:
                asked = subprocess.run(
                    shlex.split(asking), cwd=self.place, env=self.environ, capture_output=True, text=True
                )
                return asked.returncode == 0 and json.loads(asked.stdout)["state"] == "running"

            eventually(runs, f"{command} runs")
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT) == 0


def named(net: Network) -> None:
    """Let the hosts be called as in the guide, there and here."""
    config, known = net.ssh_config.read_text(), (net.base / "known_hosts").read_text()
    for host, name in zip(net.hosts, HOSTS, strict=True):
        net.ssh(host, "hostname", name)
        net.ssh(host, "sh", "-c", f"echo {host.address} {name} >>/etc/hosts")
        config = config.replace(f"Host {host.name}\n", f"Host {host.name} {name}\n")
    net.ssh_config.write_text(config)
    (net.base / "known_hosts").write_text(known)


@pytest.mark.drill
def test_the_guide_holds_word_for_word(tmp_path: Path) -> None:
    """From a new project to a cluster that is asked, handed over, changed, stopped, and started by hand."""
    home = tmp_path / "home"
    home.mkdir()
    with network(tmp_path / "net", len(HOSTS), "1g") as net:
        named(net)
        reader = Reader(home, net)
        addresses = {"10.0.0.1": net.control, "10.0.0.2": net.hosts[1].address}
        said: dict[str, str] = {}
        for prompt, step in steps():
            if prompt == "toml":
                if "[project]" not in step:  # that is of an existing project, and in this one already
                    pyproject = home / "words/pyproject.toml"
                    text = re.sub(
                        r"^\[tool\.underway\.cluster\]\n(#.*\n)*", step, pyproject.read_text(), flags=re.MULTILINE
                    )
                    assert step in text
                    pyproject.write_text(text)
                continue
            command = step
            for example, address in addresses.items():
                command = command.replace(example, address)
            if prompt != "$":
                host = net.hosts[HOSTS.index(prompt.removesuffix("$"))]
                net.ssh(host, "sh", "-c", f"cd /srv/words && {command}")
            elif " start " in command:
                reader.look_at(command)
            else:
                said[step] = reader.type(command)

        asked = next(text for step, text in said.items() if " rpc " in step)
        assert asked.strip() == str([f"words_worker@{name}" for name in HOSTS])
        stops = [text.splitlines() for step, text in said.items() if step.endswith("--stop")]
        assert stops, said
        processes = [net.ssh(host, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '") for host in net.hosts]
        assert [text for text in processes if "underway_runtime" in text] == []
        assert [net.ssh(host, "/srv/words/bin/words", "version") for host in net.hosts] == ["words 0.2.0\n"] * 3
