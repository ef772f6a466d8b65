"""Addresses: whoever reads one reads the same, and refuses the same."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from underway.project.options import problem_of
from underway_runtime.cluster import addresses as of_node
from underway_runtime.cluster import inventory
from underway_runtime.configuration.runtime_schema import Cluster
from underway_runtime.release import addresses
from underway_runtime.release.errors import ConfigError, UsageError
from underway_runtime.release.gates import gate_of

Read = Callable[[str], object]

READERS: dict[str, Read] = {
    "the option listen": lambda text: _raise(problem_of("listen", [f"tcp://{text}"])),
    "what a node binds": lambda text: addresses.host_and_port(f"tcp://{text}"),
    "a gate": lambda text: gate_of({"tcp": text}),
    "a gate with a scheme": lambda text: gate_of({"tcp": f"tcp://{text}"}),
    "a gate of http": lambda text: gate_of({"http": f"http://{text}/"}),
    "--listen and --master of bin/cluster": inventory.address,
    "where the project says that the master listens": lambda text: inventory.from_table({"listen": text}),
    "where a node of a cluster listens": lambda text: of_node.listen(text, any_port=True),
    "the master in the configuration of a worker": lambda text: Cluster(mode="worker", master=text),
}


def _raise(problem: str | None) -> None:
    if problem is not None:
        raise ValueError(problem)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("text", ["127.0.0.1:8000", "[::1]:8786", "[fe80::1%eth0.1]:1"])
def test_an_address_that_one_reads_all_read(text: str, read: Read) -> None:
    """IPv6 in brackets, with a scope or without."""
    read(text)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    "text",
    ["::1:8786", "u@127.0.0.1:8000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", ":1", "[::1", "a b:1", "h:1/x"],
)
def test_what_one_refuses_all_refuse(text: str, read: Read) -> None:
    """At the build what the boot would refuse, and in a cluster what a gate would."""
    if (read is READERS["a gate of http"]) and text in ("127.0.0.1", "h:1/x"):
        return  # a URL has a default port, and a path
    with pytest.raises((ValueError, UsageError, ConfigError)):
        read(text)


@pytest.mark.parametrize("text", ["unix:///", "unix://run/chat.sock", "unix:///run/"])
def test_a_socket_file_has_an_absolute_path(text: str) -> None:
    """For a gate as for the option listen."""
    with pytest.raises(ValueError, match=r'"unix:///path"'):
        gate_of({"tcp": text})
    assert problem_of("listen", [text]) is not None


def test_a_socket_file_may_lie_deep(tmp_path: Path) -> None:
    """Where its path is too long for the system, its short name reaches it."""
    path = tmp_path / ("d" * 100) / "chat.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        with addresses.short_path(path) as name:
            listener.bind(name)
        listener.listen()
        with addresses.short_path(path) as name:
            client.connect(name)

    assert path.is_socket()
