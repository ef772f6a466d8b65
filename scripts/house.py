"""Draw the house from its imports: the rooms of both distributions, from the top, and what each leans on.

usage: house.py [--check | --write] [FILE]

Print the drawing. With --write put it into FILE, between the lines that mark its place; with --check write nothing, and end with 1
where FILE has another. An error says where rooms lean on one another in a circle, or a room has too many files.
"""

from __future__ import annotations

import argparse
import graphlib
import re
import sys
from collections import Counter
from pathlib import Path

import grimp

DISTRIBUTIONS = ("underway", "underway_runtime")
MOST_FILES = 26
"""In one room, without the rooms in it; where there are more, it is hard to find one's way."""

_BEGIN, _END = "<!-- drawn by scripts/house.py -->\n```text\n", "```\n<!-- end of the drawing -->"


def drawing() -> str:
    """The whole house, as text. Raises ValueError for what it must not have."""
    return "\n".join(_of(distribution) for distribution in DISTRIBUTIONS)


def _of(distribution: str) -> str:
    graph = grimp.build_graph(distribution, exclude_type_checking_imports=True, cache_dir=None)
    leans: dict[str, set[str]] = {}
    files: Counter[str] = Counter()
    for module in sorted(graph.modules):
        if (room := _room(module)) is None:
            continue
        below = {_room(other) for other in graph.find_modules_directly_imported_by(module)} - {room, None}
        leans.setdefault(room, set()).update(other for other in below if other is not None)
        files[module if graph.find_children(module) else module.rpartition(".")[0]] += 1
    if large := [f"{room} has {count} files" for room, count in files.items() if count > MOST_FILES]:
        raise ValueError(f"{', '.join(large)}; {MOST_FILES} are the most")
    lines = [f"{distribution}\n"]
    for room in _from_the_top(leans):
        whole = f"{distribution}.{room}"
        count = sum(number for name, number in files.items() if f"{name}.".startswith(f"{whole}.")) or 1
        lines.append(f"  {room:<14}{count:>3}  {', '.join(sorted(leans[room])) or '-'}\n")
    return "".join(lines)


def _room(module: str) -> str | None:
    """The room of a module; None for the distribution itself, and what is no code of it."""
    room = module.split(".")[1:2]
    return room[0] if room and room[0] not in ("__main__", "templates") else None


def _from_the_top(leans: dict[str, set[str]]) -> list[str]:
    sorter = graphlib.TopologicalSorter({room: sorted(leans[room]) for room in sorted(leans)})
    try:
        return [*sorter.static_order()][::-1]
    except graphlib.CycleError as error:
        raise ValueError(f"rooms lean on one another in a circle: {' -> '.join(error.args[1])}") from None


def main() -> int:
    """Do what the command line asks for, and return the status."""
    parser = argparse.ArgumentParser(description="Draw the house from its imports.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="end with 1 when FILE has another drawing")
    mode.add_argument("--write", action="store_true", help="put the drawing into FILE")
    parser.add_argument("file", type=Path, nargs="?", default=Path("docs/how-to/develop.md"))
    options = parser.parse_args()
    try:
        drawn = drawing()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not (options.check or options.write):
        print(drawn, end="")
        return 0
    text = options.file.read_text(encoding="utf-8")
    between = re.compile(re.escape(_BEGIN) + ".*?" + re.escape(_END), re.DOTALL)
    new = between.sub(lambda _: _BEGIN + drawn + _END, text)
    if options.write:
        options.file.write_text(new, encoding="utf-8")
    elif new != text:
        print(
            f"error: {options.file} has another drawing; python scripts/house.py --write draws it again",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
