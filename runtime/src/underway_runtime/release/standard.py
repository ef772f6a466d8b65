"""The descriptors 0, 1 and 2, which everything takes for input, output and errors."""

from __future__ import annotations

import os
import sys


def fill() -> None:
    """Have something on each: of what is opened next, a socket or the lock, nothing lands on one that the caller has closed.

    ``bin/NAME`` does that before; here it is for a shell that has its script there. Called first, in the first thread.
    """
    while (descriptor := os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # as Python finds them closed
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
