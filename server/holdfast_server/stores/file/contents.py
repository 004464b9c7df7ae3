"""The table of contents: inserts values so that they fill its pages.

SQLite appends a row to the last page of the table if all of it fits there, and begins a page otherwise. With rows of
one or two kilobytes, a sixth of the pages would stay empty. So a value that does not fit is cut: its head fills the
page, and a second row has the rest. How much fits follows from SQLite's file format and from what was inserted before.
A prediction that is wrong wastes bytes, and nothing else.
"""

import sqlite3
from collections.abc import Sequence
from typing import TypeAlias

# The ids of the rows that have a value: one, or one for its head and one for the rest.
RowIds: TypeAlias = tuple[int, int | None]

_INSERT = "INSERT INTO contents (value) VALUES "
_DELETE = "DELETE FROM contents WHERE id IN (?, ?)"
# A row takes some 10 bytes beside its value, and a seek of each read.
_LEAST_HEAD_BYTES = 64
# See https://sqlite.org/fileformat.html#b_tree_pages.
_PAGE_HEADER_BYTES = 8
_POINTER_BYTES = 2
_OVERFLOW_POINTER_BYTES = 4
# A payload is whole on its page if the page is larger by this.
_LEAST_BESIDE_BYTES = 35
# The lengths and types before a value of less than a megabyte.
_MOST_HEADER_BYTES = 5


class Contents:
    """Inserts and deletes contents, within the transactions of one writer.

    Args:
        connection: the writer's connection.

    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        [self._page_bytes] = connection.execute("PRAGMA page_size").fetchone()
        # What the last page has free for cells and their pointers; None if that is not known.
        self._free_bytes: int | None = None
        self._next_id = 0
        self._data_version = -1

    def insert(self, values: Sequence[bytes]) -> list[RowIds]:
        """Insert values, and return the ids of their rows.

        Raises:
            sqlite3.Error: that failed.

        """
        [version] = self._connection.execute("PRAGMA data_version").fetchone()
        if version != self._data_version:
            # Another process has written.
            self.forget()
            self._data_version = version
        found: list[RowIds] = []
        if self._free_bytes is None:
            found.append((self._insert_one(values[0]), None))
        if len(found) < len(values):
            found += self._insert_all(values[len(found) :])
        return found

    def delete(self, ids: tuple[object, object]) -> None:
        """Delete the rows of a value.

        Raises:
            sqlite3.Error: that failed.

        """
        self.forget()
        self._connection.execute(_DELETE, ids)

    def forget(self) -> None:
        """Forget what is known of the last page: rows were deleted, or a transaction was rolled back."""
        self._free_bytes = None

    def _insert_one(self, value: bytes) -> int:
        """Insert a value whole, and find out whether it began a page."""
        before = self._count_pages()
        row_id = self._connection.execute(f"{_INSERT}(?)", (value,)).lastrowid
        assert row_id is not None
        self._next_id = row_id
        cell_bytes, overflow_pages = self._cell(len(value))
        if self._count_pages() - before > overflow_pages:
            self._free_bytes = self._page_bytes - _PAGE_HEADER_BYTES - cell_bytes
        self._next_id += 1
        return row_id

    def _insert_all(self, values: Sequence[bytes]) -> list[RowIds]:
        """Insert values by one statement."""
        rows: list[bytes] = []
        counts = []
        for value in values:
            head_bytes = self._head_bytes(len(value))
            pieces = [value[:head_bytes], value[head_bytes:]] if head_bytes else [value]
            for piece in pieces:
                self._take(len(piece))
            rows += pieces
            counts.append(len(pieces))
        last = self._connection.execute(_INSERT + ", ".join(["(?)"] * len(rows)), rows).lastrowid
        assert last is not None
        if last != self._next_id - 1:
            self.forget()
        ids = iter(range(last - len(rows) + 1, last + 1))
        return [(next(ids), next(ids) if count > 1 else None) for count in counts]

    def _head_bytes(self, size: int) -> int:
        """Return how many bytes of a value are to fill the last page; 0 if it is not cut."""
        free = self._free_bytes
        if free is None or free < _LEAST_HEAD_BYTES or self._cell(size)[0] <= free:
            return 0
        # What a row takes beside its value depends on the value's size.
        head = min(free, self._page_bytes - _LEAST_BESIDE_BYTES - _MOST_HEADER_BYTES)
        while (excess := self._cell(head)[0] - free) > 0:
            head -= excess
        return head if head >= _LEAST_HEAD_BYTES else 0

    def _take(self, size: int) -> None:
        """Note that a value of a size is the next row."""
        if self._free_bytes is not None:
            cell_bytes, _ = self._cell(size)
            if cell_bytes > self._free_bytes:
                self._free_bytes = self._page_bytes - _PAGE_HEADER_BYTES
            self._free_bytes -= cell_bytes
        self._next_id += 1

    def _cell(self, size: int) -> tuple[int, int]:
        """Return what the next row takes of a page, with its pointer, and how many overflow pages it needs."""
        usable = self._page_bytes
        # A record: its header's length, the types of id and value, and the value.
        payload = 2 + _varint_bytes(2 * size + 12) + size
        local, overflow_pages = payload, 0
        if payload > usable - _LEAST_BESIDE_BYTES:
            least = (usable - 12) * 32 // 255 - 23
            local = least + (payload - least) % (usable - _OVERFLOW_POINTER_BYTES)
            if local > usable - _LEAST_BESIDE_BYTES:
                local = least
            overflow_pages = -(-(payload - local) // (usable - _OVERFLOW_POINTER_BYTES))
            local += _OVERFLOW_POINTER_BYTES
        return _varint_bytes(payload) + _varint_bytes(self._next_id) + local + _POINTER_BYTES, overflow_pages

    def _count_pages(self) -> int:
        """Return how many pages of the database are used."""
        [pages] = self._connection.execute("PRAGMA page_count").fetchone()
        [unused] = self._connection.execute("PRAGMA freelist_count").fetchone()
        return int(pages) - int(unused)


def _varint_bytes(number: int) -> int:
    return max(1, -(-number.bit_length() // 7))
