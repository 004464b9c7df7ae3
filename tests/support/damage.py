"""Damage to the objects of a folder store."""

from pathlib import Path


def damage_newest(folder: Path) -> None:
    """Flip a byte of the newest blob."""
    _damage(max(_blobs(folder, "*"), key=lambda path: path.stat().st_mtime_ns))


def damage_all(folder: Path, workflow_id: str) -> None:
    """Flip a byte of each blob of a workflow."""
    for blob in _blobs(folder, workflow_id):
        _damage(blob)


def damage_marker(folder: Path, newer: int = 0) -> None:
    """Flip a byte of a commit marker in a store with one workflow.

    A server that has read the marker keeps it in memory: only another server finds the damage.

    Args:
        folder: the store.
        newer: how many markers are newer than this one.

    """
    markers = sorted(path for path in folder.glob("ns/*/wf/*/log/**/*") if path.is_file())
    markers[newer].chmod(0o600)
    _damage(markers[newer])


def damage_newest_marker(folder: Path, workflow_id: str) -> None:
    """Flip a byte of the newest commit marker of a workflow. A server that has read it does not notice."""
    newest = min(path for path in folder.glob(f"ns/*/wf/{workflow_id}/log/**/*") if path.is_file())
    newest.chmod(0o600)
    _damage(newest)


def _blobs(folder: Path, workflow_id: str) -> list[Path]:
    return [path for path in folder.glob(f"ns/*/wf/{workflow_id}/blob/**/*") if path.is_file()]


def _damage(blob: Path) -> None:
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
