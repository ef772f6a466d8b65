"""What a release boots from: boot scripts, .rel, start data, cookie source, templates, sys.config."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from releases import make_release
from underway.errors import BuildError
from underway.steps import boot
from underway.steps.configuration import make_sys_config
from underway_runtime.configuration.resolution import load, read
from underway_runtime.release import boot_script, gates
from underway_runtime.release.boot_script import CodePath, Load, PrimLoad, Start
from underway_runtime.release.directory import ReleaseDirectory
from underway_runtime.release.errors import DamagedRelease


def test_a_boot_script_starts_applications_in_the_order_given(tmp_path: Path) -> None:
    """Every application is known before any starts, and each starts in its mode."""
    release = make_release(tmp_path)
    rel = boot.make_boot_script(
        release, release.version_path / "mine", [("anyio", "load"), ("chat", "temporary"), ("underway_runtime", "none")]
    )

    script = boot_script.read(release.version_path / "mine.script")
    kinds = [type(i) for i in script.instructions if isinstance(i, (CodePath, Load, PrimLoad, Start))]

    assert rel == release.version_path / "mine.rel"
    assert kinds == [CodePath, Load, Load, PrimLoad, Start]
    assert [i.application for i in script.instructions if isinstance(i, Load)] == ["anyio", "chat"]
    assert [i for i in script.instructions if isinstance(i, Start)] == [Start("chat", "temporary")]


def test_a_boot_script_names_release_lib_and_no_absolute_path(tmp_path: Path) -> None:
    """What a boot script names is below $RELEASE_LIB, so it boots anywhere."""
    release = make_release(tmp_path)
    boot.make_boot_script(
        release, release.version_path / "mine", [("chat", "permanent")], prepend=["$RELEASE_LIB/patch-1"]
    )
    text = (release.version_path / "mine.script").read_text()

    [path] = [i for i in boot_script.read(release.version_path / "mine.script").instructions if isinstance(i, CodePath)]
    assert path.directories == ("$RELEASE_LIB/patch-1", "$RELEASE_LIB/chat-0.1.0")
    assert str(tmp_path) not in text


def test_a_boot_script_that_can_not_be_made_says_everything(tmp_path: Path) -> None:
    """Unknown and repeated applications and foreign paths are listed in one error, and nothing is written."""
    release = make_release(tmp_path)

    with pytest.raises(BuildError) as refused:
        boot.make_boot_script(
            release,
            release.version_path / "mine",
            [("chat", "load"), ("chat", "load"), ("nobody", "load")],
            prepend=["/usr/lib"],
        )

    for part in ("'nobody' is not in the release", "'chat' is listed 2 times", "'/usr/lib' does not begin with"):
        assert part in str(refused.value)
    assert list(release.version_path.iterdir()) == []


def test_every_boot_script_is_written_and_the_rel_is_copied(tmp_path: Path) -> None:
    """start.rel becomes NAME.rel, with a copy in releases/ under name and version."""
    release = make_release(tmp_path)
    boot.write_boot_scripts(release)

    assert sorted(p.name for p in release.version_path.iterdir()) == ["chat.rel", "start.script", "start_clean.script"]
    rel = json.loads((release.path / "releases/chat-0.1.0.rel").read_text())
    assert (rel["name"], rel["version"], rel["interpreter"]) == ("chat", "0.1.0", "3.11.2")
    assert rel["applications"][2] == {"name": "chat", "version": "0.1.0", "mode": "permanent"}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "can't be read"),
        ("{}", "no 'format'"),
        ('{"format": 2}', "reads format 1"),
        ('{"format": 1, "script": "s", "release": "r", "version": "1", "instructions": [{"go": 1}]}', "unknown"),
        ('{"format": 1, "script": "s", "release": "r", "version": "1", "instructions": [1]}', "is an object"),
        (
            '{"format": 1, "script": "s", "release": "r", "version": "1", "instructions": [{"start": "a", "mode": "x"}]}',
            "mode is 'x'; it must be one of permanent, transient, temporary",
        ),
    ],
)
def test_a_damaged_boot_script_is_named_with_its_fault(tmp_path: Path, text: str, part: str) -> None:
    """What is wrong in a boot script is told with its path."""
    (tmp_path / "start.script").write_text(text)

    with pytest.raises(DamagedRelease) as refused:
        boot_script.read(tmp_path / "start.script")

    assert str(tmp_path / "start.script") in str(refused.value)
    assert part in str(refused.value)


def test_start_data_names_interpreter_and_release(tmp_path: Path) -> None:
    """One line, as start_erl.data."""
    boot.make_start_data(make_release(tmp_path), tmp_path / "start.data")

    assert (tmp_path / "start.data").read_text() == "3.11.2 0.1.0\n"


@pytest.mark.parametrize(
    ("option", "source"),
    [
        ({}, {"from": "node"}),
        ({"cookie": {"file": "/run/secrets/cookie"}}, {"from": "file", "file": "/run/secrets/cookie"}),
        ({"cookie": {"variable": "COOKIE"}}, {"from": "variable", "variable": "COOKIE"}),
    ],
)
def test_the_cookie_is_never_in_the_release(
    tmp_path: Path, option: dict[str, object], source: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """make_cookie writes where the node takes the cookie from; what it is stays on the node."""
    monkeypatch.setenv("COOKIE", "s3cret")
    boot.make_cookie(make_release(tmp_path, options=option), tmp_path / "cookie.source")

    assert json.loads((tmp_path / "cookie.source").read_text()) == source
    assert "s3cret" not in (tmp_path / "cookie.source").read_text()


def test_the_gates_of_a_release_travel_in_it(tmp_path: Path) -> None:
    """As they were written; a release without gates has no such file."""
    bare = make_release(tmp_path)
    place = ReleaseDirectory(bare.path).version(bare.version)
    boot.write_gates(bare)
    assert not place.gates.exists()

    boot.write_gates(make_release(tmp_path, options={"gates": [{"http": "/health"}]}))

    assert gates.read(place.gates) == (gates.HttpGate(http="/health"),)


@pytest.mark.parametrize(
    ("options", "heart"),
    [({}, None), ({"heart": False}, None), ({"heart": True}, {}), ({"heart": {"restarts": 3}}, {"restarts": 3})],
)
def test_a_heart_is_in_the_release_where_it_is_asked_for(
    tmp_path: Path, options: dict[str, object], heart: dict[str, int] | None
) -> None:
    """The file holds what was given; the node knows the rest."""
    boot.write_heart(make_release(tmp_path, options=options), tmp_path / "heart")

    assert (json.loads((tmp_path / "heart").read_text()) if heart is not None else None) == heart
    assert (tmp_path / "heart").exists() == (heart is not None)


def test_a_template_of_the_project_wins_over_ours(tmp_path: Path) -> None:
    """rel_templates_path finds rel/env.sh of the project, else what we ship; the launcher is always ours."""
    own = tmp_path / "rel"
    own.mkdir()
    (own / "env.sh").touch()
    (own / "launcher.sh").touch()
    release = make_release(tmp_path, options={"rel-templates-path": str(own)})

    assert boot.rel_templates_path(release, "env.sh") == own / "env.sh"
    assert boot.rel_templates_path(release, "python.args").is_file()
    assert boot.rel_templates_path(release, "launcher.sh") != own / "launcher.sh"


def test_sys_config_without_providers_is_what_was_stated(tmp_path: Path) -> None:
    """Without providers make_sys_config changes nothing."""
    place = make_sys_config(make_release(tmp_path), {"chat": {"port": 1}})

    assert json.loads(place.read_text()) == {"format": 1, "config": {"chat": {"port": 1}}}
    assert load(place).values == {"chat": {"port": 1}}


def test_sys_config_with_providers_holds_the_trigger(tmp_path: Path) -> None:
    """With providers it also holds what makes the boot run them, and the options that go with it."""
    options = {
        "reboot-system-after-config": True,
        "start-distribution-during-config": True,
        "prune-runtime-sys-config-after-boot": False,
    }
    system = read(make_sys_config(make_release(tmp_path, config_providers=(("a:B", {"x": 1}),), options=options), {}))

    assert system.providers == (("a:B", {"x": 1}),)
    assert system.flags == {"reboot-system-after-config", "start-distribution-during-config"}
