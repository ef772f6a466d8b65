"""``python bench/conformance``: pairs of releases of well-known packages, judged by the tests of the newer one."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

BENCH = Path(__file__).parents[1]
sys.path[:1] = [str(BENCH), str(BENCH.parent / "tests/support")]

from code_server_helpers import laid_out  # noqa: E402
from conformance import run, sources  # noqa: E402
from conformance.run import Outcome  # noqa: E402
from node_helpers import this_interpreter  # noqa: E402

CACHE = Path("build/bench/conformance")


def main() -> int:
    """Print a table, what differs, and the totals; exit with 1 where anything differs or can't be tried."""
    options = _options()
    known = sources.packages()
    pairs = [
        each
        for each in sources.pairs(known, options.pairs)
        if not options.only or {each.name, each.package.name} & set(options.only)
    ]
    cache = options.cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="underway-conformance-") as scratch:
        os.environ["UNDERWAY_TESTS"] = scratch  # where the helpers of the tests put what they make once
        interpreter = laid_out(this_interpreter(), Path(scratch))
        with ThreadPoolExecutor(options.jobs) as pool:
            for each in pool.map(
                lambda pair: run.outcome(
                    pair, cache, Path(scratch), interpreter, skip=options.skip_restarts, plans=options.plans
                ),
                pairs,
            ):
                found.append(each)
                print(_row(each), flush=True)
    _total(found)
    if options.json:
        options.json.write_text(json.dumps([asdict(each) | {"class": each.title} for each in found], indent=1) + "\n")
    return int(any(each.title in ("differs", "error") for each in found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/conformance", description=(__doc__ or "").strip())
    parser.add_argument("--only", nargs="+", metavar="PACKAGE", help="these packages, or pairs, alone")
    parser.add_argument("--pairs", type=Path, default=sources.HERE / "pairs.json", help="the table of the pairs")
    parser.add_argument("--cache", type=Path, default=CACHE, help="keep here what was fetched (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write all outcomes to this file")
    skipped = "run no test of pairs that take a fresh interpreter: whether these count is not asked"
    parser.add_argument("--skip-restarts", action="store_true", help=skipped)
    parser.add_argument(
        "--plans", action="store_true", help="plan alone, and say why not; upgrade nothing, run no test"
    )
    parser.add_argument("--jobs", type=int, default=2, help="pairs at a time (default: %(default)s)")
    return parser.parse_args()


def _row(found: Outcome) -> str:
    pause = "" if found.pause is None else f"{found.pause * 1000:.0f} ms"
    upgraded = "" if found.upgraded is None else found.upgraded
    row = f"{found.name:34} {found.title:14} {found.verdict:8} {found.fresh:6} {upgraded:>6} {pause:>8}  {found.counts}"
    told = [found.error] if found.error else found.differences[: run.REASONS] + found.reasons[: run.REASONS]
    return row + "".join(f"\n    {line[:400]}" for each in told if each for line in each.splitlines()[-run.REASONS :])


def _total(found: list[Outcome]) -> None:
    print(f"\n{len(found)} pairs, {sum(1 for each in found if each.counts)} of which count")
    for title, count in sorted(Counter(each.title for each in found).items()):
        print(f"{count:5}  {title}")


if __name__ == "__main__":
    sys.exit(main())
