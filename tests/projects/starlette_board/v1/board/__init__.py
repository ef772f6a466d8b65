"""A notice board, by Starlette."""

__version__ = "2.1"
