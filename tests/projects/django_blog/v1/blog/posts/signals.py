"""What is done when something is saved."""

from django.db.models.signals import post_save
from django.dispatch import receiver

from .models import Post

saved: list[str] = []


@receiver(post_save, sender=Post)
def remember(sender: type[Post], instance: Post, **_: object) -> None:
    """What was saved last."""
    saved.append(instance.title)
