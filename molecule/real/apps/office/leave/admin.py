"""What the admin shows."""

from django.contrib import admin

from leave.models import Request

admin.site.register(Request)
