"""What a node tells its operator: lines on standard error."""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import sys
import traceback
from pathlib import Path
from types import TracebackType

_OURS = (str(Path(__file__).parent.parent), "<frozen importlib", str(Path(importlib.__file__).parent))


def log(message: str, error: BaseException | None = None) -> None:
    """Write a line and the traceback of `error`, if any, from the first frame that is not ours. Never raises."""
    text = message + "\n"
    if error is not None and (frames := _without_ours(error.__traceback__)) is not None:
        text += "".join(traceback.format_exception(type(error), error, frames))
    with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):  # gone, or interrupted while writing
        sys.stderr.write(text)
        sys.stderr.flush()


def last_words(message: str) -> None:
    """Write a line before the process is ended at once.

    At that time a write may just have been interrupted, another thread may be stuck in one, and no thread can be made;
    so this uses the descriptor, and gives up when nobody reads.
    """
    with contextlib.suppress(OSError):
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        if poll.poll(500):
            os.write(2, f"{message}\n".encode())


def _without_ours(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    return frames
