"""SQLAlchemy keeps the names of mapped classes in registries, which it holds in a set that nobody reads."""

from __future__ import annotations

BY_HASH = ("sqlalchemy.orm.clsregistry._registries",)
"""Of what is in it only hashes tell; each is a class's registry's too, and is compared there."""
