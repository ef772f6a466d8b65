"""A swap is one step for all other threads."""

from __future__ import annotations

import pytest

from conftest import Count
from swap_helpers import Become, everywhere

pytestmark = pytest.mark.in_place

SCRIPT = """
import itertools, shop, sys, threading, time
from underway_runtime.upgrade.hot.undo_log import Acts, Journal

READS = {reads}
GENERATIONS = 2000
sys.setswitchinterval(1e-5)

def generation(function, n):
    code = function.__code__
    return code.replace(co_consts=tuple(n if type(each) is int else each for each in code.co_consts))

others = [shop.make() for _ in range(30)]

def acts(n):
    made = Acts()
    made.attribute(shop.first, "__code__", generation(shop.first, n))
    for each in others[:15]: made.attribute(each, "__code__", generation(each, n))
    made.member(shop.Room, "size", n)
    made.item(vars(shop), "LIMIT", n)
    for each in others[15:]: made.attribute(each, "__code__", generation(each, n))
    made.attribute(shop.room, "n", n)
    made.attribute(shop.Room.last, "__code__", generation(shop.Room.last, n))
    return made

torn, reads, stop = [], [0, 0, 0], threading.Event()

def reader(number):
    room, first = shop.room, shop.first
    forwards = lambda: (first(), shop.Room.size, shop.LIMIT, others[20](), room.n, room.last())
    backwards = lambda: (room.last(), room.n, others[20](), shop.LIMIT, shop.Room.size, first())
    for look in itertools.cycle((forwards, backwards)):
        seen = look()
        # Each generation is there as a whole: what is read later is never of an earlier one.
        if list(seen) != sorted(seen): torn.append(seen)
        reads[number] += 1
        if stop.is_set(): break

def run(perform, generations, enough):
    prepared = [acts(n) for n in range(shop.LIMIT + 1, shop.LIMIT + 1 + generations)]
    threads = [threading.Thread(target=reader, args=(n,), daemon=True) for n in range(3)]
    for each in threads: each.start()
    begun = sum(reads)
    for number, made in enumerate(prepared, 1):
        perform(made)
        while sum(reads) - begun < number * READS // generations: time.sleep(0)
        if enough(): break
    stop.set()
    for each in threads: each.join()

def at_once(made):
    journal = Journal()
    journal.perform(made)
    journal.forget()

def one_by_one(made):
    for each in made.do:
        each()
        time.sleep(0)  # lets others in, as a loop may at any turn

run(at_once, GENERATIONS, lambda: False)
told = dict(torn=len(torn), enough=sum(reads) >= READS, generations=shop.LIMIT == 1000 + GENERATIONS)
stop.clear()
run(one_by_one, GENERATIONS, lambda: torn)
told["control"] = len(torn) > 0
"""

SOURCE = """
LIMIT = 1000
def first(): return 1000
def make():
    def other(): return 1000
    return other
class Room:
    size = 1000
    def last(self): return 1000
room = Room()
room.n = 1000
"""
"""Begins at a number that is among the constants of the code: since 3.14 a small one is within the instruction."""


@everywhere
@pytest.mark.parametrize("part", [0, *(pytest.param(n, marks=pytest.mark.drill) for n in range(1, 10))])
def test_no_thread_sees_a_part_of_a_swap(become: Become, count: Count, part: int) -> None:
    """Three threads that switch every 10 µs read functions, a member, a global and an attribute: all of one generation."""
    told = become(SOURCE, SOURCE, SCRIPT.format(reads=count(20_000, 100_000)))

    assert told == {"torn": 0, "enough": True, "generations": True, "control": True}
