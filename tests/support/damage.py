"""Damage done to what lies in a folder store."""

from pathlib import Path


def damage_newest(folder: Path) -> None:
    """Flip a byte of the blob that was written last."""
    _damage(max(_blobs(folder, "*"), key=lambda path: path.stat().st_mtime_ns))


def damage_all(folder: Path, workflow_id: str) -> None:
    """Flip a byte of each blob of a workflow."""
    for blob in _blobs(folder, workflow_id):
        _damage(blob)


def damage_marker(folder: Path, newer: int = 0) -> None:
    """Flip a byte of the commit marker that so many are newer than, of a store with one workflow.

    A server that has read it keeps it in memory: only another one meets the damage.
    """
    markers = sorted(path for path in folder.glob("ns/*/wf/*/log/**/*") if path.is_file())
    markers[newer].chmod(0o600)
    _damage(markers[newer])


def damage_newest_marker(folder: Path, workflow_id: str) -> None:
    """Flip a byte of the newest commit marker of a workflow. A server that has read it keeps it in memory."""
    newest = min(path for path in folder.glob(f"ns/*/wf/{workflow_id}/log/**/*") if path.is_file())
    newest.chmod(0o600)
    _damage(newest)


def _blobs(folder: Path, workflow_id: str) -> list[Path]:
    return [path for path in folder.glob(f"ns/*/wf/{workflow_id}/blob/**/*") if path.is_file()]


def _damage(blob: Path) -> None:
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
