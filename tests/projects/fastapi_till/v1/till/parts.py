"""What handlers depend on."""

from typing import Annotated

from fastapi import Depends, Header


def user(x_user: Annotated[str, Header()] = "nobody") -> str:
    """Who asks."""
    return x_user


User = Annotated[str, Depends(user)]


def page(asks: User, size: int = 2, start: int = 0) -> dict[str, object]:
    """Which part of a list is asked for."""
    return {"by": asks, "size": size, "start": start}


class Limits:
    """How much is shown."""

    def __init__(self, most: int = 10) -> None:
        """At most so much."""
        self.most = most
