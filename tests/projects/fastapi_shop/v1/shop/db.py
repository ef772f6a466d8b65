"""The database, which is in memory, and its sessions."""

from collections.abc import Iterator

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.pool import StaticPool

engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
sessions = sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """All tables."""


def session() -> Iterator[Session]:
    """A session for a request."""
    with sessions() as opened:
        yield opened
