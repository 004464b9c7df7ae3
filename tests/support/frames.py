"""Frames around markers, encoded and checked without the server's code."""

import struct

HEAD = struct.Struct(">4sHHII")


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """Compute CRC-32C by the textbook's algorithm."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def frame(body: bytes, version: int = 1, reserved: int = 0) -> bytes:
    """Return a frame around a body."""
    return HEAD.pack(b"HFMK", version, reserved, len(body), crc32c(body)) + body


def newest(stored: bytes, key: str, *, flags: int = 0) -> bytes:
    """Return the frame of version 2 around a stored body."""
    head = struct.pack(">4sHHI", b"HFMK", 2, flags, len(stored))
    return head + crc32c(head + key.encode() + stored).to_bytes(4) + stored


def is_whole(data: bytes) -> bool:
    """Return whether this is an undamaged frame of version 1."""
    return len(data) >= HEAD.size and data == frame(data[HEAD.size :])
