"""Damage done to what lies in a folder store."""

from pathlib import Path


def damage_newest(folder: Path) -> None:
    """Flip a byte of the blob that was written last."""
    _damage(max(_blobs(folder, "*"), key=lambda path: path.stat().st_mtime_ns))


def damage_all(folder: Path, workflow_id: str) -> None:
    """Flip a byte of each blob of a workflow."""
    for blob in _blobs(folder, workflow_id):
        _damage(blob)


def _blobs(folder: Path, workflow_id: str) -> list[Path]:
    return [path for path in folder.glob(f"ns/*/wf/{workflow_id}/blob/**/*") if path.is_file()]


def _damage(blob: Path) -> None:
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
