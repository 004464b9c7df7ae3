"""A store of each durable kind, as a server is told of it."""

from tests.e2e.conftest import store_url

__all__ = ["store_url"]
