"""Damage done to what lies in a folder store."""

from pathlib import Path


def damage_newest(folder: Path) -> None:
    """Flip a byte of the blob that was written last."""
    blobs = [path for path in folder.glob("ns/*/wf/*/blob/**/*") if path.is_file()]
    newest = max(blobs, key=lambda path: path.stat().st_mtime_ns)
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
