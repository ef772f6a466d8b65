import os
import time

from .version import VERSION


def note(*words):
    log = os.open(os.environ["JOB_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(log, (" ".join(map(str, words)) + "\n").encode())
    os.close(log)


def is_first(number):
    with open(os.environ["JOB_LOG"]) as log:
        return sum(line.startswith(f"begins {number} ") for line in log) == 1


def work(number, seconds):
    note("begins", number, os.getpid(), VERSION)
    time.sleep(seconds if seconds >= 0 else -seconds if is_first(number) else 0)
    note("ends", number, os.getpid(), VERSION)
