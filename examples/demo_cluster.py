"""The word count over a cluster: a new project becomes a release, goes to three hosts over SSH, and counts on all of them.

The hosts are namespaces on this machine, with an sshd and a disk each; where they are not allowed the cluster is one process.
Whatever goes wrong makes the exit status 1; nothing is left behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from demo import UNDERWAY, Failure, expect, heading, run

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests/support"))
from hosts import Network, network  # noqa: E402  # the tests' own

ADMINISTRATORS = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
COUNTS = "import wordcount; print(await wordcount.counts())"
MORE = "import wordcount; print((await wordcount.feed(['a rose'] * 100))['rose'])"


def main() -> int:
    """Run the demonstration; 0 when all of it held."""
    with tempfile.TemporaryDirectory(prefix="underway-demo-") as scratch:
        try:
            demonstrate(Path(scratch))
        except (Failure, OSError, subprocess.SubprocessError) as error:
            print(f"\ndemo: {error}", file=sys.stderr)
            return 1
    return 0


def demonstrate(scratch: Path) -> None:
    """The story, in order."""
    heading("A new project, and its release")
    run(UNDERWAY, "new", "wordcount", "--template", "stream", "--develop", str(REPOSITORY), cwd=scratch)
    run(UNDERWAY, "release", "--quiet", cwd=scratch / "wordcount")
    cluster = scratch / "wordcount/build/release/wordcount/bin/cluster"

    missing = [tool for tool in ("ssh", "sshd", "ip", "unshare") if shutil.which(tool, path=ADMINISTRATORS) is None]
    if os.geteuid() != 0 or missing:
        local(cluster, f"there is no {', '.join(missing)}" if missing else "hosts of their own need root")
        return
    try:
        with network(scratch / "net", 3, "1g") as net:
            over_hosts(cluster, net)
    except pytest.skip.Exception as why:
        local(cluster, str(why))


def over_hosts(cluster: Path, net: Network) -> None:
    """Deployed, asked, stopped."""
    environ = {"PATH": ADMINISTRATORS}
    hosts = ["host1:cutters", "host2:counters", "host3:counters"]
    ssh = ["--ssh-config", str(net.ssh_config)]
    heading("Deploy it to three hosts: lines are cut up on one, words counted on two")
    begin = ["--mode", "daemon", "--deploy", 'wordcount.deploy(cut="cutters", count="counters")']
    try:
        run(cluster, "deploy", *hosts, *begin, *ssh, env=environ)
        heading("Ask it")
        run(cluster, "master", "run", "rpc", COUNTS, env=environ)
        expect("how often rose has come", asked(cluster, "master"), "103")
        heading("What is in the logs of those who count and print")
        for host in net.hosts[1:]:
            log = net.ssh(host, "sh", "-c", "cat wordcount/var/cluster/*/log/*")
            said = [line for line in log.splitlines() if line[-1:].isdigit() and line.count(" ") == 1]
            print(f"  {host.name}: {', '.join(said[:6])}, ...")
    finally:
        heading("Stop it")
        run(cluster, "deploy", "--stop", *hosts, *ssh, env=environ)


def local(cluster: Path, why: str) -> None:
    """The same in one process."""
    heading(f"Start it in one process, since {why}")
    try:
        run(cluster, "local", "daemon", "--deploy", "wordcount:deploy", env={})
        run(cluster, "local", "run", "rpc", COUNTS, env={})
        expect("how often rose has come", asked(cluster, "local"), "103")
    finally:
        run(cluster, "local", "stop", env={})


def asked(cluster: Path, mode: str) -> str:
    """A hundred roses more, and how many there are then."""
    command = [str(cluster), mode, "run", "rpc", MORE]
    done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()[-1]  # in one process what counts prints here too


if __name__ == "__main__":
    os.environ.pop("VIRTUAL_ENV", None)
    sys.exit(main())
