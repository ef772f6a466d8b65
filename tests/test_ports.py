"""Ports of services under test are given once."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import ports


def test_a_port_is_given_to_one_test_alone() -> None:
    """Whoever asks, in this process or another, also before the service has bound it; one that is in use is given to nobody."""
    given = ports.free_ports(3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asked = [*given, listener.getsockname()[1]]
        code = f"import ports; print(*[ports._is_taken(port) for port in {asked}])"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=Path(ports.__file__).parent, capture_output=True, text=True, check=True
        )

    assert len({*given}) == 3
    assert not any(map(ports._is_taken, given))
    assert done.stdout == "False False False False\n"
