"""A Django project as `django-admin startproject` makes it."""
