"""What is taken and given as JSON."""

from typing import Literal, Optional

from pydantic import BaseModel, Field, field_validator


class Line(BaseModel):
    """One thing that is bought."""

    name: str
    count: int = Field(default=1, gt=0)

    @field_validator("name")
    @classmethod
    def stripped(cls, value: str) -> str:
        """Without spaces around it."""
        return value.strip()

    def text(self) -> str:
        """As it is printed."""
        return f"{self.count} x {self.name}"


class Receipt(BaseModel):
    """What somebody has bought."""

    lines: list["Line"]
    gift: Optional[Line] = None  # noqa: UP045  # which typing remembers
    total: int = 0


class Answer(BaseModel):
    """What there is to say."""

    said: str
    loud: Literal["no", "very"] = "no"
