"""The data of a request for leave."""

from django.db import models


class Request(models.Model):
    """A request for leave, and the note that came with it."""

    name = models.CharField(max_length=100)
    days = models.PositiveIntegerField()
    note = models.FileField(upload_to="notes", blank=True)

    def __str__(self) -> str:
        """Return who asks for how many days."""
        return f"{self.name}: {self.days}"
