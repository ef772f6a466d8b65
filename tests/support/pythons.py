"""The suite with each Python that Debian has, in fresh trees of it: `make pythons`.

As root: ``python tests/support/pythons.py [--only 3.15] [PYTEST-ARGUMENTS]``. Each tree is bootstrapped once and kept in the cache. A run
is bounded by an hour; its status is 1 when a test has failed somewhere.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from fresh_debian import BOOKWORM, CLONE, FreshDebian, Suite, fresh_debian

TOOLS = (
    *(
        "binutils",
        "e2fsprogs",
        "faketime",
        "gcc",
        "iproute2",
        "libc6-dev",
        "nftables",
        "openssh-client",
        "openssh-server",
    ),
    *("systemd", "tzdata", "util-linux"),
)
"""Packages that tests use, as .ci/run installs them; without chromium, for the review page's looks do not depend on Python."""

TREES: Mapping[str, tuple[str, ...]] = {"bookworm": ("3.11",), "trixie": ("3.13",), "sid": ("3.14", "3.15")}
"""By suite of Debian's, the minor versions of Python that it has."""

WITHIN = 3_600
RESULTS = Path(".build/pythons.xml")
INSIDE = {
    "UNDERWAY_IN_FRESH_DEBIAN": "1",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}
"""The environment: no tree is made in a tree, and git reads a clone that is another user's."""


def suite_of(name: str) -> Suite:
    """A tree with all Pythons of a suite, and the tools."""
    pythons = [f"python{minor}{part}" for minor in TREES[name] for part in ("", "-venv")]
    return Suite(name, tuple(sorted({*BOOKWORM.packages, *TOOLS, *pythons})))


def run(debian: FreshDebian, minor: str, arguments: Sequence[str]) -> tuple[int, int, int]:
    """Run the suite with one Python; how many tests passed, failed and were skipped. One failure where it did not end."""
    options = " ".join((f"--junitxml={RESULTS}", *arguments))
    command = debian.command("make", "tests", f"PYTHON=python{minor}", f"ARGS={options}", user="root", env=INSIDE)
    results = debian.root / CLONE.relative_to("/") / RESULTS
    results.unlink(missing_ok=True)
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=WITHIN, check=False).returncode
    except subprocess.TimeoutExpired:
        print(f"pythons: {minor} has not ended within {WITHIN} s", file=sys.stderr)
        return 0, 1, 0
    passed, failed, skipped = counts(results) if results.exists() else (0, 0, 0)
    return passed, failed or int(done != 0), skipped


def counts(results: Path) -> tuple[int, int, int]:
    """Passed, failed and skipped, of what pytest has written as JUnit does."""
    cases = [{part.tag for part in case} for case in ET.parse(results).getroot().iter("testcase")]
    failed = sum(bool(parts & {"failure", "error"}) for parts in cases)
    skipped = sum("skipped" in parts for parts in cases)
    return len(cases) - failed - skipped, failed, skipped


def main(argv: Sequence[str]) -> int:
    """Run them all, one after another, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    minors = [minor for pythons in TREES.values() for minor in pythons]
    parser.add_argument("--only", action="append", choices=minors, help="a version; may be given several times")
    given, arguments = parser.parse_known_args(argv)
    rows: dict[str, tuple[int, int, int]] = {}
    for name, pythons in TREES.items():
        wanted = [minor for minor in pythons if minor in (given.only or minors)]
        if not wanted:
            continue
        with tempfile.TemporaryDirectory(prefix="underway-pythons-") as scratch:
            debian = fresh_debian(Path(scratch), suite_of(name))
            for minor in wanted:
                rows[f"{minor}, {name}"] = run(debian, minor, arguments)
    print(f"{'Python':<18} {'passed':>7} {'failed':>7} {'skipped':>7}")
    for row, (passed, failed, skipped) in rows.items():
        print(f"{row:<18} {passed:>7} {failed:>7} {skipped:>7}")
    return int(any(failed for _, failed, _ in rows.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
