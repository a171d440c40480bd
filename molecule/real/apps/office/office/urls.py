"""The project's pages."""

from django.contrib import admin
from django.urls import path
from leave import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("healthz", views.health),
    path("", views.index),
    path("export", views.export),
]
