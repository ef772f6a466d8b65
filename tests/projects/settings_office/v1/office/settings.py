"""What can be set."""

import os
from datetime import timedelta
from functools import cache, lru_cache
from pathlib import Path

from pydantic import HttpUrl, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What the office is like."""

    model_config = SettingsConfigDict(env_prefix="OFFICE_")

    desks: int = 2
    log_level: str = "info"
    key: SecretStr = SecretStr("none")
    home: HttpUrl = HttpUrl("http://office.example")
    files: Path = Path("/srv")
    open_for: timedelta = timedelta(hours=8)

    @field_validator("log_level")
    @classmethod
    def loud(cls, value: str) -> str:
        """In capitals."""
        return value.upper()


@lru_cache
def get_settings() -> Settings:
    """Of the environment, once."""
    return Settings()


class Limits:
    """How much is let in."""

    def __init__(self) -> None:
        self.people = int(os.environ.get("OFFICE_PEOPLE", "20"))
        self.dogs = 1


@cache
def limits() -> Limits:
    """The ones that hold."""
    return Limits()
