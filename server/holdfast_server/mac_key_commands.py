"""The commands `mac-key create`, `list`, `use` and `remove`: they write the file of keys that servers read at start."""

import json
import sys

from holdfast_server import stdio
from holdfast_server.changed_file import changing
from holdfast_server.config import ConfigError
from holdfast_server.keyed import mac_keys
from holdfast_server.protocol.format.macs import MacKey
from holdfast_server.trust.mac_keys import new_key, serialized


def create_key(path: str) -> int:
    """Add a new key to the file, and print its id. Only the first key of a file makes MACs. Return the exit code.

    Args:
        path: the file of keys; it is created if there is none.

    Raises:
        ConfigError: the file is invalid.
        OSError: the file cannot be written.

    """
    key = new_key()
    with changing(path, _read, serialized) as keys:
        keys.append(key)
        makes = len(keys) == 1
    sys.stdout.write(f"{key.key_id}\n")
    hint = "" if makes else f"; once all servers have it, let it make them by `mac-key use {key.key_id}`"
    stdio.write_stderr(f"key {key.key_id} {'makes and checks' if makes else 'checks'} MACs{hint}")
    return 0


def list_keys(path: str) -> int:
    """Print the id of each key of the file as a line of JSON, and whether it makes MACs. Return the exit code.

    Raises:
        ConfigError: the file is invalid.

    """
    for number, key in enumerate(_read(path)):
        sys.stdout.write(json.dumps({"id": key.key_id, "makes_macs": number == 0}) + "\n")
    return 0


def use_key(path: str, key_id: str) -> int:
    """Let a key of the file make MACs, once the servers are restarted; the others check them.

    Returns:
        The exit code: 0; 1 if there is no such key.

    Raises:
        ConfigError: the file is invalid.
        OSError: the file cannot be written.

    """
    with changing(path, _read, serialized) as keys:
        chosen = [key for key in keys if key.key_id == key_id]
        keys[:] = chosen + [key for key in keys if key.key_id != key_id]
    return 0 if chosen else _unknown(path, key_id)


def remove_key(path: str, key_id: str) -> int:
    """Remove a key from the file. Objects whose MAC it made count as damaged from the next start of a server on.

    Returns:
        The exit code: 0; 1 if there is no such key.

    Raises:
        ConfigError: the file is invalid, or the key makes MACs.
        OSError: the file cannot be written.

    """
    with changing(path, _read, serialized) as keys:
        if keys and keys[0].key_id == key_id:
            raise ConfigError(f"id: key {key_id} makes MACs: let another one make them first, by `mac-key use`")
        kept = [key for key in keys if key.key_id != key_id]
        is_known = len(kept) < len(keys)
        keys[:] = kept
    return 0 if is_known else _unknown(path, key_id)


def _unknown(path: str, key_id: str) -> int:
    stdio.write_stderr(f"holdfast-server: {path}: no key has the id {key_id!r}")
    return 1


def _read(path: str) -> list[MacKey]:
    return list(mac_keys(path))
