"""Upgrades under load: underway next to gunicorn's and granian's HUP, and to uvicorn killed and started.

    python bench/handover.py [--upgrades N] [--rounds N] [--seconds S] [--drain S] [--quick] [--only underway gunicorn ...]
                             [--patient N] [--websockets N] [--rate N] [--markdown FILE]

examples/chat, one worker, goes from 0.1.0 to 0.2.0 and back. Each contender in turn within each round, all at the same rate
of requests: half of what the slowest of them can do next to the other clients, or `--rate`. Where other work keeps the machine
busy, fewer clients keep all contenders below what is left of it: else it is that which is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from _load import Bulk, Seen, clients, need_wrk, wrk
from _measure import PLOTS, REPOSITORY, free_port, scratch_project
from _observe import Failed
from _under_load import Found, Turn, Upgrade, felt, markdown, picture, text
from _upgrades import VERSIONS, Contender, Server, make

CHANGED_WITHIN = 60.0
AFTER = 1.0
"""Seconds that still belong to an upgrade when it is done."""
FOOT = (
    "{given.patient} connections that pause up to 5 s, 50 new ones a second, {given.websockets} WebSockets, and wrk at half of what the"
    " slowest can do next to them; one worker each. The old version gets {given.drain:g} s."
)


def main() -> int:
    """Measure, print, draw; 1 when underway has lost a request or failed at an upgrade."""
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started ends then, too
    try:
        need_wrk()
    except Failed as error:
        sys.exit(str(error))
    with scratch_project() as project:
        print("* both versions are built", file=sys.stderr, flush=True)
        contenders = {name: each for name, each in make(project, given.drain).items() if name in given.only}
        found = asyncio.run(_measure(contenders, given, project.parent))
    print(text(found))
    print(*felt(found), sep="\n")
    file = PLOTS / "handover.svg"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(picture(found, FOOT.format(given=given)), encoding="utf-8")
    print(file.relative_to(REPOSITORY))
    if given.markdown:
        given.markdown.write_text(markdown(found), encoding="utf-8")
    return int(any(each.ours and (each.failed or each.lost) for each in found))


async def _measure(contenders: dict[str, Contender], given: argparse.Namespace, scratch: Path) -> list[Found]:
    found = {name: Found(each.label, each.ours) for name, each in contenders.items()}

    async def for_each(what: str, act: Callable[[Contender, Found], Awaitable[None]]) -> None:
        for name, contender in contenders.items():
            if found[name].failed:
                continue
            print(f"* {contender.label}: {what}", file=sys.stderr, flush=True)
            try:
                await act(contender, found[name])
            except (Failed, OSError) as error:
                found[name].failed = str(error) or type(error).__name__

    async def saturate(contender: Contender, it: Found) -> None:
        async with _loaded(contender, scratch, given, 0.0) as (_, _, told):
            await asyncio.sleep(given.seconds)
        it.saturation = max(it.saturation, told[0].rate)

    async def turn(contender: Contender, it: Found) -> None:
        it.turns.append(await _turn(contender, scratch, given, rate))

    for _ in range(0 if given.rate else 1 if given.quick else 3):
        await for_each("how much it can do", saturate)
    rate = given.rate or min((it.saturation for it in found.values() if not it.failed), default=0.0) / 2
    for number in range(given.rounds):
        await for_each(f"round {number + 1}, {rate:.0f} requests a second", turn)
    return list(found.values())


async def _turn(contender: Contender, scratch: Path, given: argparse.Namespace, rate: float) -> Turn:
    """Some upgrades up and down, with a pause after each. Raises Failed."""
    done, upgrades, pause = [], -(-given.upgrades // given.rounds), given.seconds
    async with _loaded(contender, scratch, given, rate) as (server, seen, told):
        await asyncio.sleep(pause)
        for number in range(upgrades):
            old, new = VERSIONS[number % 2], VERSIONS[1 - number % 2]
            if contender.prepare is not None:
                await contender.prepare(server, new)
            began = time.monotonic()
            try:
                async with asyncio.timeout(CHANGED_WITHIN):
                    await contender.change(server, new)
                    while not any(each.version == new and each.began > began for each in reversed(seen.answers)):
                        await asyncio.sleep(0.02)
            except TimeoutError:
                raise Failed(f"{new} did not answer, or {old} did not go, within {CHANGED_WITHIN:.0f} s") from None
            done.append(Upgrade(began, time.monotonic() + AFTER, old, new))
            await asyncio.sleep(AFTER + pause)
    return Turn(done, seen, told[0])


@asynccontextmanager
async def _loaded(
    contender: Contender, scratch: Path, given: argparse.Namespace, rate: float
) -> AsyncIterator[tuple[Server, Seen, list[Bulk]]]:
    """A server with all its clients, wrk at this rate among them; 0 for all that it can do."""
    port = free_port()
    server = Server(contender.command(port), contender.env(port), port, scratch / "current", scratch / "server.log")
    try:
        server.select(VERSIONS[0])
        await server.start()
        async with clients(port, given.patient, given.websockets) as seen, wrk(port, rate) as told:
            yield server, seen, told
    finally:
        await server.stop()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--upgrades", type=int, default=20, help="of each contender (20)")
    parser.add_argument("--rounds", type=int, default=5, help="in which these are made (5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="between upgrades, and to find saturation (3)")
    parser.add_argument("--drain", type=float, default=6.0, help="seconds that an old version gets to leave (6)")
    parser.add_argument("--patient", type=int, default=100, help="connections that pause (100)")
    parser.add_argument("--websockets", type=int, default=200, help="that talk all the time (200)")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="requests a second of wrk's, where it is not to be found out"
    )
    parser.add_argument("--quick", action="store_true", help="two upgrades, one round")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table of measurements.md there")
    given, _ = parser.parse_known_args()  # other arguments are for other benches
    if given.quick:
        given.upgrades, given.rounds = 2, 1
    return given


CONTENDERS = ("underway", "kept", "gunicorn", "granian", "uvicorn")

if __name__ == "__main__":
    sys.exit(main())
