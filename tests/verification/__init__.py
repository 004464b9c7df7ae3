"""Searches for violations of the guarantees. Each suite also shows that it notices planted defects."""
