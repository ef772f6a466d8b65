"""Rules for frameworks that a plan rests on: the smallest edit that each allows, and the smallest beyond it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plans import compare, verdicts

SITE = {
    "site": "",
    "site.settings": "from pathlib import Path\nBASE_DIR = Path(__file__).parent\nPAGE = 3\nTIME_ZONE = 'UTC'\nNAME = TIME_ZONE\n",
    "site.wsgi": "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site.settings')\n",
}


def _settings(root: Path, was: str, becomes: str, **others: str) -> dict[str, str]:
    """What is said when a text of the settings becomes another, in a site with these other modules that do not change."""
    new = {**SITE, "site.settings": SITE["site.settings"].replace(was, becomes)}
    return verdicts(compare(root, SITE | others, new | others, compared=sorted(SITE)))


def test_a_setting_of_the_project_itself_is_looked_for_where_django_has_it(tmp_path: Path) -> None:
    """A setting that only the project reads may change, once it was looked who has taken it."""
    assert _settings(tmp_path, "PAGE = 3", "PAGE = 4")["site.settings:PAGE"] == "HOT value"


@pytest.mark.parametrize(
    ("was", "becomes", "name"),
    [
        ("TIME_ZONE = 'UTC'", "TIME_ZONE = 'CET'", "TIME_ZONE"),
        ("PAGE = 3", "PAGE = 3\nLOGGING = {}", "LOGGING"),
        ("NAME = TIME_ZONE", "DATABASES = {'default': {'NAME': BASE_DIR / 'db'}}", "DATABASES"),
    ],
)
def test_a_setting_that_django_keeps_something_of_takes_a_fresh_interpreter(
    tmp_path: Path, was: str, becomes: str, name: str
) -> None:
    """Of what Django has made of a setting when it was set up, no object of the project tells."""
    assert "RESTART setting" in _settings(tmp_path, was, becomes)[f"site.settings:{name}"]


def test_a_database_where_the_code_is_would_be_another_in_each_version(tmp_path: Path) -> None:
    """The text of a setting stays, and what it depends on does not: each version has a directory of its own."""
    old = {**SITE, "site.settings": SITE["site.settings"] + "DATABASES = {'default': {'NAME': BASE_DIR / 'db'}}\n"}
    new = {**old, "site.settings": old["site.settings"].replace("PAGE = 3", "PAGE = 4")}
    assert "RESTART setting" in verdicts(compare(tmp_path, old, new))["site.settings:DATABASES"]


@pytest.mark.parametrize(
    ("place", "refused"),
    [
        ("os.environ.get('RELEASE_VAR', BASE_DIR)", False),
        ("os.getenv('RELEASE_VAR', BASE_DIR)", False),
        ("os.environ.get('SITE_VAR', BASE_DIR)", True),
        ("os.environ.get('RELEASE_VAR') or BASE_DIR", True),
    ],
)
def test_what_stands_for_a_variable_that_a_release_always_has_is_used_by_nobody(
    tmp_path: Path, place: str, refused: bool
) -> None:
    """A database below RELEASE_VAR stays where it is, whatever a project falls back to outside of a release."""
    databases = f"import os\nDATABASES = {{'default': {{'NAME': Path({place}) / 'db'}}}}\n"
    old = {**SITE, "site.settings": SITE["site.settings"] + databases}
    new = {**old, "site.settings": old["site.settings"].replace("PAGE = 3", "PAGE = 4")}
    assert ("site.settings:DATABASES" in verdicts(compare(tmp_path, old, new))) is refused


LIFESPAN = """
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from .board import board
from .words import short
@asynccontextmanager
async def lifespan(app):
    board.post("welcome")
    yield
app = Starlette(lifespan=lifespan)
"""
BOARD = """
class Board:
    def post(self, text): return show(text)
def show(text): return text
board = Board()
"""


@pytest.mark.parametrize(
    ("words", "started"),
    [
        ("import json\ndef short(text): return json.dumps(text)\n", False),
        ("import json as show\ndef short(text): return show.dumps(text)\n", False),
        ("from json import dumps as post\ndef short(text): return post(text)\n", True),
    ],
)
@pytest.mark.parametrize("comes", [True, False])
def test_an_import_that_comes_or_goes_is_nothing_that_a_start_has_run(
    tmp_path: Path, words: str, started: bool, comes: bool
) -> None:
    """Who uses it has changed too; only where something is called so, as an attribute, may it be that which was run."""
    with_it = {"p": "", "p.board": BOARD, "p.words": words, "p.main": LIFESPAN}
    without = {**with_it, "p.words": "def short(text): return text\n"}
    old, new = (without, with_it) if comes else (with_it, without)
    found = verdicts(compare(tmp_path, old, new, observed=True))
    assert ("RESTART reached" in found.get("p.main:app", "")) is started


def test_what_a_server_is_within_for_the_lifespan_is_said(tmp_path: Path) -> None:
    """A middleware that is called with a scope runs as long as the server does; what it does may change, but a new process does it."""
    middleware = """
    class Stamped:
        def __init__(self, app): self.app = app
        async def __call__(self, scope, receive, send): await self.app(scope, receive, send)
        async def stamp(self, scope, receive): return 1
    """
    old = {"p": "", "p.middleware": middleware}
    changed = middleware.replace("await self.app", "return await self.app").replace("return 1", "return 2")
    found = verdicts(compare(tmp_path, old, {**old, "p.middleware": changed}))
    assert "loop" in found["p.middleware:Stamped.__call__"]
    assert found["p.middleware:Stamped.stamp"] == "HOT body"


TAGS = """
from django import template
register = template.Library()
@register.filter
def loud(text): return text.upper()
@register.simple_tag
def shown(text): return text
"""


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ("text.upper()", "text.title()", {"p.tags:loud": "HOT body"}),
        ("def shown(text): return text", "def shown(text): return text * 2", {"p.tags:shown": "HOT body"}),
        ("def shown(text)", "def shown(text, twice=False)", {"p.tags:shown": "RESTART signature"}),
    ],
)
def test_a_library_of_templates_holds_functions_and_has_read_their_parameters(
    tmp_path: Path, was: str, becomes: str, told: dict[str, str]
) -> None:
    """What a filter or a tag of Django does may change, but not what it is given."""
    old = {"p": "", "p.tags": TAGS}
    assert verdicts(compare(tmp_path, old, {**old, "p.tags": TAGS.replace(was, becomes)})) == told


def test_a_setting_that_a_library_names_takes_a_fresh_interpreter(tmp_path: Path) -> None:
    """A library that reads a setting of its own may have kept it."""
    found = _settings(
        tmp_path, "PAGE = 3", "PAGE = 4", pager="from django.conf import settings\nSIZE = settings.PAGE\n"
    )
    assert "RESTART setting" in found["site.settings:PAGE"]


@pytest.mark.parametrize("given", ["settings", "'p.settings'"])
@pytest.mark.parametrize(
    "text", ["app.config.from_object({})\n", "def make():\n    app.config.from_object({})\nmake()\n"]
)
def test_who_was_given_a_module_may_have_taken_what_it_has(tmp_path: Path, given: str, text: str) -> None:
    """A constant of a module that was given to a call, or named as text, is not changed before it is looked who has it."""
    web = f"from flask import Flask\nfrom . import settings\napp = Flask('p')\n{text.format(given)}"
    old = {"p": "", "p.settings": "DAYS = 14\n", "p.web": web}
    answer: dict[str, Any] = compare(tmp_path, old, {**old, "p.settings": "DAYS = 21\n"})
    assert ["p.web", "reached"] in [[module, change] for module, _, change in answer["asked"]]


def test_a_module_that_nobody_was_given_needs_no_look(tmp_path: Path) -> None:
    """A module that is only imported, and read by its names, is changed without a look."""
    old = {"p": "", "p.settings": "DAYS = 14\n", "p.web": "from . import settings\ndef days(): return settings.DAYS\n"}
    answer = compare(tmp_path, old, {**old, "p.settings": "DAYS = 21\n"})
    assert answer["asked"] == []
    assert verdicts(answer) == {"p.settings:DAYS": "HOT value"}


def test_what_aiohttp_runs_once_at_its_start_is_not_run_again(tmp_path: Path) -> None:
    """A constant that a function reads which was put among those of the start takes a fresh interpreter."""
    main = """
    from aiohttp import web
    from .settings import TOPICS
    async def opened(app):
        app["topics"] = list(TOPICS)
    app = web.Application()
    app.on_startup.append(opened)
    """
    old = {"p": "", "p.settings": "TOPICS = ('a',)\n", "p.main": main}
    found = verdicts(compare(tmp_path, old, {**old, "p.settings": "TOPICS = ('a', 'b')\n"}, observed=True))
    assert "RESTART reached" in found["p.main"]
