"""Django's copy of the settings of a module has what the module has after a swap, and what it had before once that is undone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from django.conf import LazySettings, Settings, global_settings  # type: ignore[import-untyped]

from underway_runtime.upgrade.hot import caches, heap
from underway_runtime.upgrade.hot.undo_log import Acts, Journal

NAME = "settings_of_a_site"


@pytest.fixture
def module() -> Iterator[ModuleType]:
    """The settings of a site, as Django imports them."""
    made = ModuleType(NAME)
    made.__dict__.update(PAGE=3, TITLE="site", LOGIN_URL="/enter/", GONE=1, small=5)
    sys.modules[NAME] = made
    yield made
    del sys.modules[NAME]


def _become(module: ModuleType, acts: Acts) -> Journal:
    """The settings of the next version, and then these acts, in one go."""
    every, journal = Acts(), Journal()
    every.item(module.__dict__, "PAGE", 4)
    every.item(module.__dict__, "MOTTO", "read")
    every.item(module.__dict__, "small", 6)
    every.no_item(module.__dict__, "GONE")
    every.no_item(module.__dict__, "LOGIN_URL")
    every.extend(acts)
    journal.perform(every)
    return journal


def test_a_copy_is_as_django_would_make_it_of_the_new_version(module: ModuleType) -> None:
    """Settings change, come, go, and fall back to Django's own; undone, all is as before."""
    settings = Settings(NAME)
    before = {**vars(settings), "_explicit_settings": {*settings._explicit_settings}}

    journal = _become(module, caches.copied_settings(vars(settings)))

    assert vars(settings) == vars(Settings(NAME))
    assert settings.LOGIN_URL == global_settings.LOGIN_URL
    journal.undo()
    assert vars(settings) == before == vars(Settings(NAME))


def test_what_the_process_has_set_since_stays(module: ModuleType) -> None:
    """A setting that somebody has overridden is state: it is not what the module has said."""
    settings = Settings(NAME)
    settings.PAGE = 100

    _become(module, caches.copied_settings(vars(settings)))

    assert (settings.PAGE, settings.MOTTO) == (100, "read")


def test_settings_that_were_asked_for_are_read_anew(module: ModuleType) -> None:
    """What is kept in front of the copy follows it."""
    settings = LazySettings()
    settings._wrapped = Settings(NAME)
    assert settings.PAGE == 3

    _become(module, caches.forgotten(heap.instances(caches.classes(), heap.all_objects())))

    assert (settings.PAGE, settings.MOTTO, hasattr(settings, "GONE")) == (4, "read", False)
