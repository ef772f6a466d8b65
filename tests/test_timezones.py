"""Time zones in a release, for hosts that have none."""

from __future__ import annotations

import logging
import os
import zoneinfo
from dataclasses import replace
from pathlib import Path

import pytest

from releases import make_release
from stages import cache_in
from underway.release import Application, Release
from underway.steps.timezones import copy_time_zones
from underway.toolchain.cache import Cache

ZONE = b"TZif2 and so on"


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """A release with an interpreter, to put zones into."""
    return make_release(tmp_path, interpreter_source=Path("/usr/bin/python3"))


@pytest.fixture
def empty_cache(tmp_path: Path) -> Cache:
    """An empty cache."""
    return cache_in(tmp_path)


@pytest.fixture
def zones(tmp_path: Path) -> Path:
    """What a machine has."""
    place = tmp_path / "usr/share/zoneinfo"
    for name, content in {
        "Europe/Paris": ZONE + b"1",
        "Africa/Tunis": ZONE + b"2",
        "Europe/Monaco": ZONE + b"1",
        "UTC": ZONE + b"3",
        "right/UTC": ZONE + b"4",
        "posix/UTC": ZONE + b"3",
        "zone.tab": b"a table",
        "localtime": ZONE + b"2",
    }.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    (place / "Zulu").symlink_to("UTC")
    return place


def test_zones_are_copied_once_each(release: Release, empty_cache: Cache, zones: Path) -> None:
    """Doubles are relative links; tables, leap seconds and this machine's own zone stay behind."""
    copy_time_zones(release, empty_cache, [str(zones.parent / "none"), str(zones)])

    place = release.version_path / "share/zoneinfo"
    found = {path.relative_to(place).as_posix(): path for path in place.rglob("*") if not path.is_dir()}
    assert found.keys() == {"Europe/Paris", "Europe/Monaco", "Africa/Tunis", "UTC", "Zulu"}
    assert {name: os.readlink(path) for name, path in found.items() if path.is_symlink()} == {
        "Europe/Paris": "Monaco",
        "Zulu": "UTC",
    }
    assert found["Europe/Paris"].read_bytes() == ZONE + b"1"


@pytest.mark.skipif(not os.path.isdir("/usr/share/zoneinfo/Europe"), reason="this machine has no time zones")
def test_python_reads_them(release: Release, empty_cache: Cache) -> None:
    """All zones that this machine has are there, aliases too, and mean the same."""
    copy_time_zones(release, empty_cache)

    place = release.version_path / "share/zoneinfo"
    here = zoneinfo.available_timezones() - {"localtime"}
    try:
        zoneinfo.reset_tzpath([str(place)])
        assert {name for name in here if (place / name).exists()} == here
        assert zoneinfo.ZoneInfo.no_cache("US/Eastern").utcoffset(None) is None
    finally:
        zoneinfo.reset_tzpath()
    assert sum(path.stat().st_size for path in place.rglob("*") if path.is_file() and not path.is_symlink()) < 700_000


def test_a_release_that_locks_tzdata_has_its_zones_from_there(
    release: Release, empty_cache: Cache, zones: Path
) -> None:
    """zoneinfo falls back to it by itself."""
    applications = {**release.applications, "tzdata": Application("tzdata", "2026.1")}

    copy_time_zones(replace(release, applications=applications), empty_cache, [str(zones)])

    assert not (release.version_path / "share").exists()


def test_a_machine_without_zones_says_so(
    release: Release, empty_cache: Cache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The release is made, and the log has the way out."""
    with caplog.at_level(logging.WARNING, "underway"):
        copy_time_zones(release, empty_cache, [str(tmp_path)])

    assert "`uv add tzdata`" in caplog.text
    assert not (release.version_path / "share").exists()
