"""A relay of messages, by aiohttp."""

__version__ = "1.0"
