"""A fleet without hosts: what a deploy with nothing to do costs the controller."""
