"""Migrations of the data base."""
