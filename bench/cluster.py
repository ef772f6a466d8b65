"""A cluster of real nodes on this machine, in TLS: how long N workers take to join and what they weigh, what a task and a call of
an actor take, and how many records of the word count go through in a second."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _measure import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tests/support"))

from cluster_helpers import CREW, WORDCOUNT, Member, Nodes
from code_server_helpers import laid_out
from node_helpers import nodes, this_interpreter

ROUND_TRIPS = """
import json, time
async def times(count, call):
    await call()
    found = []
    for _ in range(count):
        begin = time.perf_counter()
        await call()
        found.append(time.perf_counter() - begin)
    found.sort()
    return [1000 * found[len(found) // 2], 1000 * found[len(found) * 99 // 100]]
async def many(count):
    begin = time.perf_counter()
    await asyncio.gather(*(cluster.submit(crew.pid, tag="counters") for _ in range(count)))
    return time.perf_counter() - begin
import asyncio
counter = await cluster.actor(crew.Counter, tag="counters")
print(json.dumps({
    "task": await times(500, lambda: cluster.submit(crew.pid, tag="counters")),
    "call": await times(2000, lambda: counter.call(crew.Counter.add, 1)),
    "all": await times(200, lambda: cluster.run(crew.pid)),
    "many": await many(2000),
}))
"""
RECORDS = """
import json, time, wordcount
wordcount.show = str  # instead of print
await wordcount.deploy([], cut="cutters", count="counters")
lines = [f"a rose is a rose number{number % 1000}" for number in range(COUNT)]
begin = time.perf_counter()
counted = await wordcount.feed(lines)
print(json.dumps([sum(counted.values()), time.perf_counter() - begin]))
"""


def main() -> None:
    """Measure each size once, and the rest on one master with three workers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 10])
    parser.add_argument("--records", type=int, default=20_000)
    arguments = parser.parse_known_args()[0]
    print("workers  all joined  memory a node  on all, median  gone after the master")
    for count in arguments.workers:
        with started(count) as (master, workers, joined):
            memory = sum(pss(each) for each in (master, *workers)) / (count + 1) / 1e6
            once = ask(
                master,
                ROUND_TRIPS.partition("counter =")[0]
                + "print(json.dumps(await times(20, lambda: cluster.run(crew.pid))))",
            )
            begin = time.perf_counter()
            master.process.terminate()
            for each in (*workers, master):
                each.ends()
            gone = time.perf_counter() - begin
        print(f"{count:7}  {joined:8.1f} s  {memory:10.1f} MB  {once[0]:11.1f} ms  {gone:19.1f} s", flush=True)
    with started(3) as (master, _, _):
        found = ask(master, ROUND_TRIPS)
        for name, what in (("task", "a task"), ("call", "a call of an actor"), ("all", "a function on 3")):
            print(f"{what}: {found[name][0]:.2f} ms, 99th of 100: {found[name][1]:.2f} ms")
        print(f"2000 tasks at once: {found['many']:.2f} s")
        words, seconds = ask(master, RECORDS.replace("COUNT", str(arguments.records)))
        print(f"word count: {arguments.records / seconds:.0f} lines or {words / seconds:.0f} words a second")


@contextlib.contextmanager
def started(count: int) -> Any:
    """A master and so many workers, all started at once: they, and how long it took until all had joined."""
    with tempfile.TemporaryDirectory(prefix="underway-bench-") as directory:
        interpreter = laid_out(this_interpreter(), Path(directory))
        with nodes(Path(directory), interpreter) as make:
            cluster = Nodes(make, CREW, WORDCOUNT)
            tags = [["cutters"] if number == 0 < count - 1 else ["counters"] for number in range(count)]
            sections = [
                cluster.section(f"w{number}", f"127.0.0.{number + 2}", "worker", tags=tags[number])
                for number in range(count)
            ]
            names = [each["name"] for each in sections]
            boss = cluster.section("master", "127.0.0.1", "master", workers=names)
            begin = time.perf_counter()
            workers = [cluster.start(each) for each in sections]
            master = cluster.start(boss)
            master.ready()
            yield master, workers, time.perf_counter() - begin


def ask(master: Member, code: str) -> Any:
    """What a piece of code that runs in the master prints, as JSON."""
    return json.loads(master.rpc(code).splitlines()[-1])


def pss(member: Member) -> int:
    """Bytes of a node and its keeper, shared pages by their share."""
    total = 0
    for pid in (member.process.pid, member.node):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024
    return total


if __name__ == "__main__":
    main()
