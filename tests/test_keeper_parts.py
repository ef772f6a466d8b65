"""What the keeper is made of, each by itself: the limit of restarts, the log, the messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disks import small_disk
from underway_runtime.keeper.logs import Log
from underway_runtime.keeper.restart_policy import RestartPolicy
from underway_runtime.release import channel

# --------------------------------------------------------------------------------------------------------- the limit


def test_pauses_double_up_to_the_limit() -> None:
    """At most so many starts within so many seconds; then none."""
    heart = RestartPolicy(4, 60, 1)

    assert [heart.pause(now) for now in (0, 1, 3, 7, 15)] == [1, 2, 4, 8, None]


def test_what_was_long_ago_is_forgotten() -> None:
    """A node that has run well for a while begins again."""
    heart = RestartPolicy(2, 60, 1)

    assert [heart.pause(now) for now in (0, 1, 100, 101, 102)] == [1, 2, 1, 2, None]


@given(st.integers(1, 8), st.floats(0.1, 100), st.floats(0, 10), st.lists(st.floats(0, 50), min_size=1, max_size=60))
def test_never_more_starts_than_the_limit(restarts: int, within: float, delay: float, lives: list[float]) -> None:
    """However long each node lives: no window of `within` seconds sees more starts than the limit."""
    heart = RestartPolicy(restarts, within, delay)
    now, starts = 0.0, []
    for life in lives:
        now += life
        pause = heart.pause(now)
        if pause is None:
            break
        assert 0 <= pause <= within
        starts.append(now)
        now += pause

    assert all(sum(at <= other < at + within for other in starts) <= restarts for at in starts)


# --------------------------------------------------------------------------------------------------------- messages


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_message(data: bytes) -> None:
    """What comes is never a reason to fall over."""
    word, fields = channel.decode(data)

    assert isinstance(word, str)
    assert all(isinstance(field, str) for field in fields)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=[])), min_size=1))
def test_what_is_said_is_what_is_heard(words: list[str]) -> None:
    """Any text, also the names of files that are no UTF-8; NUL separates and becomes a space."""
    word, *fields = words

    assert channel.decode(channel.encode(word, *fields)) == (word, fields)
    assert channel.decode(channel.encode("a", "b\0c")) == ("a", ["b c"])


def test_a_message_is_not_longer_than_the_limit() -> None:
    """A long traceback is cut, and still a message."""
    message = channel.encode("failed", "é" * channel.LIMIT)

    assert len(message) == channel.LIMIT
    assert channel.decode(message)[0] == "failed"


# -------------------------------------------------------------------------------------------------------------- log


def lines(log: Path) -> list[str]:
    """The lines of a log, with what marks say instead of when."""
    return [" ".join(line.split()[:2]) if line.startswith("=====") else line for line in log.read_text().splitlines()]


def test_silence_is_logged(tmp_path: Path) -> None:
    """After 15 minutes without output a line says that the service lives; the clock is given, and never a wall clock."""
    log = Log()
    log.open(f"{tmp_path}/log/hello.log", 5, 100_000, 900, now=0)
    log.add(b"one\n", 10)
    log.tick(800)
    due = log.due()
    log.tick(910)
    log.tick(911)
    log.add(b"two\n", 920)
    log.add(b"three\n", 1500)
    log.close()

    assert due == 910
    year = lines(tmp_path / "log/hello.log.1")[0].split()[1]
    assert lines(tmp_path / "log/hello.log.1") == [
        "===== STARTED",
        "one",
        "===== ALIVE",
        "two",
        lines(tmp_path / "log/hello.log.1")[4],
        "three",
        "===== ENDED",
    ]
    assert year == "STARTED"


def test_what_came_before_the_log_was_open_is_in_it(tmp_path: Path) -> None:
    """A node speaks before it can say where the log is."""
    log = Log()
    log.add(b"early\n", 0)
    log.open(f"{tmp_path}/hello.log", 5, 100_000, 0, now=0)
    log.close()

    assert lines(tmp_path / "hello.log.1") == ["===== STARTED", "early", "===== ENDED"]


@given(
    st.integers(2, 5),
    st.lists(st.binary(max_size=300).map(lambda data: data.replace(b"=", b"-") + b"\n"), max_size=40),
    st.lists(st.integers(0, 39), max_size=3),
)
def test_the_newest_lines_are_there_whatever_is_written(
    tmp_path_factory: pytest.TempPathFactory, generations: int, chunks: list[bytes], restarts: list[int]
) -> None:
    """Never more files than generations, none above its size, and the last lines in order, also across restarts."""
    place = tmp_path_factory.mktemp("log")
    log = Log()
    log.open(f"{place}/l", generations, 1000, 0, now=0)
    for index, chunk in enumerate(chunks):
        if index in restarts:
            log.close()
            log = Log()
            log.open(f"{place}/l", generations, 1000, 0, now=0)
        log.add(chunk, 0)
        assert len(list(place.iterdir())) <= generations
    newest = Path(log.place).read_bytes()
    log.close()

    assert all(file.stat().st_size <= 1000 for file in place.iterdir())
    said = b"".join(line for line in newest.splitlines(keepends=True) if not line.startswith(b"====="))
    assert b"".join(chunks).endswith(said)


@pytest.mark.needs_tool("mount", "mount")
def test_a_full_disk_loses_lines_and_says_how_many(tmp_path: Path) -> None:
    """The service goes on; when there is room again the log says what is missing."""
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        log = Log()
        log.open(f"{disk}/l", 5, 1_000_000, 0, now=0)
        for _ in range(20):
            log.add(b"x" * 9_999 + b"\n", 0)
        Path(log.place).write_bytes(b"")
        log.add(b"here again\n", 0)
        text = Path(log.place).read_bytes()
        log.close()

    assert b" bytes were lost here: the log could not be written\nhere again\n" in text


def test_a_place_that_can_not_be_written_loses_lines_only(tmp_path: Path) -> None:
    """Nothing is raised."""
    (tmp_path / "file").touch()
    log = Log()
    log.open(f"{tmp_path}/file/l", 5, 1000, 0, now=0)
    log.add(b"lost\n", 0)
    log.close()
