"""The notices, which are in memory."""

from dataclasses import dataclass


@dataclass
class Notice:
    """What somebody has to say."""

    text: str
    likes: int = 0

    def short(self, longest: int) -> str:
        """Its beginning."""
        return self.text[:longest]


class Board:
    """All notices."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def post(self, text: str) -> int:
        """Put one up; its number."""
        self.notices.append(Notice(text))
        return len(self.notices) - 1

    def like(self, number: int) -> int:
        """Like one; how many do."""
        self.notices[number].likes += 1
        return self.notices[number].likes


board = Board()
