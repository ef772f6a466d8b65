"""What can be set."""

from pydantic import BaseModel, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Shelf(BaseModel):
    """What a shelf is like."""

    height: int = 2


class Settings(BaseSettings):
    """What the depot is like."""

    model_config = SettingsConfigDict(env_prefix="DEPOT_")

    name: str = " depot"
    doors: int = Field(default=1, gt=0)
    kinds: list[str] = Field(default_factory=list)

    @field_validator("name")
    @classmethod
    def stripped(cls, value: str) -> str:
        """Without spaces around it."""
        return value.strip()


settings = Settings(name=" the depot ")
