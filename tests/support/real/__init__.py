"""Twelve real-world applications: how each is deployed and tested."""
