"""A worker that does jobs, by asyncio alone."""

__version__ = "5.2"
