"""A library, by Flask."""

__version__ = "0.9"
