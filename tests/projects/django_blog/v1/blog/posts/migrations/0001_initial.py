"""The first tables."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Posts."""

    initial = True
    operations = [
        migrations.CreateModel(
            name="Post",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("title", models.CharField(max_length=80)),
                ("text", models.TextField(default="")),
                ("likes", models.PositiveIntegerField(default=0)),
            ],
            options={"ordering": ["id"]},
        ),
    ]
