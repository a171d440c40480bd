"""Twelve applications as people have them: what each is deployed with, and what is asked of it."""
