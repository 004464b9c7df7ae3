"""Damage to the objects of a folder store."""

import base64
import os
from pathlib import Path

from tests.support import folder_objects


def long_text() -> str:
    """Return a text that has a blob of its own, since it has nothing in common with others and hardly compresses."""
    return base64.b64encode(os.urandom(100_000)).decode()


def damage_newest(folder: Path) -> None:
    """Flip a byte of the newest blob."""
    damage(folder, folder_objects.by_age(folder, "ns/*/wf/*/blob/*")[-1])


def damage_all(folder: Path, workflow_id: str) -> None:
    """Flip a byte of each blob of a workflow."""
    for key in folder_objects.keys(folder, f"ns/*/wf/{workflow_id}/blob/*"):
        damage(folder, key)


def damage_marker(folder: Path, newer: int = 0) -> None:
    """Flip a byte of a commit marker in a store with one workflow.

    A server that has read the marker keeps it in memory: only another server finds the damage.

    Args:
        folder: the store.
        newer: how many markers are newer than this one.

    """
    damage(folder, folder_objects.keys(folder, "ns/*/wf/*/log/*")[newer])


def damage_newest_marker(folder: Path, workflow_id: str) -> None:
    """Flip a byte of the newest commit marker of a workflow. A server that has read it does not notice."""
    damage(folder, folder_objects.keys(folder, f"ns/*/wf/{workflow_id}/log/*")[0])


def damage(folder: Path, key: str) -> None:
    """Flip a byte of an object."""
    data = bytearray(folder_objects.read(folder, key))
    data[len(data) // 2] ^= 1
    folder_objects.write(folder, key, bytes(data))
