import os

from underway_runtime import Application, cluster


class Crew(Application):
    async def booted(self):
        print("crew is ready", flush=True)


class Counter:
    def __init__(self, start=0):
        self.count = start

    def add(self, number):
        self.count += number
        return self.count

    async def slowly(self, seconds):
        import asyncio

        await asyncio.sleep(seconds)


def pid():
    return os.getpid()


def environment(name):
    return os.environ.get(name)


def fail():
    raise ValueError("on purpose")


async def fail_together():
    raise ExceptionGroup("some failed", [ExceptionGroup("inner", [ValueError("on purpose")])])


async def deploy():
    print("deployed on", await cluster.run(pid), flush=True)
