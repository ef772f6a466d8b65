"""A shop, by FastAPI, pydantic and SQLAlchemy."""

__version__ = "1.4.0"
