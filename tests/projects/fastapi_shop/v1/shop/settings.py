"""What can be set."""

from pydantic import BaseModel

TITLE = "shop"
CURRENCIES = ("EUR", "CHF")


class Settings(BaseModel):
    """What pages and prices are like."""

    page_size: int = 2
    currency: str = CURRENCIES[0]


settings = Settings()
