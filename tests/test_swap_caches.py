"""What frameworks keep about the files of a version is that of the next one after a swap, and comes back with the undo."""

from __future__ import annotations

import logging
from pathlib import Path

from django.conf import LazySettings  # type: ignore[import-untyped]
from flask import Flask
from jinja2 import FileSystemLoader
from starlette.staticfiles import StaticFiles

from underway_runtime.upgrade.hot import caches, heap
from underway_runtime.upgrade.hot.undo_log import Journal

FILES = [("/r/lib/shop-1.0/shop/__init__.py", "/r/lib/shop-2.0/shop/__init__.py")]


def test_who_looks_for_files_in_one_version_looks_in_the_next() -> None:
    """Loaders, applications and static files that were made with a place in the old version; what is elsewhere stays."""
    loader = FileSystemLoader(
        ["/r/lib/shop-1.0/shop/templates", Path("/r/lib/shop-1.0/more"), "/r/lib/shop-1.0.1", "/etc"]
    )
    elsewhere = FileSystemLoader("/r/lib/other-1.0/shop-1.0")
    app = Flask("shop", root_path="/r/lib/shop-1.0/shop", static_folder="/r/lib/shop-1.0/shop/files")
    static = StaticFiles(directory="/r/lib/shop-1.0/shop/static", check_dir=False)
    before = (
        loader.searchpath,
        elsewhere.searchpath,
        app.root_path,
        app.static_folder,
        static.directory,
        static.all_directories,
    )
    journal = Journal()

    journal.perform(caches.moved(FILES, heap.instances(caches.classes(), heap.all_objects())))

    assert loader.searchpath == ["/r/lib/shop-2.0/shop/templates", "/r/lib/shop-2.0/more", "/r/lib/shop-1.0.1", "/etc"]
    assert elsewhere.searchpath == ["/r/lib/other-1.0/shop-1.0"]
    assert (app.root_path, app.static_folder) == ("/r/lib/shop-2.0/shop", "/r/lib/shop-2.0/shop/files")
    assert app.config.root_path == app.root_path
    assert (static.directory, static.all_directories) == (
        "/r/lib/shop-2.0/shop/static",
        ["/r/lib/shop-2.0/shop/static"],
    )
    journal.undo()
    assert (
        loader.searchpath,
        elsewhere.searchpath,
        app.root_path,
        app.static_folder,
        static.directory,
        static.all_directories,
    ) == before


def test_settings_that_a_module_has_configured_itself_are_there_after_a_swap() -> None:
    """Django keeps what was asked for; what is Django's own, and not configured, stays kept as in a fresh start."""
    settings = LazySettings()
    settings.configure(ROOT_URLCONF="shop")
    assert (settings.ROOT_URLCONF, settings.DEBUG) == ("shop", False)
    settings._wrapped.ROOT_URLCONF = "web"
    journal = Journal()

    journal.perform(caches.forgotten(heap.instances(caches.classes(), heap.all_objects())))

    assert (vars(settings)["ROOT_URLCONF"], vars(settings)["DEBUG"]) == ("web", False)
    journal.undo()
    assert (vars(settings)["ROOT_URLCONF"], vars(settings)["DEBUG"]) == ("shop", False)


def test_a_logger_forgets_for_which_levels_it_is_enabled() -> None:
    """A level that a swap sets itself is the one that counts, also for loggers below that were asked before."""
    above, below = logging.Logger("above", logging.INFO), logging.Logger("below")
    below.parent = above
    assert not below.isEnabledFor(logging.DEBUG)
    vars(above)["level"] = logging.DEBUG
    assert not below.isEnabledFor(logging.DEBUG)
    journal = Journal()

    journal.perform(caches.forgotten(heap.instances(caches.classes(), heap.all_objects())))

    assert below.isEnabledFor(logging.DEBUG)
    journal.undo()
    assert not below.isEnabledFor(logging.DEBUG)
