"""Which applications have to share a directory, told from wheels whose binaries look for each other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from binaries import library, program
from underway.packages import wheel_record
from underway.release import Application
from underway.steps.binaries.shared_libdirs import together

pytestmark = pytest.mark.needs_tool("gcc", "gcc")


@pytest.fixture
def site_packages(tmp_path: Path) -> Path:
    """Where the applications of a test are installed."""
    place = tmp_path / "lib/python3.11/site-packages"
    place.mkdir(parents=True)
    return place


def installed(site_packages: Path, name: str, files: Iterable[Path], version: str = "1.0") -> Application:
    """An application that brought these files."""
    info = f"{name}-{version}.dist-info"
    (site_packages / info).mkdir(exist_ok=True)
    wheel_record.write(site_packages, info, [path.relative_to(site_packages).as_posix() for path in files])
    return Application(name, version, source=site_packages, dist_info=info)


def mapping(*applications: Application) -> dict[str, Application]:
    return {application.name: application for application in applications}


def test_what_looks_for_the_other_s_libraries_is_with_it(site_packages: Path) -> None:
    """As torch and nvidia's; directly or not. What needs nobody, and is needed by nobody, has its own directory."""
    low = library(site_packages / "nvidia/low/lib/liblow.so.1")
    high = library(site_packages / "nvidia/high/lib/libhigh.so.1", low, rpath="$ORIGIN/../../low/lib")
    module = library(site_packages / "torch/lib/core.so", high, runpath="$ORIGIN:$ORIGIN/../../nvidia/high/lib")
    alone = library(
        site_packages / "alone/module.so",
        library(site_packages / "alone.libs/libalone.so.1"),
        rpath="$ORIGIN/../alone.libs",
    )

    homes = together(
        mapping(
            installed(site_packages, "alone", [alone, site_packages / "alone.libs/libalone.so.1"]),
            installed(site_packages, "nvidia_high", [high]),
            installed(site_packages, "nvidia_low", [low]),
            installed(site_packages, "torch", [module], "2.9+cu128"),
        )
    )

    assert homes.keys() == {"nvidia_high", "nvidia_low", "torch"}
    assert len(set(homes.values())) == 1
    assert homes["torch"].startswith("torch-2.9+cu128+")


def test_another_version_of_one_is_another_directory_for_all(site_packages: Path) -> None:
    """Releases share directories by name, so the name says all that is in it."""
    low = library(site_packages / "low/liblow.so.1")
    module = library(site_packages / "high/module.so", low, rpath="$ORIGIN/../low")
    high = installed(site_packages, "high", [module])

    one = together(mapping(high, installed(site_packages, "low", [low])))
    again = together(mapping(installed(site_packages, "low", [low]), high))
    other = together(mapping(high, installed(site_packages, "low", [low], "1.1")))

    assert one == again
    assert set(one.values()).isdisjoint(other.values())
    assert all(home.startswith("high-1.0+") for home in (*one.values(), *other.values()))


def test_groups_that_have_nothing_in_common_are_apart(site_packages: Path) -> None:
    """Two pairs are two directories."""
    applications = []
    for name in ("a", "b"):
        low = library(site_packages / f"{name}_low/lib{name}.so.1")
        high = program(site_packages / f"{name}_high/tool", low, rpath=f"$ORIGIN/../{name}_low")
        applications += [
            installed(site_packages, f"{name}_low", [low]),
            installed(site_packages, f"{name}_high", [high]),
        ]

    homes = together(mapping(*applications))

    assert homes["a_low"] == homes["a_high"] != homes["b_low"] == homes["b_high"]


def test_what_looks_beside_all_packages_is_with_those_that_it_names(site_packages: Path) -> None:
    """In site-packages itself lie modules of many; only what is needed by name counts."""
    named = library(site_packages / "libnamed.so.1")
    other = library(site_packages / "_cffi_backend.so")
    module = library(site_packages / "app/module.so", named, rpath="$ORIGIN/..")

    homes = together(
        mapping(
            installed(site_packages, "app", [module]),
            installed(site_packages, "cffi", [other]),
            installed(site_packages, "named", [named]),
        )
    )

    assert homes.keys() == {"app", "named"}
