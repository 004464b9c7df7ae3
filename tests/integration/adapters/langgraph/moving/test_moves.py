"""Graphs that move from another saver to Holdfast, and back."""

import pytest
from holdfast.adapters.langgraph import export_threads, import_threads

from tests.integration.adapters.langgraph.moving.graphs import Threads
from tests.integration.adapters.langgraph.moving.others import KINDS


@pytest.mark.parametrize("kind", KINDS)
async def test_a_thread_that_moves_in_goes_on_as_it_would_have(kind, other, threads, saver):
    await other.play("t")
    report = await import_threads(other.saver, saver)
    assert (report.items, report.failed) == (1, 0), report.problems
    assert report.read == report.written == report.verified > 10
    assert await threads.described("t") == await other.described("t")
    ended, expected = await threads.resume("t", "d"), await other.resume("t", "d")
    assert _in_order(ended, kind) == _in_order(expected, kind)
    ours, theirs = await threads.described("t"), await other.described("t")
    assert _ignoring_ids(ours, kind) == _ignoring_ids(theirs, kind)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_thread_that_moves_out_goes_on_as_it_would_have(kind, other, threads, saver):
    await threads.play("t")
    report = await export_threads(saver, other.saver)
    assert (report.items, report.failed) == (1, 0), report.problems
    assert report.read == report.written == report.verified > 10
    assert await other.described("t") == await threads.described("t")
    ended, expected = await other.resume("t", "d"), await threads.resume("t", "d")
    assert ended == expected
    assert _ignoring_ids(await other.described("t"), kind) == _ignoring_ids(await threads.described("t"), kind)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_thread_that_moves_in_and_out_again_is_the_same(kind, other, saver, tmp_path):
    await other.play("t")
    await import_threads(other.saver, saver)
    # Verified against what is there: nothing is written.
    report = await export_threads(saver, other.saver)
    assert (report.failed, report.written, report.verified) == (0, 0, report.present), report.problems
    async with KINDS["sqlite"].opened(str(tmp_path / "copy.db")) as copy:
        report = await export_threads(saver, copy)
        assert (report.failed, report.written) == (0, report.verified), report.problems
        assert await Threads(copy, is_asynchronous=False).described("t") == await other.described("t")


def _ignoring_ids(described, kind):
    """Return a description without what is new in each run: ids and times."""
    return [{"values": _in_order(each["values"], kind), "next": each["next"]} for each in described]


def _in_order(values, kind):
    """Return values of which a saver that does not return the paths of tasks does not keep the order."""
    return values | {"notes": sorted(values["notes"])} if kind == "foreign" and "notes" in values else values
