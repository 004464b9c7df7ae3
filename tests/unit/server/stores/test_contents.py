"""Values fill the pages of the table of contents, and are what was inserted, whatever is known of its last page."""

import random
import sqlite3
from contextlib import closing

from holdfast_server.stores.file.contents import Contents
from hypothesis import example, given, settings
from hypothesis import strategies as st

# What a page may have left: less than a head is worth, and the bytes of a row beside its value.
MOST_UNUSED = 64 + 16
SIZES = st.integers(0, 300) | st.integers(0, 9_000) | st.integers(0, 60_000)


class Table:
    """A table of contents and the values that it should have."""

    def __init__(self, path, page_bytes=4096):
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute(f"PRAGMA page_size = {page_bytes}")
        self.connection.execute("CREATE TABLE IF NOT EXISTS contents (id INTEGER PRIMARY KEY, value BLOB NOT NULL)")
        self.contents = Contents(self.connection)
        self.expected = {}

    def insert(self, sizes):
        values = [random.Random(size).randbytes(size) for size in sizes]
        self.connection.execute("BEGIN IMMEDIATE")
        for ids, value in zip(self.contents.insert(values), values, strict=True):
            self.expected[ids] = value
        self.connection.execute("COMMIT")

    def delete(self, ids):
        del self.expected[ids]
        self.contents.delete(ids)

    def check(self):
        rows = dict(self.connection.execute("SELECT id, value FROM contents"))
        found = {(head, rest): rows[head] + (b"" if rest is None else rows[rest]) for head, rest in self.expected}
        assert found == self.expected
        assert len(rows) == sum(len(ids) - ids.count(None) for ids in self.expected)

    def unused(self):
        """Return what each leaf page but the last has left."""
        query = "SELECT unused FROM dbstat WHERE name = 'contents' AND pagetype = 'leaf' ORDER BY path"
        return [unused for (unused,) in self.connection.execute(query)][:-1]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(SIZES, min_size=1, max_size=8), max_size=40), st.sampled_from([512, 4096, 16384]))
# The second head is so large that its type takes a byte more.
@example([[0, 0, 124, 4046, 16234]], 16384)
def test_each_page_is_full_once_one_was_begun(batches, page_bytes):
    table = Table(":memory:", page_bytes)
    # One of them begins a page.
    for _ in range(2):
        table.insert([page_bytes * 3 // 4])
    for sizes in batches:
        table.insert(sizes)
    table.check()
    assert all(unused <= MOST_UNUSED for unused in table.unused()[1:])


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from(["insert", "other", "delete", "roll back"]), st.lists(SIZES, min_size=1, max_size=4)),
        max_size=30,
    )
)
def test_values_are_whole_whatever_else_changes_the_table(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("contents") / "db"
    table = Table(path)
    with closing(table.connection), closing(sqlite3.connect(path, isolation_level=None)) as other:
        for step, sizes in steps:
            if step == "insert":
                table.insert(sizes)
            elif step == "other":
                row = other.execute("INSERT INTO contents (value) VALUES (?)", (bytes(sizes[0]),)).lastrowid
                table.expected[row, None] = bytes(sizes[0])
            elif step == "delete" and table.expected:
                table.delete(sorted(table.expected)[sizes[0] % len(table.expected)])
            elif step == "roll back":
                table.connection.execute("BEGIN IMMEDIATE")
                table.contents.insert([bytes(size) for size in sizes])
                table.connection.execute("ROLLBACK")
                table.contents.forget()
        table.check()


def test_pages_are_full_again_after_another_process_has_written(tmp_path):
    table = Table(tmp_path / "db")
    with closing(table.connection), closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as other:
        for number in range(100):
            table.insert([1000 + 13 * number])
        other.execute("INSERT INTO contents (value) VALUES (?)", (bytes(2000),))
        for number in range(100):
            table.insert([1000 + 13 * number])
        assert sum(unused > MOST_UNUSED for unused in table.unused()) <= 4
