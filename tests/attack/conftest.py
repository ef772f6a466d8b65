"""One ground for all of a module, as new for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from code_server_helpers import Interpreter
from grounds import Ground, grounds
from node_helpers import App


@pytest.fixture(scope="module")
def second() -> App | None:
    """The application of version 2, where it differs."""
    return None


@pytest.fixture(scope="module")
def ground_of_all(
    tmp_path_factory: pytest.TempPathFactory, interpreter: Interpreter, second: App | None
) -> Iterator[Ground]:
    yield from grounds(tmp_path_factory.mktemp("ground"), interpreter, second)


@pytest.fixture
def ground(ground_of_all: Ground) -> Ground:
    ground_of_all.again()
    return ground_of_all
