"""A blog, by Django."""

__version__ = "3.0"
