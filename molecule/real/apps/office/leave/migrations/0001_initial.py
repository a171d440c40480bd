"""The first table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Create the table of requests."""

    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="Request",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                ("days", models.PositiveIntegerField()),
                ("note", models.FileField(blank=True, upload_to="notes")),
            ],
        ),
    )
