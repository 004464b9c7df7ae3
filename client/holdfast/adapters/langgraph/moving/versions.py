"""Versions of channels as a saver needs them.

Versions of HoldfastSaver are integers. Other savers have text, a number and a random fraction, and some of them keep
the value of a channel once for each version. Two forks of a thread may have the same integer for different values, so
the fraction is made from the value.
"""

from hashlib import sha256
from typing import Any

from holdfast.adapters.langgraph.moving.exact import ExactSerializer

_EXACT = ExactSerializer()
_DIGITS = 16
_NO_VALUE = "0" * _DIGITS


def converted(checkpoint: Any, saver: Any) -> Any:
    """Return a checkpoint with versions of the saver's type. It is the same one if they have that type."""
    versions = checkpoint["channel_versions"]
    if not isinstance(saver.get_next_version(None, None), str):
        return checkpoint
    if not any(isinstance(version, int) for version in versions.values()):
        return checkpoint
    values = checkpoint["channel_values"]
    current = {channel: _text(version, channel in values, values.get(channel)) for channel, version in versions.items()}
    seen = {
        node: {
            channel: current[channel] if version == versions.get(channel) else _text(version, False, None)
            for channel, version in of_node.items()
        }
        for node, of_node in checkpoint["versions_seen"].items()
    }
    return {**checkpoint, "channel_versions": current, "versions_seen": seen}


def _text(version: Any, has_value: bool, value: Any) -> Any:
    if not isinstance(version, int):
        return version
    if not has_value:
        return f"{version:032}.{_NO_VALUE}"
    kind, data = _EXACT.dumps_typed(value)
    number = int.from_bytes(sha256(kind.encode() + b"\0" + data).digest()[:8])
    return f"{version:032}.{number % 10**_DIGITS:0{_DIGITS}}"
