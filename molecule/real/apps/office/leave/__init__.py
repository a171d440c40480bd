"""Requests for leave."""
