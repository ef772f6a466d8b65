"""The providers that ship with the runtime: what they read, where they say it came from, and what they refuse."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underway_runtime.configuration.config import Values
from underway_runtime.configuration.provenance import Origins, recording
from underway_runtime.providers import Environment, Json, Provider, PythonFile, Secrets, Toml
from underway_runtime.release.errors import ConfigError

PYTHON = """\
from underway_runtime import config
config("chat", port=8000, limits={"rooms": 5})
config("other", name="é")
"""


def loaded(provider: Provider, argument: Any, values: Values | None = None) -> tuple[Values, Origins]:
    """What a provider makes of an argument, from build to boot."""
    origins = Origins()
    token = recording.set(origins)
    try:
        return provider.load(values or {}, provider.init(argument)), origins
    finally:
        recording.reset(token)


def write(place: Path, **files: str) -> Path:
    """A directory with these files."""
    place.mkdir(exist_ok=True)
    for name, text in files.items():
        (place / name).write_text(text)
    return place


@pytest.mark.parametrize(
    ("provider", "text"),
    [
        (Toml(), '[chat]\nport = 8000\nlimits = { rooms = 5 }\n[other]\nname = "é"\n'),
        (Json(), '{"chat": {"port": 8000, "limits": {"rooms": 5}}, "other": {"name": "é"}}'),
        (PythonFile(), PYTHON),
    ],
)
def test_a_file_is_merged_over_what_is_there(tmp_path: Path, provider: Provider, text: str) -> None:
    """A table for each application; deep; each value is said to come from the file."""
    place = tmp_path / "given"
    place.write_text(text)

    values, origins = loaded(provider, str(place), {"chat": {"limits": {"users": 2}, "port": 1}})

    assert values == {"chat": {"port": 8000, "limits": {"users": 2, "rooms": 5}}, "other": {"name": "é"}}
    assert origins.where(("chat", "limits", "rooms")).startswith(str(place))


def test_a_path_may_begin_with_a_variable_and_be_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Mix's {:system, VAR, path}; what is optional may be missing, with the variable or without."""
    monkeypatch.setenv("CONFIG_DIR", str(write(tmp_path / "etc", **{"chat.toml": "[chat]\nport = 1"})))
    monkeypatch.delenv("NO_SUCH", raising=False)

    values, origins = loaded(Toml(), "$CONFIG_DIR/chat.toml")

    assert values == {"chat": {"port": 1}}
    assert list(origins.variables) == ["CONFIG_DIR"]
    assert loaded(Toml(), {"path": "${CONFIG_DIR}/other.toml", "optional": True})[0] == {}
    assert loaded(Toml(), {"path": "$NO_SUCH/chat.toml", "optional": True})[0] == {}
    with pytest.raises(ConfigError, match=r"NO_SUCH is not set, and \$NO_SUCH/chat.toml is to be read"):
        loaded(Toml(), "$NO_SUCH/chat.toml")
    with pytest.raises(ConfigError, match=r"there is no file .*other.toml; make it, or say optional = true"):
        loaded(Toml(), "$CONFIG_DIR/other.toml")


@pytest.mark.parametrize(
    ("provider", "text", "part"),
    [
        (Toml(), "[chat", r"given can't be read: Expected"),
        (Json(), "{", r"given can't be read: Expecting"),
        (Json(), "[" * 100_000, r"given can't be read: "),
        (Toml(), "port = 1", "must hold a table for each application"),
        (Json(), "[]", "must hold a table for each application"),
        (Toml(), "[chat]\nday = 2026-01-01", r"chat.day is datetime.date\(2026, 1, 1\), a date"),
        (Json(), '{"chat": {"a": NaN}}', "chat.a is nan"),
        (PythonFile(), "1 / 0", "given, line 1: ZeroDivisionError"),
    ],
)
def test_a_file_that_is_not_configuration_is_named(tmp_path: Path, provider: Provider, text: str, part: str) -> None:
    """What can't be read or is not plain data is told with the name of the file."""
    (tmp_path / "given").write_text(text)

    with pytest.raises(ConfigError, match=part):
        loaded(provider, str(tmp_path / "given"))


def test_variables_with_a_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """CHAT__LIMITS__ROOMS is limits.rooms of chat; JSON where it is JSON, text otherwise."""
    for name, text in {
        "CHAT__PORT": "8000",
        "CHAT__LIMITS__ROOMS": "5",
        "CHAT__LIMITS__RATE": "1.5",
        "CHAT__DEBUG": "true",
        "CHAT__NOTHING": "null",
        "CHAT__HOSTS": '["a", "b"]',
        "CHAT__NAME": "the chat",
        "CHAT__CODE": '"007"',
        "CHAT__DB__PASSWORD": "007",
        "CHAT__ODD": "NaN",
        "CHAT__EMPTY": "",
        "CHAT_PORT": "ignored",
        "CHATTER__PORT": "ignored",
    }.items():
        monkeypatch.setenv(name, text)

    values, origins = loaded(Environment(), "CHAT")

    assert values == {
        "chat": {
            "port": 8000,
            "limits": {"rooms": 5, "rate": 1.5},
            "debug": True,
            "nothing": None,
            "hosts": ["a", "b"],
            "name": "the chat",
            "code": "007",
            "db": {"password": "007"},
            "odd": "NaN",
            "empty": "",
        }
    }
    assert origins.where(("chat", "limits", "rooms")) == "$CHAT__LIMITS__ROOMS"
    assert "CHAT__PORT" in origins.variables
    assert loaded(Environment(), {"prefix": "CHAT", "application": "web"})[0]["web"]["port"] == 8000


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_text_of_a_variable_is_a_value(text: str) -> None:
    """Nothing that a variable may hold stops a boot, and what JSON does not say is the text itself."""
    os.environ["UNDERWAYTEST__X"] = text
    try:
        value = loaded(Environment(), "UNDERWAYTEST")[0]["underwaytest"]["x"]
    finally:
        del os.environ["UNDERWAYTEST__X"]

    assert value == text or not isinstance(value, str) or text.strip().startswith('"')


def test_variables_that_contradict_each_other_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value can't be inside another, and a name has to name a key."""
    for name in ("CHAT__A", "CHAT__A__B", "CHAT__", "CHAT____C"):
        monkeypatch.setenv(name, "1")

    with pytest.raises(ConfigError) as refused:
        loaded(Environment(), "CHAT")

    assert str(refused.value).splitlines()[1:] == [
        "  - $CHAT__ names no key; it is APPLICATION__KEY, or KEY where the application is given",
        "  - $CHAT__A__B and $CHAT__A can't both be set: one would be inside the other",
        "  - $CHAT____C names no key; it is APPLICATION__KEY, or KEY where the application is given",
    ]


def test_secrets_of_docker(tmp_path: Path) -> None:
    """A file each; text without its last newline; every one is secret."""
    place = write(tmp_path / "secrets", password="12345\n", tls__key="a\nb\n\n", **{".hidden": "x"})
    (place / "directory").mkdir()

    values, origins = loaded(Secrets(), {"path": str(place), "application": "chat"})

    assert values == {"chat": {"password": "12345", "tls": {"key": "a\nb\n"}}}
    assert origins.where(("chat", "password")) == str(place / "password")
    assert origins.is_secret(("chat", "tls", "key"))


def test_secrets_of_kubernetes_are_of_one_generation(tmp_path: Path) -> None:
    """Keys are links through ..data, which is swapped as a whole: what is read is what ..data was at one moment."""
    place = tmp_path / "mounted"
    old, new = place / "..2026_01", place / "..2026_02"
    place.mkdir()
    write(old, user="old", password="old")
    write(new, user="new", password="new")
    (place / "..data").symlink_to("..2026_02")
    for name in ("user", "password"):
        (place / name).symlink_to(f"..data/{name}")
    (place / "gone").symlink_to("..data/gone")

    values, origins = loaded(Secrets(), {"path": str(place), "application": "chat"})

    assert values == {"chat": {"user": "new", "password": "new"}}
    assert origins.where(("chat", "user")) == str(place / "user")


def test_credentials_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path it is $CREDENTIALS_DIRECTORY; without an application the name of the file says which."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(write(tmp_path / "c", chat__password="x")))

    values, origins = loaded(Secrets(), None)

    assert values == {"chat": {"password": "x"}}
    assert list(origins.variables) == ["CREDENTIALS_DIRECTORY"]


def test_no_secrets_where_none_are_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a release runs without them it boots; a path that was named must be there."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "none"))

    assert loaded(Secrets(), None)[0] == {}
    assert loaded(Secrets(), {"path": str(tmp_path / "none"), "optional": True})[0] == {}
    with pytest.raises(ConfigError, match="there is no directory"):
        loaded(Secrets(), str(tmp_path / "none"))


def test_secrets_that_can_not_be_read_are_listed_without_their_text(tmp_path: Path) -> None:
    """All at once, by file."""
    place = write(tmp_path / "secrets", large="x" * (1024 * 1024 + 1))
    (place / "binary").write_bytes(b"hunter2\xff")
    (place / "loop").symlink_to("loop")

    with pytest.raises(ConfigError) as refused:
        loaded(Secrets(), {"path": str(place), "application": "chat"})

    assert str(refused.value).splitlines()[1:] == [
        f"  - {place}/binary: it is not text in UTF-8",
        f"  - {place}/large: it is larger than 1 MiB",
        f"  - {place}/loop: Too many levels of symbolic links",
    ]


@pytest.mark.parametrize(
    ("provider", "argument", "part"),
    [
        (Toml(), None, "not None"),
        (Toml(), {"optional": True}, "the path of a file"),
        (Toml(), {"path": "x", "optinal": True}, "a table of path, optional"),
        (Toml(), {"path": "x", "optional": "yes"}, "optional = 'yes'"),
        (Environment(), None, "not None"),
        (Environment(), "", "prefix = ''"),
        (Environment(), {"application": "chat"}, "is a prefix"),
        (Secrets(), ["x"], "not \\['x'\\]"),
        (Secrets(), {"path": 1}, "path = 1"),
    ],
)
def test_a_wrong_argument_is_refused_at_build(provider: Provider, argument: Any, part: str) -> None:
    """init looks at the argument, so that a release with a wrong one is never made."""
    with pytest.raises(ConfigError, match=part):
        provider.init(argument)
