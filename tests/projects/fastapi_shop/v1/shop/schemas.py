"""What is taken and given as JSON."""

from pydantic import BaseModel, Field, field_validator


class ItemIn(BaseModel):
    """What is put on sale."""

    name: str
    price: int = Field(gt=0)

    @field_validator("name")
    @classmethod
    def stripped(cls, value: str) -> str:
        """Without spaces around it."""
        return value.strip()


class ItemOut(BaseModel):
    """What is on sale."""

    id: int
    name: str
    price: int
