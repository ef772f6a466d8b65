"""The stream, on a cluster of one process."""

from __future__ import annotations

import asyncio

import pytest

import app_module
from underway_runtime import cluster


async def counted(*texts: list[str]) -> dict[str, int]:
    async with cluster.local():
        await app_module.deploy([])
        for text in texts:
            await app_module.feed(text)
        return await app_module.counts()


def test_words_are_counted_across_batches(capsys: pytest.CaptureFixture[str]) -> None:
    """However the text is cut, each word counts, and each count is printed as it grows."""
    assert asyncio.run(counted(["A rose is a rose"] * 60, ["is a rose"])) == {"a": 121, "rose": 121, "is": 61}
    assert "rose 121\n" in capsys.readouterr().out


def test_what_was_not_deployed_can_not_be_fed() -> None:
    app_module._running.clear()

    with pytest.raises(LookupError, match="--deploy app_module:deploy"):
        asyncio.run(app_module.feed(["a"]))
