"""The pipeline holds every step to the contract of a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from underway import steps
from underway.errors import ProjectError, StepError
from underway.release import BuildContext, Release, Step
from underway.steps import ASSEMBLE, TAR

Pipeline = Callable[..., Release]


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(
        name="chat",
        version="0.1.0",
        path=tmp_path / "chat",
        version_path=tmp_path / "chat/releases/0.1.0",
        applications={},
        interpreter_source=None,
        interpreter_version="3.11.2",
        boot_scripts={"start": ()},
    )


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the built-in steps that ran; they make nothing here, so the contract alone is looked at."""
    names: list[str] = []

    def built_in(name: str) -> Step:
        def step(release: Release) -> Release:
            names.append(name)
            return release

        return step

    monkeypatch.setattr(steps, "_BUILT_IN", {ASSEMBLE: built_in("assemble"), TAR: built_in("tar")})

    def seal(release: Release) -> Any:
        names.append("seal")

    monkeypatch.setattr(steps, "run", partial(steps.run, seal=seal))
    return names


def run(release: Release, names: list[str], **custom: Any) -> Release:
    def resolve(name: str) -> Step:
        if name not in custom:
            raise ProjectError(f"there is no {name!r}")
        found: Step = custom[name]
        return found

    return steps.run(replace(release, steps=tuple(names)), resolve)


def test_steps_run_in_their_order_and_the_manifest_is_sealed_before_tar(release: Release, ran: list[str]) -> None:
    """assemble, then what the user wants, then the manifest, then the archive."""

    def mine(release: Release) -> Release:
        ran.append("mine")
        return replace(release, overlays=("a",))

    done = run(release, [ASSEMBLE, "mine", TAR], mine=mine)

    assert ran == ["assemble", "mine", "seal", "tar", "seal"]
    assert done.overlays == ("a",)


def test_a_step_may_change_the_steps_that_follow(release: Release, ran: list[str]) -> None:
    """A step finds itself taken from the list and may add to it or take from it."""
    seen = []

    def first(release: Release) -> Release:
        seen.append(release.steps)
        return replace(release, steps=(*release.steps, "last"))

    def last(release: Release) -> Release:
        ran.append("last")
        return release

    run(release, ["first", ASSEMBLE], first=first, last=last)

    assert seen == [(ASSEMBLE,)]
    assert ran == ["assemble", "last", "seal"]


@pytest.mark.parametrize(
    ("names", "part"),
    [
        ([TAR], "there is no 'underway.steps:assemble'"),
        ([ASSEMBLE, ASSEMBLE], "is listed 2 times; list it exactly once"),
        ([TAR, ASSEMBLE], "is before 'underway.steps:assemble'"),
        ([ASSEMBLE, TAR, TAR], "list it at most once"),
        (["my:missing", ASSEMBLE], "there is no 'my:missing'"),
        (["my:assemble", TAR], "did you mean 'underway.steps:assemble'?"),
    ],
    ids=["no assemble", "two assembles", "tar first", "two tars", "unknown", "nearly"],
)
def test_steps_that_make_no_release_are_refused_before_any_runs(
    release: Release, ran: list[str], names: list[str], part: str
) -> None:
    """The order of the steps is checked before anything is written."""
    with pytest.raises(StepError) as refused:
        run(release, names)

    assert part in str(refused.value)
    assert ran == []


def test_a_step_that_spoils_what_follows_is_refused(release: Release, ran: list[str]) -> None:
    """What a step puts into the list is checked like the list itself."""
    with pytest.raises(StepError, match="is listed again"):
        run(release, [ASSEMBLE, "again"], again=lambda r: replace(r, steps=(ASSEMBLE,)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "other"),
        ("version", "9"),
        ("path", Path("/elsewhere")),
        ("version_path", Path("/elsewhere")),
        ("applications", {"x": None}),
        ("interpreter_source", Path("/usr/bin/python3")),
        ("interpreter_version", "9.9"),
        ("context", BuildContext(target="riscv64-linux-gnu")),
    ],
)
def test_a_read_only_field_is_refused_by_name(release: Release, ran: list[str], field: str, value: Any) -> None:
    """A step reads what the release is; it can't make it another."""
    with pytest.raises(StepError, match=rf"'mine'.*\n.*{field} was changed"):
        run(release, ["mine", ASSEMBLE], mine=lambda r: replace(r, **{field: value}))


def test_what_a_step_has_made_is_shown_up_to_a_bound(release: Release, ran: list[str]) -> None:
    """Of a mapping the keys that differ, of any other value its beginning, of what it raises some lines."""
    many = {f"library{number}": None for number in range(1_000)}

    def raises(release: Release) -> Release:
        raise ValueError("a line\n" * 9_000)

    for step in (
        lambda r: replace(r, applications={**r.applications, **many}),
        lambda r: replace(r, version="9" * 90_000),
        lambda r: replace(r, overlays=["a"] * 9_000),
        lambda r: replace(r, options={"quiet": "x" * 90_000}),
        raises,
    ):
        with pytest.raises(StepError, match="'mine'") as refused:
            run(release, ["mine", ASSEMBLE], mine=step)
        assert len(str(refused.value)) < 2_000
    with pytest.raises(
        StepError, match=r"applications was changed at 'library0', 'library1', .*, 995 more; a step may"
    ):
        run(release, ["mine", ASSEMBLE], mine=lambda r: replace(r, applications={**r.applications, **many}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("boot_scripts", {"start": [("chat", "permanent")]}),
        ("boot_scripts", {"start": (("chat", "always"),)}),
        ("config_providers", (("a:B",),)),
        ("options", None),
        ("overlays", ["a"]),
        ("overlays", (Path("a"),)),
        ("steps", [ASSEMBLE]),
        ("steps", (lambda r: r, ASSEMBLE)),
    ],
)
def test_a_field_of_another_type_is_refused_by_name(release: Release, ran: list[str], field: str, value: Any) -> None:
    """What a step may change keeps its type."""
    with pytest.raises(StepError, match=rf"'mine'.*\n.*{field} must be"):
        run(release, ["mine", ASSEMBLE], mine=lambda r: replace(r, **{field: value}))


def test_options_that_a_step_gives_are_checked_and_typed(release: Release, ran: list[str]) -> None:
    """A step may put any mapping in the place of the options: what follows sees it by name and by attribute, its own too."""
    seen: list[Release] = []

    def mine(release: Release) -> Any:
        return replace(release, options={**release.options, "config-path": False, "colour": "red"})  # type: ignore[arg-type]

    def theirs(release: Release) -> Release:
        seen.append(release)
        return release

    run(release, ["mine", "theirs", ASSEMBLE], mine=mine, theirs=theirs)

    assert (seen[0].options.config_path, seen[0].options["colour"]) == (False, "red")
    with pytest.raises(StepError, match=r"'mine'.*\n.*strip is 'yes'; it must be true"):
        run(release, ["mine", ASSEMBLE], mine=lambda r: replace(r, options=replace(r.options, strip="yes")))


def test_a_step_that_returns_something_else_is_refused(release: Release, ran: list[str]) -> None:
    """A forgotten return is told by the step's name."""
    with pytest.raises(StepError, match="'mine' returned NoneType"):
        run(release, ["mine", ASSEMBLE], mine=lambda r: None)


def test_a_step_that_raises_is_named_with_its_place(release: Release, ran: list[str]) -> None:
    """What a custom step raises comes as one sentence with the file and line."""

    def mine(release: Release) -> Release:
        raise ValueError("no colour")

    with pytest.raises(StepError, match=r"'mine' raised ValueError: no colour \(test_steps.py, line \d+\)"):
        run(release, ["mine", ASSEMBLE], mine=mine)
