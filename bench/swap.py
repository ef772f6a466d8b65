"""How long a swap holds everything up, and what is left of many: for so many functions that change, and instances that are carried over.

Runs a process of a small release, and shows each step by itself. ``pause`` is the one call of C that puts everything in place; ``held``
is all that is done between `stage_and_migrate` and the end of `survivors`, the search of the heap included. With ``--upgrades 20`` it
shows what becomes of memory and of requests instead (`_many_upgrades`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import _many_upgrades

sys.path[:0] = [str(Path(__file__).parents[1] / "tests/support")]

from code_server_helpers import laid_out  # noqa: E402
from node_helpers import this_interpreter  # noqa: E402
from swap_helpers import becoming  # noqa: E402

SCRIPT = """
import gc, shop, statistics, time
from underway_runtime.upgrade.hot import swap as engine
others = [[each] for each in range({others})]
rooms = [shop.Room() for _ in range({instances})]
gc.collect()
fields = dict(run=["Room.code_change"], added=["Room.code_change"], code_change=["Room"]) if rooms else {{}}
steps = []
for _ in range({times}):
    times = {{}}
    def timed(name, call, *arguments):
        begun = time.perf_counter()
        result = call(*arguments)
        times[name] = (time.perf_counter() - begun) * 1000
        return result
    prepared = timed("prepare", lambda: swap(shop=fields))
    timed("inside", prepared.inside)
    perform = prepared._journal.perform
    def watched(acts):
        begun = time.perf_counter()
        perform(acts)
        times["pause"] = (time.perf_counter() - begun) * 1000
    timed("stage", prepared.stage_and_migrate)
    prepared._journal.perform = watched
    timed("swap", prepared.swap)
    timed("scan", prepared.survivors)
    times["held"] = times["stage"] + times["swap"] + times["scan"]
    del prepared._journal.perform
    timed("undo", prepared.undo)
    steps.append(times)
told = {{name: statistics.median(each[name] for each in steps) for name in steps[0]}}
"""


def source(functions: int, generation: int) -> str:
    """A module of so many functions, and a class."""
    bodies = "".join(f"def f{n}(x):\n    return x + {n * 10 + generation}\n" for n in range(functions))
    change = "    @staticmethod\n    def code_change(old_version, state, extra):\n        return {**state, 'topic': 'none'}\n"
    return f"{bodies}class Room:\n    def __init__(self):\n        self.name, self.size = 'a', 1\n{change * generation}"


def measured(functions: int, instances: int, others: int, times: int) -> Any:
    """Milliseconds of each step, the median."""
    with tempfile.TemporaryDirectory(prefix="underway-bench-") as place:
        interpreter = laid_out(this_interpreter(), Path(place))
        become = becoming(Path(place), interpreter)
        script = SCRIPT.format(instances=instances, others=others, times=times)
        return become(source(functions, 0), source(functions, 1), script)


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--others", type=int, default=100_000, help="other objects on the heap")
    parser.add_argument(
        "--upgrades", type=int, help="upgrade chat so many times, up and down, and compare with a fresh start"
    )
    parser.add_argument("--turns", type=int, default=100, help="in which both are asked")
    arguments, _ = parser.parse_known_args()  # other arguments are for other benches
    if arguments.upgrades:
        print(_many_upgrades.summary(arguments.upgrades, arguments.turns))
        return
    cases = [(1, 0), (100, 0), (1_000, 0), (10_000, 0), (1, 1_000), (1, 100_000)]
    rows = {
        f"{functions} functions, {instances} instances": measured(
            functions, instances, arguments.others, arguments.times if functions < 10_000 else 3
        )
        for functions, instances in cases
    }
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    names = list(next(iter(rows.values())))
    print(f"{'milliseconds, median':<36}" + "".join(f"{name:>10}" for name in names))
    for title, row in rows.items():
        print(f"{title:<36}" + "".join(f"{row[name]:>10.3f}" for name in names))


if __name__ == "__main__":
    main()
