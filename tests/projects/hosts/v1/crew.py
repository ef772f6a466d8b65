import os
import threading


def main():
    threading.Event().wait()


def host():
    return os.uname().nodename


async def deployed(what, place):
    from underway_runtime import cluster

    tags = {tag: sorted((await cluster.run(host, tag=tag)).values()) for tag in ("a", "b", "c")}
    with open(place, "w") as file:
        file.write(f"{what}: {tags}")
