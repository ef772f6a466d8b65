"""pyproject.toml becomes a definition, or one error with everything that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from underway.errors import ProjectError
from underway.project.options import DEFAULTS, OPTIONS, Options, problem_of
from underway.project.project import Definition, definition, read

MINIMAL = '[project]\nname = "chat"\nversion = "0.1.0"\n'


def define(root: Path, text: str, name: str | None = None, **overrides: object) -> Definition:
    (root / "pyproject.toml").write_text(text, encoding="utf-8")
    return definition(read(root), name, overrides)


def refusal(root: Path, text: str, name: str | None = None) -> str:
    with pytest.raises(ProjectError) as refused:
        define(root, text, name)
    return str(refused.value)


def test_four_lines_are_enough(tmp_path: Path) -> None:
    """[tool.underway] with asgi and listen describes a release."""
    text = MINIMAL + '[tool.underway]\nasgi = "chat.web:app"\nlisten = ["tcp://127.0.0.1:8000"]\n'

    found = define(tmp_path, text)

    assert (found.name, found.version) == ("chat", "0.1.0")
    assert found.start == {"asgi": "chat.web:app", "listen": ["tcp://127.0.0.1:8000"]}


def test_one_script_entry_point_needs_no_configuration(tmp_path: Path) -> None:
    """A project with one script starts by it."""
    found = define(tmp_path, MINIMAL + '[project.scripts]\nchat = "chat.cli:main"\n')

    assert found.start == {"main": "chat.cli:main", "args": [], "by-default": True}


def test_a_main_may_say_what_it_binds_and_that_it_must_not_run_twice(tmp_path: Path) -> None:
    """Both travel with what starts; an application that may overlap says nothing."""
    listen = 'listen = ["tcp://127.0.0.1:8000"]\n'

    found = define(tmp_path, MINIMAL + f'[tool.underway]\nmain = "chat.cli:main"\n{listen}overlap = false\n')

    assert found.start == {
        "main": "chat.cli:main",
        "args": [],
        "listen": ["tcp://127.0.0.1:8000"],
        "overlap": False,
    }


def test_two_scripts_do_not_choose_themselves(tmp_path: Path) -> None:
    """Which of two scripts a release starts is never guessed."""
    assert define(tmp_path, MINIMAL + '[project.scripts]\na = "c:a"\nb = "c:b"\n').start == {}


def test_everything_wrong_is_in_one_error(tmp_path: Path) -> None:
    """Unknown keys, wrong values and contradictions are listed together, with the likely key."""
    text = MINIMAL + (
        "[tool.underway]\n"
        'asgi = "chat.web:app"\nwsgi = "chat.wsgi"\n'
        'nane = "x"\n'
        "quiet = 1\n"
        'cookie = "s3cret"\n'
        'include-executables-for = ["unix", "windows"]\n'
        'applications = { chat = "permanant" }\n'
    )

    message = refusal(tmp_path, text)

    for part in (
        "unknown key 'nane'",
        "wsgi is 'chat.wsgi'",
        "quiet is 1; it must be true or false",
        "cookie must be { file",
        "windows can't be made",
        "application 'chat' has mode 'permanant'",
        "asgi and wsgi are given",
    ):
        assert part in message
    assert "s3cret" not in message, "a cookie is shown nowhere"


def test_an_unknown_key_comes_with_the_likely_one(tmp_path: Path) -> None:
    """A typo is answered with the key that was meant."""
    assert "unknown key 'step'; did you mean 'steps'?" in refusal(tmp_path, MINIMAL + "[tool.underway]\nstep = []\n")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('server = { access_log = false }', "config/config.py says config('chat', server=...)"),
        ("drain-timeout = 5", "config/config.py says config('chat', drain_timeout=...)"),
        ("stop_timeout = 5", 'config/config.py says config("underway_runtime", stop_timeout=...)'),
        ("rpc = false", 'config("underway_runtime", rpc=...)'),
        ("restarts = 5", "it belongs in heart = { ... }"),
        ("worker-port = 5", "it belongs in cluster = { ... }"),
        ('http = "/"', "it belongs in gates = [{ ... }]"),
        ("workers = 2", "`processes` says in how many "),
        ("port = 8000", "`listen` says where it listens"),
        ('chat = { greeting = "hello" }', "configuration of an application is in config/config.py: config('chat', ...)"),
        ("other = { server = {} }", "config('other', ...)"),
        ("other = { quiet = true }", "options of one release belong in [tool.underway.releases.other]"),
        ('releases = { chat = { default-release = "chat" } }', "it belongs in [tool.underway]"),
        ("releases = { chat = { server = {} } }", "[tool.underway.releases.chat]: unknown key 'server'; it is conf"),
    ],
)  # fmt: skip
def test_a_key_of_another_table_comes_with_where_it_belongs(tmp_path: Path, table: str, said: str) -> None:
    """Configuration of an application, of underway or of a table within, one level too high or too low."""
    assert said in refusal(tmp_path, MINIMAL + f"[tool.underway]\n{table}\n")


@pytest.mark.parametrize(
    "heart",
    ["1", '"yes"', "{ restart = 1 }", "{ restarts = 0 }", "{ restarts = 1.5 }", "{ within = 0 }", "{ delay = -1 }"],
)
def test_a_heart_is_a_truth_or_a_table_of_limits(tmp_path: Path, heart: str) -> None:
    """A limit that is none, or a key that is not known, is refused."""
    message = refusal(tmp_path, MINIMAL + f"[tool.underway]\nheart = {heart}\n")

    assert "it must be true, false, or { restarts = 5, within = 60, delay = 1, beat = 0 }" in message


@pytest.mark.parametrize("name", ["Chat", "1chat", "ch at", "ch/at", "..", ""], ids=repr)
def test_a_name_that_cannot_name_a_command_is_refused(tmp_path: Path, name: str) -> None:
    """A release's name becomes a file and a directory, so it is plain."""
    message = refusal(tmp_path, MINIMAL + f'[tool.underway.releases."{name}"]\n')

    assert "can't name a command" in message


@pytest.mark.parametrize("version", ["", "../1", "1 0", "1#2", "1(2", ".1", "a" * 101], ids=repr)
def test_a_version_that_cannot_name_a_directory_is_refused(tmp_path: Path, version: str) -> None:
    """A release's version becomes a directory, so it is plain."""
    with pytest.raises(ProjectError, match="version"):
        define(tmp_path, MINIMAL + f'[tool.underway]\nversion = "{version}"\n')


def test_a_release_overrides_what_all_share(tmp_path: Path) -> None:
    """[tool.underway] holds for every release, and a release's own table wins."""
    text = MINIMAL + (
        '[tool.underway]\nstrip = false\noverlays = "files"\ndefault-release = "two"\n'
        "[tool.underway.releases.one]\n[tool.underway.releases.two]\nstrip = true\n"
    )

    assert define(tmp_path, text, "one").options["strip"] is False
    assert define(tmp_path, text).name == "two"
    assert define(tmp_path, text).options["strip"] is True
    assert define(tmp_path, text).paths("overlays") == (tmp_path / "files",)


def test_several_releases_are_not_chosen_between(tmp_path: Path) -> None:
    """Without default-release and without a name nothing is guessed."""
    message = refusal(tmp_path, MINIMAL + "[tool.underway.releases.one]\n[tool.underway.releases.two]\n")

    assert "several releases: one, two" in message


def test_an_unknown_release_comes_with_the_likely_one(tmp_path: Path) -> None:
    """A typo in the release's name is answered with the name that was meant."""
    message = refusal(tmp_path, MINIMAL + "[tool.underway.releases.one]\n[tool.underway.releases.two]\n", "tow")

    assert "did you mean 'two'?" in message


def test_a_definition_may_be_a_callable(tmp_path: Path) -> None:
    """A release may be what a function of the project returns."""
    (tmp_path / "definition_a.py").write_text(
        "def chat():\n    return {'strip': False, 'options': {'colour': 'red'}}\n"
    )

    found = define(tmp_path, MINIMAL + '[tool.underway.releases]\nchat = "definition_a:chat"\n')

    assert found.options["strip"] is False
    assert found.options["colour"] == "red"


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("def chat():\n    return 1\n", "a callable"),
        ("def chat():\n    return {'quite': True}\n", "did you mean 'quiet'?"),
        ("def chat():\n    return 1 / 0\n", "raised ZeroDivisionError"),
        ("chat = 1\n", "which can't be called"),
        ("", "there is no 'definition_"),
    ],
    ids=["no table", "unknown key", "raises", "no callable", "missing"],
)
def test_a_callable_that_defines_no_release_is_refused(tmp_path: Path, body: str, part: str) -> None:
    """What a callable returns is checked like a table."""
    module = f"definition_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(body)

    assert part in refusal(tmp_path, MINIMAL + f'[tool.underway.releases]\nchat = "{module}:chat"\n')


def test_free_form_options_reach_custom_steps(tmp_path: Path) -> None:
    """[tool.underway.releases.NAME.options] arrives in Release.options; a name of our own is refused there."""
    text = MINIMAL + "[tool.underway.releases.chat.options]\ncolour = 'red'\n"

    assert define(tmp_path, text).options["colour"] == "red"
    assert "write it one level up" in refusal(tmp_path, text + "strip = true\n")


def test_a_workspace_names_what_it_starts(tmp_path: Path) -> None:
    """An umbrella has no application of its own, so it must list some."""
    message = refusal(tmp_path, '[tool.uv.workspace]\nmembers = ["a"]\n')

    assert "is a workspace: name the members" in message


def test_the_version_may_come_from_an_application(tmp_path: Path) -> None:
    """version = { from-app = ... } takes the version of a locked distribution."""
    found = define(tmp_path, MINIMAL + '[tool.underway]\nversion = { from-app = "my-lib" }\n')

    assert (found.version, found.version_from) == (None, "my_lib")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (None, "there is no pyproject.toml"),
        ("[project", "can't be read"),
        ("[tool.other]\n", "has no [project] with a name"),
        ("[project]\nname = 'a'\n[tool]\nunderway = 1\n", "[tool.underway] is a table"),
    ],
    ids=["missing", "not TOML", "no project", "not a table"],
)
def test_a_project_that_is_none_is_refused(tmp_path: Path, text: str | None, part: str) -> None:
    """What is not a project gets one sentence that says so."""
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(ProjectError) as refused:
        definition(read(tmp_path))

    assert part in str(refused.value)


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_default_is_a_value_that_may_be_given(name: str) -> None:
    """A default can be written into pyproject.toml as it is."""
    assert DEFAULTS[name] is None or problem_of(name, DEFAULTS[name]) is None


def test_an_option_has_one_value_by_name_and_by_attribute() -> None:
    """Options are typed for what builds a release, and a mapping for the steps of a project."""
    options = Options.of({"config-path": False, "colour": "red"})

    assert dict(options) == {**DEFAULTS, "config-path": False, "colour": "red"}
    assert options.config_path is options["config-path"]
    with pytest.raises(KeyError):
        options["shape"]


def test_a_default_is_each_release_s_own() -> None:
    """What one release does to its options no other sees."""
    assert Options().steps is not Options().steps


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_refuses_what_it_is_not(name: str) -> None:
    """No option takes just anything; the error names the option and what it wants."""
    problem = problem_of(name, object())

    assert problem is not None
    assert name in problem
    assert OPTIONS[name].wanted in problem
