"""Watched files: a valid change takes effect, an invalid one does not, and the log says so."""

import asyncio
import os
import threading
from pathlib import Path

import pytest
from holdfast_server.trust.watched_file import InvalidFileError, Watched, watched

from tests.support.server_log import Records, recording


def number(data: bytes) -> int:
    if not data.isdigit():
        raise InvalidFileError(f"expected a number, got {data!r}")
    return int(data)


@pytest.fixture
async def records():
    with recording() as records:
        yield records


async def test_a_change_takes_effect(tmp_path: Path, records: Records):
    path = tmp_path / "file"
    path.write_text("1")
    async with watched(str(path), number, check_seconds=0.01) as file:
        assert file.value == 1
        path.write_text("2")
        assert await records.next() == "a changed file is in effect: "
        assert file.value == 2


async def test_an_exchanged_link_takes_effect_although_no_time_changes(tmp_path: Path, records: Records):
    for name in ("1", "2"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (1, 1))
    path = tmp_path / "link"
    path.symlink_to("1")
    async with watched(str(path), number, check_seconds=0.01) as file:
        (tmp_path / "next").symlink_to("2")
        (tmp_path / "next").replace(path)
        await records.next()
        assert file.value == 2


@pytest.mark.parametrize("broken", ["", "x", None])
async def test_a_broken_file_keeps_the_earlier_content_and_is_logged_once(
    tmp_path: Path, records: Records, broken: str | None
):
    path = tmp_path / "file"
    path.write_text("1")
    async with watched(str(path), number, check_seconds=0.01) as file:
        if broken is None:
            path.unlink()
        else:
            path.write_text(broken)
        logged = await records.next()
        assert logged.startswith("a changed file is invalid; its earlier content stays in effect: ")
        assert file.value == 1
        path.write_text("3")
        assert (await records.next()).startswith("a changed file is in effect")
        assert file.value == 3
    assert len(records.messages) == 2


async def test_a_fault_of_a_parser_is_logged_and_does_not_end_the_watching(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("1")
    with recording() as log:
        async with watched(str(path), int, check_seconds=0.01) as file:
            path.write_text("x")
            assert (await log.next()).startswith("a changed file is invalid; its earlier content stays in effect")
            assert file.value == 1
            path.write_text("2")
            assert (await log.next()).startswith("a changed file is in effect")
            assert file.value == 2


async def test_the_loop_runs_while_a_file_is_read_and_parsed(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("1")
    may_continue = threading.Event()

    def slow(data: bytes) -> int:
        assert may_continue.wait(30)
        return number(data)

    async def open_it() -> Watched[int]:
        async with watched(str(path), slow) as file:
            return file

    opening = asyncio.create_task(open_it())
    await asyncio.sleep(0)
    may_continue.set()
    assert (await opening).value == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "cannot read it: No such file"), ("x", "expected a number, got b'x'"), ("1" * (1 << 20) + "1", "at most")],
)
async def test_an_invalid_file_is_refused_at_the_start(tmp_path: Path, content: str | None, problem: str):
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidFileError, match=problem):
        async with watched(str(path), number):
            pass
