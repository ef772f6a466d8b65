"""What may be in an archive, as a rule over manifests."""

from __future__ import annotations

import pytest

from underway_runtime.release import layout
from underway_runtime.release.manifest import Entry, Manifest


def problems(path: str, link: str) -> list[str]:
    return list(layout.problems(Manifest("hello", "1.0", "here", "3.11.2", {path: Entry(link=link)})))


@pytest.mark.parametrize("name", ["python", "python3", "python3.11"])
def test_a_release_without_an_interpreter_may_name_the_hosts(name: str) -> None:
    """releases/V/bin/python may be a link to the host's interpreter."""
    assert problems(f"releases/1.0/bin/{name}", "/usr/bin/python3.11") == []


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("releases/1.0/bin/python", "/etc/shadow"),
        ("releases/1.0/bin/python", "/usr/bin/../lib/python3"),
        ("releases/1.0/bin/python", "//usr/bin/python3/../sh"),
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
