"""The configuration of a boot: providers in order, what they get wrong, and what the build insists on."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underway_runtime.configuration import build_time
from underway_runtime.configuration import config as configuration
from underway_runtime.configuration.config import Values, config, merge
from underway_runtime.configuration.provenance import Origins, Setting, leaves, note
from underway_runtime.configuration.resolution import SysConfig, load, resolve
from underway_runtime.release.errors import ConfigError, DamagedRelease


@pytest.fixture(autouse=True)
def nothing_configured() -> Iterator[None]:
    yield
    configuration.install({}, "prod")
    config._asked = None


class Recorder:
    """A provider that says in the configuration that it ran, and after whom."""

    def init(self, argument: Any) -> Any:
        return argument

    def load(self, values: Values, argument: Any) -> Values:
        ran = values.get("order", {}).get("ran", [])
        return merge(values, {"order": {"ran": [*ran, argument]}})


class Broken(Recorder):
    def load(self, values: Values, argument: Any) -> Values:
        returned: dict[str, Any] = {"list": [], "flat": {"a": 1}, "set": {"a": {"b": {1}}}, "key": {"a": {"key": {1}}}}
        if argument == "raise":
            raise OSError("vault is down")
        if argument == "exit":
            raise SystemExit("enough")
        if argument == "hang":
            threading.Event().wait()
        result: Values = returned[argument]
        return result


def sys_config(root: Path, **document: Any) -> Path:
    (root / "sys.config").write_text(json.dumps({"format": 1, "config": {}, **document}))
    return root / "sys.config"


def test_providers_load_in_their_order(tmp_path: Path) -> None:
    """Each provider sees what those before it loaded."""
    name = f"{__name__}:Recorder"

    resolved = load(sys_config(tmp_path, providers=[[name, "a"], [name, "b"]]))

    assert resolved.values == {"order": {"ran": ["a", "b"]}}
    assert resolved.origins.where(("order", "ran")) == name


@pytest.mark.parametrize(
    ("reference", "argument", "part"),
    [
        (f"{__name__}:Broken", "raise", "Broken failed: OSError: vault is down"),
        (f"{__name__}:Broken", "exit", "Broken called sys.exit(enough)"),
        (f"{__name__}:Broken", "list", "returned list, no configuration"),
        (f"{__name__}:Broken", "flat", "returned dict, no configuration"),
        (f"{__name__}:Broken", "key", "a.key is a set; use"),
        (f"{__name__}:Broken", "set", "a.b is {1}"),
        ("nowhere:Provider", None, "there is no configuration provider 'nowhere:Provider'"),
        (f"{__name__}:values", None, "there is no configuration provider"),
        ("builtins:dict", None, "it lacks init and load"),
    ],
)
def test_a_provider_that_fails_stops_the_boot_by_name(tmp_path: Path, reference: str, argument: Any, part: str) -> None:
    """What a provider raises or returns is told with its name."""
    with pytest.raises(ConfigError) as refused:
        load(sys_config(tmp_path, providers=[[reference, argument]]))

    assert part in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        '{"format": 9, "config": {}}',
        '{"format": 1}',
        '{"format": 1, "config": []}',
        '{"format": 1, "config": {}, "providers": [1]}',
        '{"format": 1, "config": {}, "flags": []}',
        '{"format": 1, "config": {}, "origins": {}}',
        '{"format": 1, "config": {}, "compile_env": [[1]]}',
    ],
)
def test_a_damaged_sys_config_is_named(tmp_path: Path, text: str | None) -> None:
    """A missing, cut or foreign sys.config is one clear error."""
    if text is not None:
        (tmp_path / "sys.config").write_text(text)
    with pytest.raises(DamagedRelease, match=r"sys\.config"):
        load(tmp_path / "sys.config")


@given(st.data())
def test_a_sys_config_that_is_cut_anywhere_is_one_clear_error(data: st.DataObject) -> None:
    """No beginning of a sys.config is taken for the whole, and none ends in a traceback."""
    import tempfile

    text = json.dumps({"format": 1, "config": {"chat": {"port": 1, "name": "é"}}, "providers": [["a:B", 1]]})
    cut = data.draw(st.integers(0, len(text) - 1))
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "sys.config").write_text(text[:cut])
        with pytest.raises(DamagedRelease, match=r"sys\.config can't be read.*restore it from the archive"):
            load(Path(place) / "sys.config")


def test_a_provider_that_hangs_is_given_up(tmp_path: Path) -> None:
    """The start timeout bounds a provider too; the error says where it hangs and what gives it more time."""
    short = {"underway_runtime": {"start_timeout": 0.05}}

    with pytest.raises(
        ConfigError, match=r"Broken has not returned within 0\.05 s, and is in .*line \d+; start_timeout of"
    ):
        load(sys_config(tmp_path, config=short, providers=[[f"{__name__}:Broken", "hang"]]))


class Careless(Recorder):
    """Changes what it was given."""

    def load(self, values: Values, argument: Any) -> Values:
        values["chat"]["hosts"].append("b")
        return values


def test_a_provider_that_changes_what_it_was_given_is_seen(tmp_path: Path) -> None:
    """Its change has its origin, and what was before is still known."""
    name = f"{__name__}:Careless"

    origins = load(sys_config(tmp_path, config={"chat": {"hosts": ["a"]}}, providers=[[name, 0]])).origins

    assert origins.settings == [
        Setting(("chat", "hosts"), ["a"], "sys.config"),
        Setting(("chat", "hosts"), ["a", "b"], name),
    ]


class Curious(Recorder):
    """Reads what is configured so far as an application would."""

    def load(self, values: Values, argument: Any) -> Values:
        return merge(values, {"chat": {"seen": config.get("chat", "port"), "built_for": config.environment}})


def test_a_provider_reads_what_is_configured_so_far(tmp_path: Path) -> None:
    """config.get and config.environment answer while configuration is put together."""
    place = sys_config(
        tmp_path, config={"chat": {"port": 1}}, environment="staging", providers=[[f"{__name__}:Curious", 0]]
    )

    assert load(place).values["chat"] == {"port": 1, "seen": 1, "built_for": "staging"}


class Stating(Recorder):
    """States values, and says so or leaves it to the boot to see."""

    def load(self, values: Values, argument: Any) -> Values:
        for application, keys in argument["values"].items() if argument["notes"] else ():
            note(application, keys, "a note")
        return merge(values, argument["values"])


plain = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3),
    lambda inner: st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
layers = st.lists(
    st.tuples(st.dictionaries(st.sampled_from("xy"), st.dictionaries(st.sampled_from("cd"), plain)), st.booleans()),
    max_size=4,
)


@given(layers)
def test_every_value_has_an_origin_that_set_it_so(stated: list[tuple[Values, bool]]) -> None:
    """Whatever was set over what: the last setting of each value is the one that it has."""
    providers = [(f"{__name__}:Stating", {"values": values, "notes": notes}) for values, notes in stated[1:]]
    system = SysConfig(stated[0][0] if stated else {}, tuple(providers))

    resolved = resolve(system)

    for path, value in leaves(resolved.values):
        [*_, last] = (setting for setting in resolved.origins.settings if setting.path == path)
        assert (last.value, type(last.value)) == (value, type(value))


def runtime_py(root: Path, text: str) -> list[Any]:
    """The provider of a configuration file with this text."""
    (root / "runtime.py").write_text("from underway_runtime import config, env\n" + text)
    return ["underway_runtime.providers:PythonFile", {"path": str(root / "runtime.py")}]


def test_each_value_says_where_it_was_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File and line, the provider that changed it, or sys.config; and which variables were read, by name only."""
    monkeypatch.setenv("UNDERWAY_TEST", "hunter2")
    text = "config('chat', limits={'rooms': 5})\nconfig('chat',\n  name=env('UNDERWAY_TEST'))\nimport os; os.getenv('NO_SUCH')"
    providers = [runtime_py(tmp_path, text), [f"{__name__}:Recorder", "x"]]
    built = {"chat": {"port": 1, "limits": {"rooms": 1, "users": 2}}}

    origins = load(sys_config(tmp_path, config=built, providers=providers)).origins

    here = tmp_path / "runtime.py"
    assert {".".join(path): origins.where(path) for path in {s.path for s in origins.settings}} == {
        "chat.port": "sys.config",
        "chat.limits.users": "sys.config",
        "chat.limits.rooms": f"{here}:2",
        "chat.name": f"{here}:3",
        "order.ran": f"{__name__}:Recorder",
    }
    assert [s.value for s in origins.of(("chat", "limits", "rooms"))] == [1, 5]
    assert origins.variables == {"UNDERWAY_TEST": f"{here}:4", "NO_SUCH": f"{here}:5"}


def test_origins_survive_a_file() -> None:
    """What is written down is what is read."""
    origins = Origins([Setting(("a", "b"), [1], "x.py:1")], {"A": "x.py:2"}, {("a", "c")})

    assert Origins.from_json(json.loads(json.dumps(origins.to_json()))) == origins


def built(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> dict[str, Any]:
    """What the build makes of a config/config.py, as sys.config holds it."""
    (tmp_path / "config.py").write_text("from underway_runtime import config, env\n" + text)
    question = {"files": [[str(tmp_path / "config.py"), "config/config.py"]], "environment": "prod", "may_read": []}
    answer = build_time.answer({**question, "providers": [], "starts": {}})
    del answer["providers"], answer["problems"]
    return answer


def test_what_build_time_code_has_read_is_insisted_on(tmp_path: Path) -> None:
    """A boot that is configured otherwise is refused with every difference, its source, and no secret."""
    answer = built(
        tmp_path,
        "config('chat', rooms=5, colour='red', password='x', on=True, limits={'a': 1})\n"
        "for key in ('rooms', 'colour', 'password', 'on'):\n    config.compile_env('chat', key)\n"
        "config.compile_env('chat', 'limits', 'a')\nconfig.compile_env('chat', 'extra', default=None)\n",
    )
    place = sys_config(tmp_path, **answer)
    assert load(place).values["chat"]["rooms"] == 5
    assert load(sys_config(tmp_path, **answer, providers=[runtime_py(tmp_path, "config('chat', other=1)")]))

    text = "config('chat', rooms=6, password='y', extra=None, on=1, limits={'a': 1, 'b': 2})"
    with pytest.raises(ConfigError) as refused:
        load(sys_config(tmp_path, **answer, providers=[runtime_py(tmp_path, text)]))

    here = tmp_path / "runtime.py"
    assert str(refused.value).splitlines() == [
        "the release was built with other values than it is to run with:",
        f"  - chat.rooms was 5 at build and is 6 now ({here}:2)",
        f'  - chat.password was "[redacted]" at build and is "[redacted]" now ({here}:2)',
        f"  - chat.on was true at build and is 1 now ({here}:2)",
        f"  - chat.extra was not set at build and is null now ({here}:2)",
        "Configure them as they were, build the release again, or build it with validate-compile-env = false",
    ]


def test_compile_env_in_the_running_node_is_what_the_build_read() -> None:
    """A module that reads its configuration when it is imported may do so at build and in the node."""
    configuration.install({"chat": {"limits": {"rooms": 5}}})

    assert config.compile_env("chat", "limits", "rooms") == 5
    assert config.compile_env("chat", "colour", default="red") == "red"
    with pytest.raises(ConfigError, match=r"'limits.users' of application 'chat' is not configured"):
        config.compile_env("chat", "limits", "users")


def test_a_boot_in_two_steps_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    """With reboot-system-after-config providers run in a process of their own, whose answer is the same."""
    text = "import os, sys, calendar\nconfig('chat', pid=os.getpid(), port=int(env('UNDERWAY_TEST', '1')))\n"
    place = sys_config(
        tmp_path,
        config={"chat": {"rooms": 5}},
        providers=[runtime_py(tmp_path, text)],
        flags={"reboot-system-after-config": True},
    )

    resolved = load(place)

    assert resolved.values["chat"].pop("pid") != os.getpid()
    assert resolved.values == {"chat": {"rooms": 5, "port": 1}}
    assert resolved.origins.where(("chat", "port")) == f"{tmp_path}/runtime.py:3"
    assert resolved.origins.variables == {"UNDERWAY_TEST": f"{tmp_path}/runtime.py:3"}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("1 / 0", r"runtime.py, line 2: ZeroDivisionError"),
        ("import os; os._exit(3)", "ended with status 3"),
        ("import os; os.kill(os.getpid(), 9)", "ended with status -9"),
        ("import sys; sys.exit('no')", "line 2: SystemExit: no"),
    ],
)
def test_what_goes_wrong_in_the_first_of_two_steps_is_told(tmp_path: Path, text: str, part: str) -> None:
    """Its errors are the boot's errors, and so is its death."""
    place = sys_config(tmp_path, providers=[runtime_py(tmp_path, text)], flags={"reboot-system-after-config": True})

    with pytest.raises(ConfigError, match=part):
        load(place)


def test_notes_outside_of_a_boot_go_nowhere() -> None:
    """A provider may be called by hand."""
    note("chat", {"port": 1}, "here", secret=True)

    assert resolve(SysConfig({})).origins == Origins()
