"""What templates can do."""

from django import template

register = template.Library()


@register.filter
def loud(text: str) -> str:
    """In capitals."""
    return text.upper()
