"""The descriptors 0, 1 and 2, which everything takes for input, output and errors."""

from __future__ import annotations

import io
import os
import sys


def fill() -> None:
    """Have something on each: of what is opened next, a socket or the lock, nothing lands on one that the caller has closed.

    ``bin/NAME`` does that before; here it is for a shell that has its script there. Called first, in the first thread.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open("/dev/null", os.O_RDWR), True)  # the lowest that is free is this one
        if getattr(sys, name) is None:  # as Python finds them closed
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def escape() -> None:
    """Have what the encoding of standard output does not know escaped there, as it is on standard error: a command that was done does
    not end with an error for a character. What is encoded as UTF-8 is all known."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in ("strict", "surrogateescape"):
        sys.stdout.reconfigure(errors="backslashreplace")
