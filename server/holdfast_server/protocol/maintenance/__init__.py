"""Maintenance: garbage collection, checks and repair."""
