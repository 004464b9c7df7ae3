"""A store in a folder: small objects in one SQLite database, large ones in files beside it."""

from holdfast_server.stores.file.folder import DATABASE, Access
from holdfast_server.stores.file.store import FileStore

__all__ = ["DATABASE", "Access", "FileStore"]
