"""What was sent, by topic."""

from dataclasses import dataclass, field


@dataclass
class Topic:
    """The last messages of a topic."""

    longest: int
    messages: list[str] = field(default_factory=list)

    def add(self, text: str) -> int:
        """One more; how many are kept."""
        self.messages.append(text)
        del self.messages[: -self.longest]
        return len(self.messages)


class Store:
    """All topics."""

    def __init__(self, topics: dict[str, int]) -> None:
        self.topics = {name: Topic(longest) for name, longest in topics.items()}

    def last(self, name: str) -> str:
        """The last message of a topic; empty for none."""
        messages = self.topics[name].messages
        return messages[-1] if messages else ""
