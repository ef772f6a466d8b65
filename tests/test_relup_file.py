"""Plain values, instructions and relups: what is written is read."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underway_runtime.release import instructions as i
from underway_runtime.release import manifest, plain_values, relup
from underway_runtime.release.errors import DamagedRelease
from underway_runtime.release.instruction_json import from_json, to_json

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=1 << 70)
    | st.floats()
    | st.complex_numbers()
    | st.text(st.characters())
    | st.binary()
    | st.just(...)
)
hashables = st.recursive(
    scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5
)
values = st.recursive(
    hashables,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.sets(hashables, max_size=3)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.dictionaries(st.text() | st.just("$tuple"), inner, max_size=3)
    ),
    max_leaves=10,
)


def shown(value: Any) -> str:
    """A value with its types, in which equal sets and equal NaNs are equal."""
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}{sorted(map(shown, value))}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}{[shown(item) for item in value]}"
    if isinstance(value, dict):
        return f"dict{[(shown(key), shown(item)) for key, item in value.items()]}"
    return repr(value)


@given(values)
def test_a_plain_value_comes_back_with_its_types(value: Any) -> None:
    """Through the text of JSON; order of dictionaries, signs of zero and lone surrogates are kept."""
    assert shown(plain_values.decode(json.loads(json.dumps(plain_values.encode(value))))) == shown(value)


@pytest.mark.parametrize("value", [object(), int, len, {"a": [object()]}, type("Own", (int,), {})(1)])
def test_what_is_not_plain_is_refused(value: object) -> None:
    """Objects with an identity, functions and subclasses of plain types are not plain."""
    assert not plain_values.is_plain(value)


def test_what_holds_itself_is_not_plain() -> None:
    """It is refused, not followed for ever."""
    endless: list[Any] = []
    endless.append(endless)

    assert not plain_values.is_plain(endless)


names = st.text(min_size=1, max_size=5)
tuples = st.lists(names, max_size=3).map(tuple)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
guards = st.lists(st.builds(i.Guard, st.sampled_from(i.GUARDS), names), max_size=3).map(tuple)
purges = st.sampled_from(["soft", "brutal"])
loads = st.builds(
    i.Load,
    module=names,
    application=names,
    pre=purges,
    post=purges,
    fragment=st.none() | st.binary(),
    changed=st.dictionaries(names, st.builds(i.Changed, digests, digests, st.booleans()), max_size=3),
    refreshed=tuples,
    added=tuples,
    removed=tuples,
    replaced=tuples,
    values=st.dictionaries(names, hashables, max_size=3),
    rebind=st.dictionaries(names, st.tuples(names, names), max_size=3),
    imports=tuples,
    code_change=tuples,
    given=st.dictionaries(names, st.dictionaries(names, values, max_size=2), max_size=2),
    taken=st.dictionaries(names, tuples, max_size=2),
    caches=tuples,
    guards=guards,
    touches=st.lists(st.tuples(names, names), max_size=2).map(tuple),
    seen=st.booleans(),
)
timeouts = st.sampled_from(["default", "infinity"]) | st.floats(0, 1e9)
anything = st.one_of(
    loads,
    st.builds(i.LoadObjectCode, names, names, tuples),
    st.builds(i.Remove, names, purges, purges, guards),
    *(st.builds(kind, tuples) for kind in (i.Purge, i.Resume, i.Stop, i.Start)),
    st.builds(i.Suspend, st.lists(st.tuples(names, timeouts), max_size=3).map(tuple)),
    st.builds(
        i.CodeChange, st.sampled_from(["up", "down"]), st.lists(st.tuples(names, hashables), max_size=3).map(tuple)
    ),
    st.builds(i.SyncNodes, names, tuples, st.none() | names),
    st.builds(i.Apply, names, names, st.lists(values, max_size=3).map(tuple)),
    st.builds(i.ApplicationStart, names, st.sampled_from(["permanent", "transient", "temporary"])),
    *(st.builds(kind, names) for kind in (i.ApplicationLoad, i.ApplicationStop, i.ApplicationUnload)),
    *(st.builds(kind) for kind in (i.PointOfNoReturn, i.RestartEmulator, i.RestartNewEmulator)),
)
rows = st.builds(
    relup.Row, names, names, names, st.sampled_from(relup.VERDICTS), st.text(), names, st.integers(min_value=0)
)
entries = st.builds(
    relup.RelupEntry,
    names,
    digests,
    st.text(),
    st.sampled_from(relup.VERDICTS),
    st.lists(rows, max_size=3).map(tuple),
    st.lists(anything, max_size=4).map(tuple),
)
relups = st.builds(
    relup.Relup,
    names,
    names,
    digests,
    names,
    names,
    st.lists(entries, max_size=2).map(tuple),
    st.lists(entries, max_size=2).map(tuple),
)


def in_words(instruction: i.Instruction) -> str:
    return f"{type(instruction).__name__} {[shown(getattr(instruction, field.name)) for field in fields(instruction)]}"


@given(anything)
def test_an_instruction_is_read_as_it_was_written(instruction: i.Instruction) -> None:
    """Each kind, with whatever is in it, through the text of JSON."""
    document = json.loads(json.dumps(to_json(instruction)))

    assert in_words(from_json(document)) == in_words(instruction)


@given(relups)
def test_a_relup_is_read_as_it_was_written(value: relup.Relup) -> None:
    """And the same relup gives the same text."""
    text = relup.dump(value)
    read = relup.parse(text)

    assert relup.dump(read) == text
    assert replace(read, up=(), down=()) == replace(value, up=(), down=())


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "an instruction is an object"),
        ({"frobnicate": 1}, "unknown instruction 'frobnicate'"),
        ({"purge": "chat"}, "'chat' is not a list"),
        ({"remove": "chat", "pre": "soft"}, "look at 'post', 'guards'"),
        ({"remove": "chat", "pre": "hard", "post": "soft", "guards": []}, "'hard' is none of soft, brutal"),
        ({"remove": "chat", "pre": "soft", "post": "soft", "guards": [{"no_rain": "x"}]}, "no guard 'no_rain'"),
        ({"suspend": [{"module": "chat", "timeout": -1}]}, "-1 is not a time to wait"),
        ({"resume": [], "extra": 1}, "look at 'extra'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_instruction_is_refused(document: Any, said: str) -> None:
    """The message says which one it is and what is wrong."""
    with pytest.raises(ValueError, match=said):
        from_json(document)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ("[]", "it is not an object"),
        ('{"format": 2}', "its format is 2; this runtime reads format 1"),
        ('{"format": 1}', "name is missing; .*target_id is missing"),
        ('{"format": 1, "name": 3}', "name is 3; it must be str"),
    ],
)
def test_a_damaged_relup_is_named(tmp_path: Path, text: str, said: str) -> None:
    """The error names the file, and what is wrong with it."""
    (tmp_path / "relup").write_text(text)

    with pytest.raises(DamagedRelease, match=rf"relup is not a relup: .*{said}"):
        relup.read(tmp_path / "relup")


def test_a_missing_relup_is_named(tmp_path: Path) -> None:
    """The error says what makes one."""
    with pytest.raises(DamagedRelease, match=r"there is no .*relup; `underway relup` makes one"):
        relup.read(tmp_path / "relup")


def test_a_relup_does_not_change_what_its_release_is_known_by() -> None:
    """The id of a release without its relup is the one that it had before it got it."""
    files = {"lib/chat-1/chat.py": manifest.ManifestEntry("a" * 64, 1)}
    bare = manifest.Manifest("chat", "2", "any", "3.11.7", files)
    holding = replace(bare, files={**files, "releases/2/relup": manifest.ManifestEntry("b" * 64, 1)})

    assert manifest.plan_id(holding) == manifest.plan_id(bare) == bare.release_id != holding.release_id
