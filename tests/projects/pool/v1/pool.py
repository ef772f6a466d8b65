import os
import signal
import subprocess
import sys
import time

from underway_runtime import Application


def sleep():
    with open(os.environ["PIDS"], "a") as file:
        print(os.getpid(), file=file, flush=True)
    time.sleep(600)


def beget():
    pass


def answer():
    return "1"


class App(Application):
    async def start(self):
        beget()
        print("begun", flush=True)

    def suspend(self, within):
        pass

    def stop(self):
        if os.path.exists(os.environ["PIDS"]):
            for pid in open(os.environ["PIDS"]).read().split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except OSError:
                    pass


if __name__ == "__main__":
    sleep()
