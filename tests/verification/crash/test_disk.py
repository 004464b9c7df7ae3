"""The model of a disk believes a sync exactly where Linux lets a program believe it."""

from collections.abc import Callable

import pytest

from tests.verification.crash.disk import Descriptor, Disk, File, Folder, Node

# The moments of a run, in order.
OPENED, FAILED, LATER = 1.0, 2.0, 3.0


def written(disk: Disk, file: File) -> None:
    for edit in disk.write(file, 0, b"page"):
        edit.has_ended = True


def named(disk: Disk, folder: Folder) -> None:
    disk.change(folder, "name", File(0, 0)).has_ended = True


def is_kept(node: Node) -> bool:
    return node.kept == b"page" if isinstance(node, File) else "name" in node.kept


def is_synced(disk: Disk, by: Descriptor) -> bool:
    disk.end_sync(disk.begin_sync(by))
    return is_kept(by.node)


@pytest.fixture(params=[(File, written), (Folder, named)], ids=["content", "names"])
def kind(request: pytest.FixtureRequest) -> tuple[type[Node], Callable[[Disk, Node], None]]:
    """A kind of node, and a function that changes one."""
    return request.param


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def failed(disk, kind) -> Descriptor:
    """The descriptor of a changed node, by which a sync has failed."""
    of, change = kind
    descriptor = Descriptor(File(0, 0) if of is File else Folder(), OPENED)
    change(disk, descriptor.node)
    disk.fail_sync(disk.begin_sync(descriptor), FAILED)
    return descriptor


def test_a_failed_sync_keeps_nothing(failed):
    assert not is_kept(failed.node)


def test_a_sync_that_is_attempted_again_does_not_cover_what_a_failed_one_dropped(disk, failed):
    assert not is_synced(disk, failed)


def test_a_sync_by_a_descriptor_that_was_opened_later_does_not_cover_it(disk, failed):
    assert not is_synced(disk, Descriptor(failed.node, LATER))


def test_a_sync_by_another_descriptor_that_was_open_covers_it_since_it_got_no_error(disk, failed):
    assert is_synced(disk, Descriptor(failed.node, OPENED))


def test_a_descriptor_with_a_failure_of_its_own_is_not_believed_because_of_another_one(disk, failed):
    other = Descriptor(failed.node, OPENED)
    disk.fail_sync(disk.begin_sync(other), FAILED)
    assert not is_synced(disk, other)
    assert not is_synced(disk, failed)


def test_no_descriptor_of_the_next_process_covers_what_a_sync_of_a_stopped_one_dropped(disk, failed):
    changes = failed.node.edits if isinstance(failed.node, File) else failed.node.changes
    for change in changes:
        change.outlive_process()
    # Each record counts its moments from the beginning.
    assert not is_synced(disk, Descriptor(failed.node, 0.0))


def test_a_change_that_is_made_again_is_covered(disk, kind, failed):
    _, change = kind
    change(disk, failed.node)
    assert is_synced(disk, failed)
