"""High-level instructions become low-level ones by OTP's rules; what does not fit is told, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from underway.errors import BuildError
from underway.planner.script import Code, translate
from underway_runtime import appup as a
from underway_runtime.release import instructions as i

MODULES = ("m.a", "m.b", "m.c")
CODE = Code(
    loads={name: i.Load(name, "m", code_change=("",)) for name in MODULES},
    removes={"m.gone": i.Remove("m.gone")},
    applications={**dict.fromkeys((*MODULES, "m.gone"), "m"), "n.a": "n"},
    versions={"m": "2", "n": "1"},
    modules={"m": MODULES, "old": ("old", "old.b")},
)
DOWN = replace(CODE, up=False)


def short_steps(steps: Sequence[a.Step], code: Code = CODE) -> list[str]:
    """The instructions after the point of no return, in short."""
    made = translate([("m", steps)], code)
    assert made.count(i.PointOfNoReturn()) == 1
    return [short(each) for each in made[made.index(i.PointOfNoReturn()) + 1 :]]


def short(each: i.Instruction) -> str:
    match each:
        case i.Suspend(modules):
            return f"suspend {' '.join(name for name, _ in modules)}"
        case i.CodeChange(direction, modules):
            return f"code_change {direction} {' '.join(name for name, _ in modules)}"
        case i.Load(module) | i.Remove(module):
            return f"{type(each).__name__.lower()} {module}"
        case i.Resume(modules) | i.Purge(modules) | i.Stop(modules) | i.Start(modules):
            return f"{type(each).__name__.lower()} {' '.join(modules)}"
    return type(each).__name__


def test_on_the_way_up_who_depends_is_suspended_first_and_loaded_last() -> None:
    """And resumed in reverse; code_change comes when all is loaded."""
    steps: list[a.Step] = [a.Update("m.a", a.Advanced(), ["m.b"]), a.Update("m.b"), a.LoadModule("m.c")]

    assert short_steps(steps) == [
        *("suspend m.a m.b", "load m.b", "load m.a", "code_change up m.a", "resume m.b m.a", "load m.c")
    ]


def test_on_the_way_down_state_goes_first_unless_it_is_static() -> None:
    """The newer code_change runs while the newer code is there."""
    steps = [a.Update("m.a", a.Advanced(), ["m.b"]), a.Update("m.b", a.Advanced(), static=True)]

    assert short_steps(steps, DOWN) == [
        *("suspend m.a m.b", "code_change down m.a", "load m.a", "load m.b", "code_change down m.b", "resume m.b m.a")
    ]


def test_modules_that_need_each_other_keep_the_order_of_the_appup() -> None:
    """A cycle is not an error."""
    steps = [a.LoadModule("m.b", ["m.a"]), a.LoadModule("m.a", ["m.b"])]

    assert short_steps(steps) == ["load m.a", "load m.b"]


def test_modules_and_applications_come_and_go() -> None:
    """What is removed is purged; an application is loaded, then started; one that goes is stopped first, unloaded last."""
    assert short_steps([a.AddModule("m.a"), a.DeleteModule("m.gone")]) == ["load m.a", "remove m.gone", "purge m.gone"]
    assert short_steps([a.AddApplication("n"), a.AddApplication("x", "load"), a.AddApplication("y", "none")]) == [
        *("ApplicationLoad", "ApplicationStart", "ApplicationLoad")
    ]
    assert short_steps([a.RemoveApplication("old")]) == [
        *("ApplicationStop", "remove old", "remove old.b", "purge old old.b", "ApplicationUnload")
    ]


def test_what_is_loaded_is_read_before_the_point_of_no_return_once_for_each_application() -> None:
    """So is what an appup applies before it; everything else comes after."""
    first: list[a.Step] = [a.Apply("m.a", "check"), a.PointOfNoReturn(), a.LoadModule("m.a")]
    made = translate([("m", first), ("n", [a.LoadModule("m.b"), a.Apply("m.a", "done")])], CODE)

    assert [short(each) for each in made] == [
        *("LoadObjectCode", "Apply", "PointOfNoReturn", "load m.a", "load m.b", "Apply")
    ]
    assert made[0] == i.LoadObjectCode("m", "2", ("m.a", "m.b"))


@pytest.mark.parametrize(
    ("steps", "up", "expected"),
    [
        ([a.RestartNewEmulator(), a.LoadModule("m.a")], True, ["RestartNewEmulator", "LoadObjectCode"]),
        ([a.RestartNewEmulator(), a.LoadModule("m.a")], False, ["LoadObjectCode", "RestartEmulator"]),
        ([a.RestartEmulator(), a.LoadModule("m.a")], True, ["LoadObjectCode", "RestartEmulator"]),
    ],
    ids=["new, up", "new, down", "the same"],
)
def test_a_restart_has_its_place(steps: list[a.Step], up: bool, expected: list[str]) -> None:
    """With a new interpreter it comes first on the way up, and is an ordinary one at the end on the way down."""
    made = [short(each) for each in translate([("m", steps)], replace(CODE, up=up))]

    assert [each for each in made if each in ("RestartNewEmulator", "RestartEmulator", "LoadObjectCode")] == expected
    assert made[0 if expected[0] == "RestartNewEmulator" else -1] == next(e for e in expected if "Restart" in e)


@pytest.mark.parametrize(
    ("steps", "problems"),
    [
        ([a.LoadModule("m.a"), a.Update("m.a")], ["m.a has 2 instructions; a module has one"]),
        ([a.Update("m.a", deps=["m.x"])], ["m.a depends on m.x, which no instruction is for"]),
        ([a.Update("m.x"), a.DeleteModule("m.a")], ["update m.x: there is no such module", "delete_module m.a"]),
        ([a.PointOfNoReturn(), a.PointOfNoReturn()], ["there are 2 points of no return"]),
        ([a.LoadModule("m.a"), a.PointOfNoReturn()], ["load_module is before the point of no return"]),
        ([i.Load("m.x", "m")], ["load of m.x, which is not read before"]),
        ([a.LoadObjectCode("m", "3", ("m.a",))], ["load_object_code of m 3; there will be 2"]),
        ([a.Suspend((("m.a", "default"),))], ["m.a is never resumed"]),
        ([a.Resume(("m.a",))], ["m.a is resumed without having been suspended"]),
        ([a.Stop(("m.a",)), a.Start(("m.b",))], ["m.b is started again without", "m.a is never started again"]),
    ],
    ids=lambda value: value[0].partition(";")[0] if isinstance(value[0], str) else "",
)
def test_what_does_not_fit_is_told(steps: list[a.Step], problems: list[str]) -> None:
    """Every problem is named, with the module or the application that it is about."""
    with pytest.raises(BuildError) as raised:
        translate([("m", steps)], CODE)

    assert all(problem in str(raised.value) for problem in problems), raised.value


def test_an_advanced_update_needs_something_that_carries_state_over() -> None:
    """Where nothing defines code_change there is nothing to call."""
    code = replace(CODE, loads={"m.a": i.Load("m.a", "m")})

    with pytest.raises(BuildError, match=r"update m\.a: nothing in it defines code_change"):
        translate([("m", [a.Update("m.a", a.Advanced())])], code)
