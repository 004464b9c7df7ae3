"""A disk that fails, is full or read-only, and descriptors that run out: each strikes a real server, then ends.

The caller gets an error that names the cause. Acknowledged saves stay, the next save works, and no revision is given
twice.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import holdfast
import pytest
from holdfast_server.stores.file.folder import DATABASE, WAL

from tests.support.required import require
from tests.verification.crash import troubles
from tests.verification.crash.mounts import on_mounts
from tests.verification.crash.troubles import Served, serving

FORMAT = holdfast.Format("test", 1)
# Sizes of payloads. All are of random bytes, so that none is stored as a delta.
SMALL = 1000
LARGE = 2_000_000
# About as much as a row of the database holds.
LARGEST_ROW = 250_000
MIB = 1 << 20
# Long enough for an attempt and a retry that fail at once.
SECONDS = 2.0
_ATTEMPTS = 5


class Ledger:
    """A client that saves and keeps account of the acknowledged saves."""

    def __init__(self, served: Served) -> None:
        self._client = served.client
        self._acknowledged: dict[int, bytes] = {}
        self._attempts = 0

    def goes_on(self, served: Served) -> None:
        """Use another server of the same store from now on."""
        self._client = served.client

    def save(self, size: int, timeout: float = 20.0) -> None:
        """Save a payload of a size that begins with its number."""
        self._attempts += 1
        numbered = b"%d " % self._attempts + random.Random(self._attempts).randbytes(size)
        saved = self._client.save("n", "w", numbered, format=FORMAT, timeout=timeout)
        assert saved.revision not in self._acknowledged, "a revision was given twice"
        self._acknowledged[saved.revision] = numbered

    def is_refused(self, size: int, *words: str) -> holdfast.HoldfastError:
        """Require that a save fails with a message that has some words. Return the error.

        On a busy machine the deadline may pass in the middle of an attempt, which says nothing: then it saves again.
        """
        for _ in range(_ATTEMPTS):
            with pytest.raises(holdfast.HoldfastError) as refused:
                self.save(size, SECONDS)
            error = refused.value
            if error.reason != "DEADLINE_EXCEEDED" and all(word in error.message for word in words):
                return error
        raise error

    def require_newest(self, client: holdfast.Client) -> None:
        """Check that the newest acknowledged save can be loaded."""
        assert client.load("n", "w").data == self._acknowledged[max(self._acknowledged)]

    def require_all(self) -> None:
        """Check that every acknowledged save is there, and nothing that was never sent."""
        listed = {each.revision: each.checkpoint_id for each in self._client.list("n", "w")}
        assert self._acknowledged.keys() <= listed.keys()
        for revision, checkpoint_id in listed.items():
            data = self._client.load("n", "w", checkpoint_id).data
            assert data == self._acknowledged.get(revision, data)
            assert 0 < int(data.partition(b" ")[0]) <= self._attempts


@contextmanager
def working_again(served: Served) -> Iterator[Ledger]:
    """Save before the block and after it, and check that everything is well again."""
    ledger = Ledger(served)
    ledger.save(SMALL)
    ledger.save(LARGE)
    yield ledger
    ledger.save(SMALL)
    ledger.save(LARGE)
    ledger.require_all()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "disk" / "store") as served:
        yield served


@pytest.fixture(params=["tmpfs", "ext4"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path, mounting: None) -> list[str]:
    """A command that runs a server with a disk on which about twice the reserve is left."""
    mount = tmp_path / "disk"
    mount.mkdir()
    if request.param == "tmpfs":
        return on_mounts(("-t", "tmpfs", "-o", "size=80m", "none", str(mount)))
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(96 * MIB)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    within = on_mounts(("-o", "loop,errors=remount-ro", str(image), str(mount)))
    probe = subprocess.run([*within, "true"], capture_output=True, text=True, check=False)
    require("" if probe.returncode == 0 else f"no file can be mounted: {probe.stderr.strip()}")
    return within


@pytest.fixture
def on_small_disk(small_disk: list[str], tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "disk" / "store", within=small_disk) as served:
        yield served


# Reads, writes and syncs that fail.


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_a_commit_that_the_disk_fails_is_never_acknowledged(call, served):
    log = served.path / WAL
    with working_again(served) as ledger, troubles.failing(served.pid, f"{call}:error=EIO", path=log):
        error = ledger.is_refused(SMALL, "could not be learned", "I/O error", "IOERR")
        assert error.reason == "COMMIT_UNKNOWN"
        # The commit is that of the blob. The marker was not written.
        error = ledger.is_refused(LARGE, "I/O error", "IOERR")
        assert error.reason == "STORE_UNAVAILABLE"


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_a_blob_that_cannot_be_made_durable_is_refused(call, served):
    with working_again(served) as ledger, troubles.failing(served.pid, f"{call}:error=EIO"):
        error = ledger.is_refused(LARGE, "I/O error", "EIO")
        assert error.reason == "STORE_UNAVAILABLE"


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_a_checkpoint_of_the_log_that_the_disk_fails_loses_nothing(call, served):
    with working_again(served) as ledger:
        with troubles.failing(served.pid, f"{call}:error=EIO", path=served.path / DATABASE):
            while (served.store / WAL).stat().st_size < 6 * MIB:
                ledger.save(LARGEST_ROW)
            if call == "pwrite64":
                assert (served.store / DATABASE).stat().st_size < MIB
        ledger.require_all()
        while (served.store / DATABASE).stat().st_size < 6 * MIB:
            ledger.save(LARGEST_ROW)


@pytest.mark.usefixtures("strace")
def test_a_disk_that_cannot_be_read_is_named(served):
    with working_again(served), troubles.failing(served.pid, "pread64:error=EIO"):
        # SQLite mostly reports a page that cannot be read as a damaged one.
        with pytest.raises((holdfast.StoreUnavailableError, holdfast.CheckpointCorruptedError)) as failed:
            served.client.load("n", "w", timeout=SECONDS)
        assert any(words in failed.value.message for words in ("I/O error", "a damaged page"))


# A disk that is full.


def test_a_full_disk_is_named(on_small_disk):
    with working_again(on_small_disk) as ledger:
        filler = troubles.fill(on_small_disk.store.parent)
        for size in (SMALL, LARGE):
            error = ledger.is_refused(size, "the disk is full")
            assert error.reason == "STORE_UNAVAILABLE"
        ledger.require_newest(on_small_disk.client)
        filler.unlink()


def test_a_save_that_fills_the_disk_frees_its_space_when_it_fails(on_small_disk):
    with working_again(on_small_disk):
        free = free_bytes(on_small_disk.store)
        # An attempt that the deadline cuts off keeps its upload for a retry: let there be one attempt, in enough time.
        once = holdfast.RetryPolicy(burst_retries=0, retries_per_second=0)
        with (
            holdfast.Client(on_small_disk.target, retry=once) as client,
            pytest.raises(holdfast.StoreUnavailableError, match="the disk is full"),
        ):
            client.save("n", "w", bytes(free + MIB), format=FORMAT)
        wait_until(lambda: free_bytes(on_small_disk.store) > free - MIB)


def test_deletions_and_collections_free_a_full_disk(on_small_disk):
    client = on_small_disk.client
    for number in range(3):
        client.save("n", f"large{number}", bytes(12 * MIB), format=FORMAT)
    client.save("n", "w", bytes(SMALL), format=FORMAT, checkpoint_id="first")
    client.save("n", "w", bytes(SMALL), format=FORMAT, checkpoint_id="second")
    filler = troubles.fill(on_small_disk.store.parent)
    with pytest.raises(holdfast.StoreUnavailableError, match="the disk is full"):
        client.save("n", "w", bytes(SMALL), format=FORMAT, timeout=SECONDS)
    client.delete("n", "w", "first")
    # The space that the deletion freed is not for saves.
    with pytest.raises(holdfast.StoreUnavailableError, match="the disk is full"):
        client.save("n", "w", bytes(SMALL), format=FORMAT, timeout=SECONDS)
    assert client.prune("n", "w", keep_last=1) == 0
    for number in range(3):
        client.delete_workflow("n", f"large{number}")
    command = [sys.executable, "-m", "holdfast_server.main", "gc", "--store", on_small_disk.store.as_uri()]
    within = ["nsenter", "--mount", f"--target={on_small_disk.pid}"]
    for _ in range(2):
        done = subprocess.run(
            [*within, *command, "--shorter-grace-seconds=0"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "a retry may commit a second time" in done.stderr
    assert client.save("n", "w", bytes(SMALL), format=FORMAT).revision > 2
    filler.unlink()


# A disk in memory ends with its server.
@pytest.mark.parametrize("small_disk", ["ext4"], indirect=True)
def test_a_server_starts_on_a_full_disk_and_loads(small_disk, tmp_path):
    path = tmp_path / "disk" / "store"
    with serving(path, within=small_disk) as served:
        ledger = Ledger(served)
        ledger.save(SMALL)
        troubles.fill(served.store.parent)
    with serving(path, within=small_disk) as served:
        ledger.require_newest(served.client)
        # The end of the first server freed the space of its log.
        troubles.fill(served.store.parent)
        ledger.goes_on(served)
        ledger.is_refused(SMALL, "the disk is full")
        (served.store.parent / "filler").unlink()
        ledger.save(SMALL)
        ledger.require_all()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that sends no event, for less time than an upload is kept for a retry."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def free_bytes(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bfree * status.f_bsize


# A disk that is read-only.


@pytest.mark.parametrize("small_disk", ["ext4"], indirect=True)
def test_a_disk_that_became_read_only_is_named_and_still_read(small_disk, tmp_path):
    path = tmp_path / "disk" / "store"
    with serving(path, within=small_disk) as served:
        ledger = Ledger(served)
        ledger.save(SMALL)
        ledger.save(LARGE)
        troubles.make_read_only(served)
        for size, reasons in ((SMALL, {"COMMIT_UNKNOWN"}), (LARGE, {"STORE_ACCESS_DENIED"})):
            assert ledger.is_refused(size).reason in reasons
        ledger.require_newest(served.client)
    with serving(path, within=small_disk) as served:
        ledger.goes_on(served)
        ledger.save(SMALL)
        ledger.require_all()


# Descriptors that run out.


def test_too_many_open_files_are_named_and_small_objects_need_none(served):
    with working_again(served) as ledger, troubles.too_many_open_files(served.pid):
        error = ledger.is_refused(LARGE, "too many open files", "EMFILE")
        assert error.reason == "STORE_UNAVAILABLE"
        with pytest.raises(holdfast.HoldfastError, match="too many open files"):
            served.client.load("n", "w", timeout=SECONDS)
        ledger.save(SMALL)
        ledger.require_newest(served.client)


# A folder that is taken away.


@pytest.mark.parametrize("is_replaced", [False, True], ids=["moved", "replaced"])
def test_a_folder_that_is_taken_away_takes_no_save_and_its_server_is_not_ready(is_replaced, tmp_path):
    path, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    with serving(path) as served:
        ledger = Ledger(served)
        ledger.save(SMALL)
        path.rename(elsewhere)
        if is_replaced:
            shutil.copytree(elsewhere, path)
        for size in (SMALL, LARGE):
            ledger.is_refused(size, "replaced")
        wait_until(lambda: not served.is_ready())
    shutil.rmtree(path, ignore_errors=True)
    elsewhere.rename(path)
    with serving(path) as served:
        ledger.goes_on(served)
        ledger.save(SMALL)
        ledger.require_all()
