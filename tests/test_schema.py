"""Schemas: everything that is wrong with the configuration of any application is told at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr

from underway_runtime import Application
from underway_runtime.configuration.config import Values
from underway_runtime.configuration.provenance import Origins, Setting, leaves
from underway_runtime.configuration.schema import check
from underway_runtime.release.boot_script import Load, Start
from underway_runtime.release.errors import ConfigError


@dataclass
class Limits:
    rooms: int
    rate: float = 1.0


@dataclass
class Settings:
    port: int
    name: str | None = None
    colour: Literal["red", "blue"] = "red"
    hosts: list[str] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    limits: Limits = field(default_factory=lambda: Limits(1))
    pool: Limits | None = None
    login: str = field(default="", metadata={"secret": True})
    extra: Any = None
    size: Annotated[int, "bytes"] = 1

    def __post_init__(self) -> None:
        if self.port > 65535:
            raise ValueError(f"{self.port} is not a port")
        if self.login.startswith("no"):
            raise ValueError(f"{self.login} can't log in")


class Model(BaseModel):
    port: int = Field(gt=0)
    name: str = "x"
    login: SecretStr = SecretStr("")


@dataclass
class Account:
    pin: int = field(default=0, metadata={"secret": True})


@dataclass
class Deep:
    one: Account | None = None
    many: list[Account] = field(default_factory=list)
    web: Model | None = None
    more: list[Deep] = field(default_factory=list)


@dataclass
class Torn:
    port: Nowhere  # type: ignore[name-defined]  # noqa: F821


class Chat(Application):
    config_schema = Settings


@dataclass
class Strange:
    when: set[int] = field(default_factory=set)


CHAT = Load("chat", "1.0", config_schema=f"{__name__}:Settings")


def checked(values: Values, *loads: Load) -> tuple[Values, Origins]:
    """The configuration after the check, set by a file of which each value has its own line."""
    set_at = [Setting(path, value, f"config.py:{line}") for line, (path, value) in enumerate(leaves(values), 1)]
    origins = Origins(set_at)
    return check(
        values, origins, [*(loads or [CHAT]), *(Start(each.application, "permanent") for each in loads)]
    ), origins


def problems(values: Values, *loads: Load) -> list[str]:
    """What a check complains of."""
    with pytest.raises(ConfigError) as refused:
        checked(values, *loads)
    heading, *lines = str(refused.value).splitlines()
    assert heading == "the configuration is not what the applications ask for:"
    return [line.removeprefix("  - ").replace(f"{__name__}:", "") for line in lines]


def test_what_fits_passes_with_the_defaults_filled_in() -> None:
    """config.get answers the default of a schema, and it is known as that; what the node reads needs no field."""
    given: Values = {
        "chat": {"port": 1, "limits": {"rooms": 5, "rate": 2}, "pool": {"rooms": 2}, "listen": ["tcp://127.0.0.1:1"]},
        "other": {"x": 1},
    }

    values, origins = checked(given)

    assert values["chat"] == {
        "port": 1,
        "name": None,
        "colour": "red",
        "hosts": [],
        "weights": {},
        "limits": {"rooms": 5, "rate": 2},
        "pool": {"rooms": 2, "rate": 1.0},
        "login": "",
        "extra": None,
        "size": 1,
        "listen": ["tcp://127.0.0.1:1"],
    }
    assert values["other"] == {"x": 1}
    assert origins.where(("chat", "colour")) == f"the default of {__name__}:Settings"
    assert origins.is_secret(("chat", "login"))


def test_all_that_is_wrong_is_told_with_where_it_was_set() -> None:
    """Types, unknown keys with what was meant, missing keys; nested ones too; a secret's value is not shown."""
    values: Values = {
        "chat": {
            "prot": 1,
            "name": 5,
            "colour": "green",
            "hosts": ["a", 1],
            "weights": {"a": "x"},
            "limits": {"rooms": True, "raet": 1},
            "pool": 5,
            "login": 12345,
            "size": "1",
        }
    }

    assert problems(values) == [
        "chat.prot (config.py:1) is not in Settings; did you mean 'port'?",
        "chat.port is missing; Settings wants int",
        "chat.name is 5, int (config.py:2); Settings wants str or None",
        'chat.colour is "green", str (config.py:3); Settings wants one of "red", "blue"',
        "chat.hosts.1 is 1, int (config.py:4); Settings wants str",
        'chat.weights.a is "x", str (config.py:5); Settings wants float',
        "chat.limits.raet (config.py:7) is not in Settings; did you mean 'rate'?",
        "chat.limits.rooms is true, bool (config.py:6); Settings wants int",
        "chat.pool is 5, int (config.py:8); Settings wants Limits or None",
        "chat.login is int (config.py:9); Settings wants str",
        'chat.size is "1", str (config.py:10); Settings wants int',
    ]  # fmt: skip


def test_what_underway_itself_reads_is_checked_too() -> None:
    """All of it, without a schema of anybody; its defaults are not put in."""
    assert check({"underway_runtime": {"stop_timeout": 1}}, Origins(), []) == {"underway_runtime": {"stop_timeout": 1}}
    with pytest.raises(ConfigError) as caught:
        check(
            {"underway_runtime": {"address": [], "rpc": 0, "eval": "no", "control_group": 1, "strat_timeout": 5}},
            Origins(),
            [],
        )
    assert str(caught.value).splitlines()[1:] == [
        "  - underway_runtime.address is not in its schema",
        "  - underway_runtime.strat_timeout is not in its schema; did you mean 'start_timeout'?",
        "  - underway_runtime.rpc is 0, int; its schema wants bool",
        '  - underway_runtime.eval is "no", str; its schema wants bool',
        "  - underway_runtime.control_group is 1, int; its schema wants str or None",
    ]
    with pytest.raises(
        ConfigError, match=r"server is not in its schema; it belongs to an application: config\(NAME, s"
    ):
        check({"underway_runtime": {"server": {}}}, Origins(), [])
    with pytest.raises(
        ConfigError, match="a timeout is more than 0 seconds, and stop_timeout is 0, drain_timeout is -1"
    ):
        check({"underway_runtime": {"stop_timeout": 0, "drain_timeout": -1}}, Origins(), [])


def test_all_applications_are_told_at_once() -> None:
    """One start shows every mistake, whichever application made it, and a schema that is not there."""
    loads = [
        CHAT,
        Load("web", "1.0", config_schema=f"{__name__}:Model"),
        Load("gone", "1.0", config_schema="nowhere:X"),
        Load("odd", "1.0", config_schema="builtins:dict"),
        Load("torn", "1.0", config_schema=f"{__name__}:Torn"),
    ]

    found = problems({"chat": {}, "web": {"port": 0, "nmae": "y", "login": 5}}, *loads)

    assert found == [
        "chat.port is missing; Settings wants int",
        "web.nmae (config.py:3) is not in Model; did you mean 'name'?",
        "web.port is 0, int (config.py:2); Model wants Input should be greater than 0",
        "web.login is int (config.py:4); Model wants another value",
        "the schema of gone can't be loaded: BootError: there is no module 'nowhere', which 'nowhere:X' names",
        "the schema of odd, builtins:dict, is neither a dataclass nor a pydantic model",
        "the schema Torn of torn can't be used: NameError: name 'Nowhere' is not defined",
    ]


def test_a_pydantic_model_is_a_schema() -> None:
    """Its defaults are filled in where they are plain data, and a SecretStr is secret."""
    values, origins = checked({"web": {"port": 1}}, Load("web", "1.0", config_schema=f"{__name__}:Model"))

    assert values == {"web": {"port": 1, "name": "x"}}
    assert origins.is_secret(("web", "login"))


def test_a_schema_has_its_own_say() -> None:
    """What __post_init__ raises is told, unless it holds the value of a secret."""
    assert problems({"chat": {"port": 70000}}) == ["chat: Settings refuses it: ValueError: 70000 is not a port"]
    assert problems({"chat": {"port": 1, "login": "no:hunter2"}}) == ["chat: Settings refuses it: ValueError"]


def test_secrets_are_found_wherever_they_are() -> None:
    """In a dataclass within, and in a list, where the whole list is secret; a schema may hold itself."""
    _, origins = checked({"deep": {}}, Load("deep", "1.0", config_schema=f"{__name__}:Deep"))

    assert origins.secrets == {("deep", "one", "pin"), ("deep", "many"), ("deep", "web", "login")}


def test_an_application_class_names_its_schema() -> None:
    """Application.config_schema needs no option."""
    load = Load("chat", "1.0", start={"class": f"{__name__}:Chat"})

    assert problems({}, load) == ["chat.port is missing; Settings wants int"]
    assert check({}, Origins(), [load]) == {}, "one that does not start is not asked"


def test_a_class_that_can_not_be_imported_is_left_to_the_boot() -> None:
    """The boot is about to import it, and says all that is wrong with it."""
    assert checked({}, Load("chat", "1.0", start={"class": "nowhere:Chat"}))[0] == {}


def test_a_type_that_is_no_plain_data_is_told() -> None:
    """A schema that asks for what configuration can't hold is wrong itself."""
    [problem] = problems({"chat": {"when": [1]}}, Load("chat", "1.0", config_schema=f"{__name__}:Strange"))

    assert "set[int], which is not a type of plain data and can't be checked" in problem


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["rooms", "rate", "a"]), inner, max_size=2)
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*(f.name for f in dataclasses.fields(Settings)), "other"]), plain))
def test_any_configuration_fits_or_is_refused_by_key(values: dict[str, Any]) -> None:
    """Never a traceback: a configuration passes, and nothing of it is changed, or each complaint names a key."""
    complaints: list[str] = []
    after: Values = {"chat": values}
    try:
        after, _ = checked({"chat": values})
    except ConfigError as error:
        complaints = str(error).splitlines()[1:]

    assert all(line.startswith("  - chat") for line in complaints)
    assert {key: after["chat"][key] for key in values} == values
