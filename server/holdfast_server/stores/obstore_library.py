"""The library obstore, which is an extra: modules that need it import it from here."""

from holdfast_server.stores.base import StoreSettingsError

try:
    import obstore
    import obstore.exceptions
    import obstore.store
except ImportError as error:
    raise StoreSettingsError(
        "this store needs obstore, which is not installed: pip install 'holdfast-server[obstore]'"
    ) from error

__all__ = ["obstore"]
