"""What is kept of posts."""

from django.db import models


class Post(models.Model):
    """One of them."""

    title = models.CharField(max_length=80)
    text = models.TextField(default="")
    likes = models.PositiveIntegerField(default=0)

    class Meta:
        """How they are listed."""

        ordering = ["id"]

    def __str__(self) -> str:
        return self.title

    def summary(self) -> str:
        """Its beginning."""
        return self.text[:10]
