"""Configuration is plain data, merged deeply, from files and providers in order."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underway_runtime.configuration import config as configuration
from underway_runtime.configuration.config import Values, config, env, lookup, merge, not_plain
from underway_runtime.configuration.config_file import evaluate
from underway_runtime.configuration.provenance import leaves
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


def as_elixir(left: list[tuple[str, Any]], right: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Keyword.merge(left, right, &deep_merge/3) of Elixir's Config.__merge__, where keyword lists are lists of pairs."""
    of_right = dict(right)
    kept = [(key, value) for key, value in left if key not in of_right]
    merged = []
    for key, value in right:
        both = [each for name, each in left if name == key]
        deep = both and isinstance(both[0], tuple) and isinstance(value, tuple)
        merged.append((key, tuple(as_elixir(list(both[0]), list(value))) if deep else value))
    return kept + merged


def keywords(value: Any) -> Any:
    """A mapping as a keyword list: a tuple of pairs, so that it is not a list."""
    return tuple((k, keywords(v)) for k, v in value.items()) if isinstance(value, dict) else value


def mappings(value: Any) -> Any:
    return {k: mappings(v) for k, v in value} if isinstance(value, tuple) else value


@given(values, values)
def test_mappings_merge_as_the_keyword_lists_of_elixir(a: Values, b: Values) -> None:
    """The same result as Elixir's own rule, and neither side is changed."""
    before = json.dumps([a, b])

    assert merge(a, b) == mappings(tuple(as_elixir(list(keywords(a)), list(keywords(b)))))
    assert json.dumps([a, b]) == before


@given(values, values)
def test_what_is_stated_last_wins_and_nothing_else_is_lost(a: Values, b: Values) -> None:
    """Every value of the later one is there, save that an empty mapping empties nothing, and every key of both."""
    merged = merge(a, b)

    assert merged.keys() == a.keys() | b.keys()
    for path, value in leaves(b):
        now = lookup(merged, path)
        assert now == value or (value == {} and isinstance(now, dict))


@given(values, values)
def test_nothing_is_neutral_and_once_is_as_good_as_twice(a: Values, b: Values) -> None:
    """What states nothing changes nothing, and to state the same again changes nothing either."""
    assert merge(a, {}) == merge({}, a) == merge(a, a) == a
    assert merge(merge(a, b), b) == merge(a, b)


@given(st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from("ab"), st.sampled_from("cd"), st.integers())))
def test_layers_may_be_merged_in_any_grouping(statements: list[tuple[str, str, str, int]]) -> None:
    """While a key stays a mapping, or stays none, only the order of the layers matters."""
    layers: list[Values] = [{app: {key: {inner: value}}} for app, key, inner, value in statements]
    nothing: Values = {}
    from_left = reduce(merge, layers, nothing)
    from_right: Values = {}
    for layer in reversed(layers):
        from_right = merge(layer, from_right)

    assert from_left == from_right


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


@pytest.mark.parametrize(
    "line",
    [
        "os.environ['HOME']",
        "os.environ.get('HOME', 'x')",
        "os.environ.get('NO_SUCH')",
        "'HOME' in os.environ",
        "os.getenv('HOME')",
        "os.environb[b'HOME']",
        "os.getenvb(b'HOME')",
        "os.path.expandvars('$HOME')",
        "__import__('pathlib').Path.home()",
        "(lambda: os.environ.pop('HOME'))()",
        "from os import environ; environ.setdefault('HOME', 'x')",
    ],
)
def test_no_way_around_the_declaration(tmp_path: Path, line: str) -> None:
    """A file that reads a variable without env() reads it all the same."""
    with pytest.raises(ConfigError, match=r"config.py, line 2: the environment variable \w+ would be frozen"):
        evaluate(file(tmp_path, f"import os; {line}"), dict(os.environ), frozenset({"REGION"}))


def test_a_module_that_the_file_calls_is_held_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the release that is frozen, whoever reads for it; afterwards the module may read what it likes."""
    (tmp_path / "underway_test_helper.py").write_text(
        "from os import environ\ndef home():\n    return environ.get('HOME')\ndef region():\n    return environ['REGION']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("REGION", "eu")
    monkeypatch.setenv("HOME", "/home/me")
    read = "import underway_test_helper as h\nconfig('a', r=h.region(), h=h.home())"

    with pytest.raises(ConfigError, match=r"config.py, line 3: the environment variable HOME would be frozen"):
        evaluate(file(tmp_path, read), os.environ, frozenset({"REGION"}))

    assert __import__("underway_test_helper").home() == "/home/me"


def test_what_is_declared_can_be_read_in_every_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """os.environ holds what is declared and what the file itself sets; programs get the whole environment."""
    monkeypatch.setenv("REGION", "eu")
    monkeypatch.setenv("OTHER", "x")
    monkeypatch.delenv("OWN", raising=False)
    before = os.environ, os.environb
    text = """import os, subprocess
os.environ['OWN'] = 'set'
config('a', all=sorted(os.environ), copy=sorted(os.environ.copy()), n=len(os.environ), own=os.environ['OWN'])
config('a', both=sorted(os.environ | {'B': '1'}), region=os.getenv('REGION'))
config('a', child=subprocess.run(['sh', '-c', 'echo $OTHER $OWN'], capture_output=True, text=True).stdout)
del os.environ['OWN']
"""
    stated = evaluate(file(tmp_path, text), os.environ, frozenset({"REGION"}))["a"]

    assert stated == {
        "all": ["OWN", "REGION"],
        "copy": ["OWN", "REGION"],
        "n": 2,
        "own": "set",
        "both": ["B", "OWN", "REGION"],
        "region": "eu",
        "child": "x set\n",
    }
    assert (os.environ, os.environb) == before


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
