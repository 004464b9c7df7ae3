"""Listings of a server that cannot be right end with an error; every legal one is taken."""

import asyncio
from datetime import UTC, datetime
from math import inf, nan
from types import SimpleNamespace

import pytest
from holdfast_server.stores import azure, listing, s3_bucket
from holdfast_server.stores.azure import AzureStore
from holdfast_server.stores.base import StoreUnavailableError
from holdfast_server.stores.listing import ServedListing, impossible_field, list_all
from holdfast_server.stores.s3 import S3Store
from hypothesis import given
from hypothesis import strategies as st

PREFIX = "p/"
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = [f"k/{number:02}" for number in range(12)]
PAGES = st.lists(st.sampled_from([*KEYS, "k", "j/1", "l"]), max_size=4)


def contents(keys, prefix=PREFIX, **fields):
    return [{"Key": prefix + key, "Size": 1, "LastModified": MOMENT, **fields} for key in keys]


def s3_of(list_objects_v2):
    """Return a store on a client that answers listings by a function."""

    async def answer(**arguments):
        return list_objects_v2(**arguments)

    return S3Store(s3_bucket.Bucket(SimpleNamespace(list_objects_v2=answer), "b", PREFIX, "the server"))


def azure_of(monkeypatch, pages):
    """Return a store whose library lists pages."""

    async def listed():
        for page in pages:
            yield [{"path": path, "size": 1, "last_modified": MOMENT} for path in page]

    monkeypatch.setattr(azure, "obstore", SimpleNamespace(list=lambda *_, **__: listed(), exceptions=SimpleNamespace()))
    return AzureStore(None, None, PREFIX, "the server")


async def walked(store, prefix="k/"):
    return [each.key async for each in list_all(store, prefix)]


class Pager:
    """A server that keeps what S3 promises, and cuts its pages where it likes, also before the first key.

    Args:
        cuts: the number of keys of each page, again and again.

    """

    def __init__(self, cuts):
        self.cuts = cuts
        self.requests = 0

    def __call__(self, *, Prefix, MaxKeys, StartAfter="", ContinuationToken="", **_):  # noqa: N803
        after = ContinuationToken.partition("\0")[2] if ContinuationToken else StartAfter
        left = [key for key in (PREFIX + each for each in KEYS) if key.startswith(Prefix) and key > after]
        count = min(self.cuts[self.requests % len(self.cuts)], MaxKeys)
        self.requests += 1
        page = left[:count]
        answer = {"IsTruncated": len(page) < len(left), "Contents": contents(page, "")}
        if answer["IsTruncated"]:
            answer["NextContinuationToken"] = f"{self.requests}\0{page[-1] if page else after}"
        return answer


@given(cuts=st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any), limit=st.integers(1, 20))
async def test_a_listing_goes_on_after_pages_of_any_length(cuts, limit):
    store = s3_of(Pager(cuts))
    assert [each.key for each in await store.list("k/", limit=limit)] == KEYS[:limit]
    assert await walked(store) == KEYS


@given(
    pages=st.lists(st.tuples(PAGES, st.booleans(), st.sampled_from(["", "a", "b"])), min_size=1, max_size=6),
)
async def test_a_walk_ends_whatever_the_server_lists(pages):
    requests = 0

    def answer(**_):
        nonlocal requests
        keys, is_truncated, token = pages[requests % len(pages)]
        requests += 1
        return {"Contents": contents(keys), "IsTruncated": is_truncated, "NextContinuationToken": token}

    found = []
    try:
        async for each in list_all(s3_of(answer), "k/"):
            found.append(each.key)
    except StoreUnavailableError:
        pass
    assert found == sorted(set(found))
    assert all(key.startswith("k/") for key in found)
    # A few empty pages at most stand between two keys.
    assert requests <= 4 * (len(KEYS) + 1)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"Contents": contents(["k/2", "k/1"])}, "keys out of order"),
        ({"Contents": contents(["k/2", "k/2"])}, "keys out of order"),
        ({"Contents": contents(["k/1"]), "IsTruncated": True}, "keys out of order"),
        ({"Contents": contents(["j/1"])}, "a key outside of the prefix"),
        ({"Contents": contents(["k/1"], prefix="")}, "a key outside of the prefix"),
        ({"Contents": [{"Size": 1, "LastModified": MOMENT}]}, "a key outside of the prefix"),
        ({"IsTruncated": True}, "empty pages without an end"),
        ({"IsTruncated": True, "NextContinuationToken": "t"}, "empty pages without an end"),
        ({"Contents": contents(["k/1"], Size=-1)}, "an object with an impossible field"),
        ({"Contents": contents(["k/1"], Size=1 << 63)}, "an object with an impossible field"),
        ({"Contents": [{"Key": "p/k/1", "LastModified": MOMENT}]}, "an object with an impossible field"),
        ({"Contents": [{"Key": "p/k/1", "Size": 1}]}, "an object with an impossible field"),
        ({"Contents": contents(["k/1"], LastModified=datetime(1, 1, 1, tzinfo=UTC))}, "an impossible field"),
    ],
)
async def test_a_listing_that_cannot_be_right_is_refused_by_name(answer, words):
    with pytest.raises(StoreUnavailableError, match=words) as caught:
        await s3_of(lambda **_: answer).list("k/")
    assert "the server" in caught.value.detail
    assert "k/" not in str(caught.value)


async def test_new_tokens_without_an_end_are_refused(monkeypatch):
    monkeypatch.setattr(listing, "_MOST_EMPTY_PAGES", 20)
    requests = 0

    def answer(**_):
        nonlocal requests
        requests += 1
        return {"IsTruncated": True, "NextContinuationToken": f"t{requests}"}

    with pytest.raises(StoreUnavailableError, match="empty pages without an end"):
        await s3_of(answer).list("k/")
    assert requests == 21


async def test_a_page_with_more_keys_than_requested_is_cut():
    store = s3_of(lambda **_: {"Contents": contents(KEYS), "IsTruncated": True})
    assert [each.key for each in await store.list("k/", limit=3)] == KEYS[:3]


def test_keys_of_others_may_be_ordered_by_utf_8_or_by_utf_16():
    by_utf_8, by_utf_16 = ["\ue000", "\U00010000"], ["\U00010000", "\ue000"]
    for keys in (by_utf_8, by_utf_16):
        taking = ServedListing("", "", "")
        assert [taking.take(key, 1, MOMENT).key for key in keys] == keys


async def test_the_pages_of_the_library_are_checked_too(monkeypatch):
    # The library lists a whole folder, and some servers ignore the offset.
    paths = [PREFIX + key for key in ["k/-", *KEYS]]
    store = azure_of(monkeypatch, [paths[:5], [], paths[5:]])
    assert [each.key for each in await store.list("k/0")] == KEYS[:10]
    assert [each.key for each in await store.list("k/0", start_after=KEYS[3], limit=2)] == KEYS[4:6]
    with pytest.raises(StoreUnavailableError, match="keys out of order"):
        await azure_of(monkeypatch, [paths[:5], paths[:5]]).list("k/")
    with pytest.raises(StoreUnavailableError, match="a key outside of the prefix"):
        await azure_of(monkeypatch, [["q/k/1"]]).list("k/")


async def test_a_listing_of_which_the_library_makes_no_page_ends(monkeypatch):
    monkeypatch.setattr(azure, "_PAGE_SECONDS", 0.05)
    store = azure_of(monkeypatch, [])

    async def endless():
        await asyncio.Event().wait()
        yield []

    monkeypatch.setattr(azure.obstore, "list", lambda *_, **__: endless())
    with pytest.raises(StoreUnavailableError, match="lists too slowly"):
        await store.list("k/")


@pytest.mark.parametrize("size", [-1, 1 << 63, None, "1", 1.0])
def test_a_size_that_no_object_has_is_named(size):
    assert impossible_field(size, 1.0) == f"size {size!r}"


@pytest.mark.parametrize("seconds", [-1.0, inf, -inf, nan, 1e12, None, "now"])
def test_a_time_at_which_nothing_was_written_is_named(seconds):
    assert impossible_field(1, seconds) == f"modified time {seconds!r}"
