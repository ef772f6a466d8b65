"""Configuration is plain data, merged deeply, from files and providers in order."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underway_runtime.node import config as configuration
from underway_runtime.node.config import Values, config, env, merge, not_plain
from underway_runtime.node.evaluation import evaluate
from underway_runtime.release.errors import ConfigError

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
values = st.dictionaries(st.sampled_from("xyz"), st.dictionaries(st.sampled_from("abc"), plain, max_size=3), max_size=3)


@pytest.fixture(autouse=True)
def nothing_configured() -> Iterator[None]:
    yield
    configuration.install({})


def file(root: Path, text: str) -> Path:
    (root / "config.py").write_text("from underway_runtime import config, env\n" + text)
    return root / "config.py"


@given(values, values)
def test_what_is_stated_last_wins_and_nothing_else_is_lost(a: Values, b: Values) -> None:
    """Every plain value of the later configuration is there, and every key of both."""
    before = json.dumps([a, b])
    merged = merge(a, b)

    assert json.dumps([a, b]) == before
    assert merged.keys() == a.keys() | b.keys()
    for app, keys in b.items():
        for key, value in keys.items():
            if not isinstance(value, dict):
                assert merged[app][key] == value


def test_a_file_states_and_an_application_reads(tmp_path: Path) -> None:
    """config(...) in a file, config.get(...) in the application."""
    stated = evaluate(file(tmp_path, "config('chat', port=1, limits={'a': 1})\nconfig('chat', limits={'b': 2})"), {})
    configuration.install(stated)

    assert config.get("chat", "port") == 1
    assert config.get("chat", "limits") == {"a": 1, "b": 2}
    assert config.get("chat", "colour", "red") == "red"
    with pytest.raises(ConfigError, match="'colour' of application 'chat' is not configured"):
        config.get("chat", "colour")


def test_configuration_is_stated_in_files_only() -> None:
    """An application that calls config(...) is told what to call."""
    with pytest.raises(ConfigError, match="only a configuration file may do"):
        config("chat", port=1)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("config('chat', port={1, 2})", "chat.port is {1, 2}, a set"),
        ("config('chat', a=[{'b': object}])", "chat.a[0].b is"),
        ("config('chat', a={1: 2})", "chat.a has the key 1"),
        ("config('chat', a=float('nan'))", "chat.a is nan"),
        ("env('MISSING')", "the environment variable MISSING is not set"),
        ("1 / 0", "ZeroDivisionError"),
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
    ],
)
def test_what_a_file_gets_wrong_is_named_with_its_line(tmp_path: Path, line: str, part: str) -> None:
    """A configuration error says the file, the line and what is wrong."""
    with pytest.raises(ConfigError) as refused:
        evaluate(file(tmp_path, "\n" + line), {})

    assert f"{tmp_path / 'config.py'}, line 3: " in str(refused.value)
    assert part in str(refused.value)


@pytest.mark.parametrize("text", ["def", "\0"], ids=["syntax", "null byte"])
def test_a_file_that_is_no_python_is_named(tmp_path: Path, text: str) -> None:
    """A file that can't be compiled is refused by name."""
    with pytest.raises(ConfigError, match=r"config.py can't be read"):
        evaluate(file(tmp_path, text), {})


def test_an_undeclared_variable_is_not_frozen_into_a_release(tmp_path: Path) -> None:
    """At build env() reads what build-env declares and refuses the rest, set or not."""
    environ = {"REGION": "eu", "HOME": "/home/me"}

    assert evaluate(file(tmp_path, "config('a', r=env('REGION'))"), environ, frozenset({"REGION"})) == {
        "a": {"r": "eu"}
    }
    with pytest.raises(ConfigError, match=r"would be frozen into the release.*build-env = \[\"HOME\"\]"):
        evaluate(file(tmp_path, "env('HOME', 'x')"), environ, frozenset({"REGION"}))


def test_env_outside_of_a_file_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """env() is usable anywhere, with a default."""
    monkeypatch.setitem(os.environ, "UNDERWAY_TEST", "1")

    assert (env("UNDERWAY_TEST"), env("UNDERWAY_TEST_NOT", "2")) == ("1", "2")


@given(st.recursive(plain | st.floats() | st.binary() | st.sets(st.integers()), lambda s: st.lists(s, max_size=2)))
def test_plain_data_is_what_json_gives_back(value: Any) -> None:
    """What is called plain survives a file unchanged; nothing else is called plain."""
    problems = not_plain(value, "it")
    try:
        survives = json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError):
        survives = False

    assert survives == (not problems)
