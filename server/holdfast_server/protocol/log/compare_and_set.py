"""Compare-and-set: which entries since a revision stand against a request that expects that revision.

A request that expects a revision is about checkpoints. These entries stand against it:

- a save, by any writer, even if it was deleted since;
- the deletion of the whole workflow, which counts as a save of nothing, so that a deleted run cannot continue;
- a fence, unless it gave the epoch that the request carries.

Deletions of checkpoints, prunes and collections do not.

The head alone decides, since its fields are cumulative. A head that an older server wrote lacks them: everything up to
it counts as saves and fences of other writers.
"""

from holdfast_server.layout.v1.marker_pb2 import Marker
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.log.entry import Entry


def carry(marker: Marker, head: Entry | None) -> None:
    """Carry over from a head which entries were the last saves and fences."""
    if head is None:
        marker.last_save_revision = 0
    elif head.marker.HasField("last_save_revision"):
        before = head.marker
        marker.last_save_revision = before.last_save_revision
        marker.last_save_epoch = before.last_save_epoch
        marker.last_other_save_revision = before.last_other_save_revision
        marker.last_fence_revision = before.last_fence_revision
        marker.previous_fence_revision = before.previous_fence_revision
    else:
        assume_all(marker, head.revision)


def assume_all(marker: Marker, revision: int) -> None:
    """Count every entry up to a revision as a save and a fence of another writer, since nothing is known of them."""
    marker.last_save_revision = marker.last_other_save_revision = revision
    marker.last_fence_revision = marker.previous_fence_revision = revision
    marker.last_save_epoch = 0


def enter_save(marker: Marker) -> None:
    """Enter a marker as its own newest save. A save without an epoch counts as another writer's for everybody."""
    if not marker.writer_epoch or marker.writer_epoch != marker.last_save_epoch:
        marker.last_other_save_revision = marker.last_save_revision
    marker.last_save_revision = marker.revision
    marker.last_save_epoch = marker.writer_epoch


def enter_fence(marker: Marker) -> None:
    """Enter a marker as its own newest fence."""
    marker.previous_fence_revision = marker.last_fence_revision
    marker.last_fence_revision = marker.revision


def require(head: Entry | None, expected: int | None, epoch: int | None) -> None:
    """Check that nothing since the expected revision stands against a request.

    Args:
        head: the head.
        expected: the revision that the request expects; 0 to expect that no checkpoint exists; None for any.
        epoch: the epoch that the request carries; None if it carries none.

    Raises:
        HoldfastError: REVISION_CONFLICT. Its metadata has the newest save and its epoch (0 for none), and the newest
            save under any other epoch, so that a writer can see whether all saves since were its own.

    """
    revision = 0 if head is None else head.revision
    if expected in (None, revision) or (expected == 0 and is_empty(head)):
        return
    if head is None or not head.marker.HasField("last_save_revision"):
        raise _conflict(expected, revision, f"the head is revision {revision}")
    marker = head.marker
    known = {
        "last_save_revision": marker.last_save_revision,
        "last_save_epoch": marker.last_save_epoch,
        "last_other_save_revision": marker.last_other_save_revision,
    }
    if not 0 < expected < revision:
        raise _conflict(expected, revision, f"the head is revision {revision}", **known)
    if marker.last_save_revision > expected:
        by = f"with epoch {marker.last_save_epoch}" if marker.last_save_epoch else "without an epoch"
        what = "saved to" if marker.last_data_revision >= marker.last_save_revision else "saved to or deleted"
        raise _conflict(
            expected, revision, f"the workflow was {what} at revision {marker.last_save_revision}, {by}", **known
        )
    # The newest fence gave the head's epoch.
    newest_foreign = marker.previous_fence_revision if epoch == marker.epoch else marker.last_fence_revision
    if newest_foreign > expected:
        raise _conflict(expected, revision, f"another writer was acquired at revision {newest_foreign}", **known)


def is_empty(head: Entry | None) -> bool:
    """Return whether the workflow has no checkpoint; its log may have other entries."""
    return head is None or head.marker.last_data_revision <= head.marker.floor


def _conflict(expected: int | None, revision: int, why: str, **known: int) -> HoldfastError:
    return HoldfastError(
        Reason.REVISION_CONFLICT,
        f"expected revision {expected}, {why}",
        expected_revision=expected,
        head_revision=revision,
        **known,
    )
