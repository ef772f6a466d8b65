"""What may be in an archive, as a rule over manifests."""

from __future__ import annotations

import pytest

from underway_runtime.release.archives import tar_layout
from underway_runtime.release.manifest import Manifest, ManifestEntry


def problems(path: str, link: str) -> list[str]:
    return list(tar_layout.problems(Manifest("hello", "1.0", "here", "3.11.2", {path: ManifestEntry(link=link)})))


@pytest.mark.parametrize("name", ["python", "python3", "python3.11"])
def test_a_release_without_an_interpreter_may_name_the_hosts(name: str) -> None:
    """releases/V/bin/python may be a link to the host's interpreter."""
    assert problems(f"releases/1.0/bin/{name}", "/usr/bin/python3.11") == []
    assert problems(f"releases/1.0/bin/{name}", "/opt/versions/3.11.7/bin/python3.11") == []


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("releases/1.0/bin/python", "/etc/shadow"),
        ("releases/1.0/bin/python", "/usr/bin/../lib/python3"),
        ("releases/1.0/bin/python", "//usr/bin/python3/../sh"),
        ("releases/1.0/bin/python", "/anything/python3"),
        ("releases/1.0/bin/python", "/python3"),
        ("releases/1.0/bin/python", "/tmp/x/bin/python3"),
        ("releases/1.0/bin/python", "/var/lib/hello/bin/python3.11"),
        ("releases/1.0/bin/python", "/dev/shm/bin/python3"),
        ("releases/1.0/bin/python", "/usr/bin/python3.11/x"),
        ("releases/1.0/bin/python", "/usr/bin/python3 -c x"),
        ("releases/1.0/bin/python", "//usr/bin/python3"),
        ("releases/1.0/bin/python", "../../../../usr/bin/python3"),
        ("releases/1.0/bin/pythons", "/usr/bin/python3"),
        ("releases/1.0/python", "/usr/bin/python3"),
        ("lib/x", "/usr/bin/python3"),
        ("releases/1.0/bin/python/x", "/usr/bin/python3"),
    ],
)
def test_no_other_link_leaves_the_release(path: str, link: str) -> None:
    """Only the interpreter, and only by its own name."""
    assert problems(path, link) != []


@pytest.mark.parametrize(
    "link",
    [
        "../var",
        "../var/x",
        "../var/run/control",
        "../VAR/x",
        "../Var",
        "../.transaction/tree/x",
        "..",
        "../releases/shared.json",
    ],
)
@pytest.mark.parametrize("path", ["lib/l", "releases/l"])
def test_no_link_leads_to_what_is_the_node_s(path: str, link: str) -> None:
    """Who may write to var would write what the release is made of; the root of the release leads there too."""
    assert problems(path, link) != []
    deeper = f"{path}/a/b/c" if path == "lib/l" else f"releases/1.0/a/b/{path[-1]}"
    assert problems(deeper, f"../../../{link}") != []


@pytest.mark.parametrize("link", ["../releases/0.9/bin/python", "../releases", "../releases/start.data"])
def test_no_link_leads_into_another_version(link: str) -> None:
    """Which comes and goes by itself."""
    assert problems("lib/l", link) != []


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("lib/l", "variable/x"),
        ("lib/l", "../lib/var"),
        ("lib/x/var", "y"),
        ("releases/1.0/a", "b"),
        ("lib/a", "../releases/1.0/x"),
    ],
)
def test_links_inside_are_what_they_were(path: str, link: str) -> None:
    """A name that only resembles var is a name like others."""
    assert problems(path, link) == []
