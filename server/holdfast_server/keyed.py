"""Opens the layout of a store with the keys for MACs that the settings name."""

import asyncio
from collections.abc import Sequence

from holdfast_server.config import Config, ConfigError
from holdfast_server.protocol.format.keyed_store import KeyedStore
from holdfast_server.protocol.format.macs import MacKey
from holdfast_server.protocol.format.manifest import Layout, open_layout
from holdfast_server.stores.base import ObjectStore
from holdfast_server.trust.mac_keys import read_keys
from holdfast_server.trust.watched_file import InvalidFileError


def mac_keys(path: str) -> Sequence[MacKey]:
    """Return the keys of a file; none if there is no file.

    Raises:
        ConfigError: the file is invalid.

    """
    try:
        return read_keys(path) if path else ()
    except InvalidFileError as error:
        raise ConfigError(f"mac_keys_file: {path!r}: {error}") from None


async def open_keyed(store: ObjectStore, config: Config, *, must_exist: bool = False) -> tuple[ObjectStore, Layout]:
    """Open the layout of a store.

    Args:
        store: the store.
        config: the settings.
        must_exist: whether to refuse a place without a store.

    Returns:
        The store, which makes and checks MACs if the settings name keys, and its layout.

    Raises:
        ConfigError: the file of keys is invalid.
        HoldfastError: LAYOUT_UNSUPPORTED, CHECKPOINT_CORRUPTED, as for `open_layout`.
        NoStoreError: the place has no store, and must have one.
        StoreError: the store cannot be used.

    """
    keys = await asyncio.to_thread(mac_keys, config.mac_keys_file)
    layout = await open_layout(store, grace_seconds=config.grace_seconds, must_exist=must_exist, mac_keys=keys)
    return (store if layout.macs is None else KeyedStore(store, layout.macs)), layout
