"""What a host says of itself, and all that speaks against a release there."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from underway_runtime.cluster.deploy import preflight, remote_commands
from underway_runtime.cluster.deploy.preflight import Facts
from underway_runtime.cluster.inventory import Host, Limits
from underway_runtime.release.manifest import Manifest, ManifestEntry

RELEASE = Manifest("wc", "0.1.0", "x86_64-linux-gnu", "3.11.7", {"a": ManifestEntry("0" * 64, 5000)}, glibc="2.34")
FACTS = Facts(
    directory="/srv/wc",
    var="/srv/wc/var",
    system="Linux",
    machine="x86_64",
    skew=0.0,
    address="10.0.0.2",
    client="10.0.0.1",
    tools=frozenset({"tar", "gzip"}),
    loader=True,
    glibc="2.36",
    space=10**9,
    releases={},
    nodes={},
    listening=frozenset({22}),
    occupied=None,
)
SAID = """\
clock 1000
system Linux
machine x86_64
directory /srv/w c
var /var/lib/w c
connection 10.0.0.1 51000 10.0.0.2 22
tool tar
tool zstd
loader /lib64/ld-linux-x86-64.so.2
glibc ld.so (Debian GLIBC 2.36-9+deb12u14) stable release version 2.36.
space Filesystem 1024-blocks Used Available Capacity Mounted on
space /dev/sda 1 on 100 60 40 60% /mnt
release 0.1.0 "abc",
release 0.2.0 "def",
node 7 wc_worker@beta
authority -----BEGIN-----AB wc_worker@beta
listening 0016
listening 2252
end .
"""


def test_a_host_is_read_as_it_says() -> None:
    """Every fact; a clock that is right within a second counts as right."""
    assert preflight.read(SAID, 1000.9, 1001.0) == Facts(
        directory="/srv/w c",
        var="/var/lib/w c",
        system="Linux",
        machine="x86_64",
        skew=0.0,
        address="10.0.0.2",
        client="10.0.0.1",
        tools=frozenset({"tar", "zstd"}),
        loader=True,
        glibc="2.36",
        space=40 * 1024,
        releases={"0.1.0": "abc", "0.2.0": "def"},
        nodes={"wc_worker@beta": 7},
        listening=frozenset({22, 8786}),
        occupied=None,
        authorities={"wc_worker@beta": "-----BEGIN-----AB"},
    )


@pytest.mark.parametrize(("before", "after", "skew"), [(900, 950, 50), (1050, 1100, 49), (990, 1010, 0)])
def test_a_clock_is_off_by_what_no_delay_explains(before: float, after: float, skew: float) -> None:
    """However long the answer took, and in both directions."""
    assert preflight.read(SAID, before, after).skew == skew


@pytest.mark.parametrize(
    "said", ["", SAID.removesuffix("end .\n"), SAID.replace("clock 1000", "clock soon"), "Welcome!\n"]
)
def test_an_answer_that_is_none_is_refused(said: str) -> None:
    """One that was cut off, or of something that is not a POSIX shell."""
    with pytest.raises(ValueError, match="can't be understood"):
        preflight.read(said, 0, 0)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"machine": "aarch64"}, "it is aarch64 with Linux, and the release is for x86_64-linux-gnu; build one there"),
        ({"system": "Darwin"}, "it is x86_64 with Darwin, and the release is for x86_64-linux-gnu; build one there"),
        ({"loader": False}, "it has no glibc of its kind, and the release needs 2.34 or later"),
        (
            {"glibc": "2.33"},
            "it has glibc 2.33, and the release needs 2.34; build on a system as old as this host",
        ),
        (
            {"glibc": None},
            "it has glibc 2.32 or older, and the release needs 2.34; build on a system as old as this host",
        ),
        ({"glibc": "2.100"}, None),
        ({"tools": frozenset({"gzip"})}, "it has no tar"),
        ({"tools": frozenset({"tar"})}, "it has neither gzip nor zstd"),
        ({"tools": frozenset(), "releases": {"0.0.9": "abc"}}, None),
        (
            {"releases": {"0.1.0": "f" * 64}},
            "it has another wc-0.1.0, ffffffffffff; give this one a version of its own",
        ),
        ({"releases": {"0.1.0": RELEASE.release_id}}, None),
        ({"occupied": "/srv is not a directory"}, "/srv is not a directory; say another directory"),
        ({"space": 8000}, "0.0 MB are needed below /srv/wc, and 0.0 MB are free"),
        ({"space": None}, None),
        ({"skew": 31.0}, "its clock is off by 31 s; certificates have dates, and 30 s are the limit"),
        ({"nodes": {"wc_worker@beta": 7}}, "wc_worker@beta runs there already (pid 7); `deploy --stop` stops it"),
        ({"nodes": {"other@beta": 7}}, None),
        ({"listening": frozenset({9000})}, "port 9000 is taken, and the worker is to listen there"),
    ],
)
def test_what_speaks_against_a_release_is_said(changes: dict[str, Any], problem: str | None) -> None:
    """Each thing by itself; and of a host that is well, nothing."""
    found = preflight.problems(
        replace(FACTS, **changes),
        RELEASE,
        Host("beta"),
        needed=preflight.size_of(RELEASE, None),
        port=9000,
        starts=True,
        limits=Limits(),
    )

    assert [*found] == ([] if problem is None else [problem])


def test_only_what_is_new_takes_room() -> None:
    """In whole blocks, and nothing where the files are those of a version that is there."""
    assert preflight.size_of(RELEASE, None) == 8192
    assert preflight.size_of(RELEASE, RELEASE) == 0


def looked_at(at: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """What a host says of its directory ``there``, asked in `at`, with nothing but PATH and these in the environment."""
    return subprocess.run(
        remote_commands.preflight(f"{at}/there", "/no"),
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": os.environ["PATH"], **environ},
        cwd=at,
    )


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_host_answers_whatever_its_shell_is(tmp_path: Path, shell: str) -> None:
    """And whatever the directory is called; one of another is in the way."""

    def asked() -> Facts:
        words = [shell, *remote_commands.preflight(f"{tmp_path}/a 'b", "/no")[1:]]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
        assert done.stderr == ""
        return preflight.read(done.stdout, 0, 2**40)

    facts = asked()
    assert facts.directory == f"{tmp_path}/a 'b"
    assert facts.occupied is None
    assert facts.glibc is None
    assert facts.space is not None
    assert facts.space > 0

    (tmp_path / "a 'b").mkdir()
    (tmp_path / "a 'b/theirs").touch()
    assert asked().occupied == f"{tmp_path}/a 'b holds theirs and no releases"


@pytest.mark.parametrize(("variable", "var"), [("", "there/var"), ("elsewhere", "elsewhere")])
def test_a_host_says_where_its_nodes_are(tmp_path: Path, variable: str, var: str) -> None:
    """Below the release, or where the host's own RELEASE_VAR has them: nodes that run there are seen, and whose they are."""
    run = tmp_path / var / "cluster/wc_worker@beta/run"
    run.mkdir(parents=True)
    (run.parent / "certificates").mkdir()
    (run.parent / "certificates/ca.pem").write_text("-----BEGIN CERTIFICATE-----\nAB\nC=\n-----END CERTIFICATE-----\n")
    with subprocess.Popen([sys.executable, "-c", "input()", "underway_runtime"], stdin=subprocess.PIPE) as node:
        (run / "pid").write_text(f"{node.pid}\n")
        done = looked_at(tmp_path, HOME="/", RELEASE_VAR=variable)
        node.communicate(b"\n", timeout=30)

    facts = preflight.read(done.stdout, 0, 2**40)
    assert (facts.var, facts.nodes) == (f"{tmp_path}/{var}", {"wc_worker@beta": node.pid})
    assert facts.authorities == {"wc_worker@beta": "-----BEGINCERTIFICATE-----ABC=-----ENDCERTIFICATE-----"}


@pytest.mark.parametrize(("holds", "seen"), [(True, True), (False, False)])
def test_a_node_that_is_about_to_start_is_seen(tmp_path: Path, holds: bool, seen: bool) -> None:
    """It holds its lock, and has no pid file yet; a lock that another process has left names nobody."""
    lock = tmp_path / "there/var/cluster/wc_worker@beta/run/lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    code = "import sys; file = open(sys.argv[1]); print(flush=True); input()"
    words = [sys.executable, "-c", code, str(lock) if holds else os.devnull]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as node:
        assert node.stdout is not None
        node.stdout.readline()
        lock.write_text(f'{{"pid": {node.pid}, "node": null}}')
        done = looked_at(tmp_path)
        assert preflight.read(done.stdout, 0, 2**40).nodes == ({"wc_worker@beta": node.pid} if seen else {})
        node.communicate(b"\n", timeout=30)
