"""What templates can do."""


def loud(text: str) -> str:
    """In capitals."""
    return text.upper()
