"""The models in the admin."""

from django.contrib import admin

from leave.models import Request

admin.site.register(Request)
