"""The service while its store fails, on each real store: the caller's errors are exact, and nothing is lost."""

import asyncio
import random

import holdfast
import pytest

from tests.support.budget import amount
from tests.verification.faults.faults import Fault
from tests.verification.faults.faulty import give_retries

FORMAT = holdfast.Format("test", 1)
# Random bytes are stored as they are.
LARGE = random.Random("large").randbytes(256_000)
SEVERAL_BLOCKS = random.Random("several blocks").randbytes(5_020_000)
ALWAYS = float("inf")
# Each round damages another place of the data.
ROUNDS = amount(small=3, full=12)


async def revisions(client):
    return [each.revision async for each in client.list("n", "w")]


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.THROTTLED, Fault.SLOW])
@pytest.mark.parametrize("where", ["log", "blob", "id"])
async def test_a_write_that_fails_on_its_way_is_committed_once(faulty, fault, where):
    async with faulty.client() as client:
        await client.save("n", "w", b"first", format=FORMAT)
        faulty.faults.plan(fault, "PUT", f"/{where}/", times=2)
        saved = await client.save("n", "w", LARGE, format=FORMAT, checkpoint_id="mine")
        assert faulty.faults.struck
        assert (saved.revision, saved.replayed) == (2, False)
        assert (await client.load("n", "w")).data == LARGE
        assert await revisions(client) == [2, 1]


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.CUT_BODY, Fault.THROTTLED])
@pytest.mark.parametrize("where", ["log", "blob"])
async def test_a_read_that_fails_on_its_way_is_retried(faulty, fault, where):
    async with faulty.client() as client:
        await client.save("n", "w", LARGE, format=FORMAT)
    async with faulty.client() as client:
        faulty.faults.plan(fault, "GET", f"/{where}/", times=2)
        assert (await client.load("n", "w")).data == LARGE
        assert len(faulty.faults.struck) == 2


async def test_a_large_load_continues_after_each_failed_read(faulty):
    async with faulty.client() as client:
        await client.save("n", "w", SEVERAL_BLOCKS, format=FORMAT)
        faulty.faults.plan(Fault.THROTTLED, "GET", "/blob/")
        faulty.faults.plan(Fault.CUT_BODY, "GET", "/blob/")
        faulty.faults.requests.clear()
        assert (await client.load("n", "w")).data == SEVERAL_BLOCKS
        assert len(faulty.faults.struck) == 2
        blocks = -(-len(SEVERAL_BLOCKS) // (4 << 20))
        assert sum("/blob/" in each.key for each in faulty.faults.requests) <= blocks + 2 * 2


async def test_an_unknown_outcome_is_reported_as_such_and_the_same_request_resolves_it(faulty):
    async with faulty.client() as client:
        await client.save("n", "w", b"first", format=FORMAT)
        faulty.faults.plan(Fault.CUT_AFTER, "PUT", "/log/", times=ALWAYS)
        faulty.faults.plan(Fault.CUT_AFTER, "GET", "/log/", times=ALWAYS)
        # On a busy machine the caller's own deadline may pass first.
        with pytest.raises((holdfast.CommitUnknownError, holdfast.DeadlineExceededError)) as unknown:
            await client.save("n", "w", b"second", format=FORMAT, request_id="r", timeout=1)
        assert unknown.value.retryable
        faulty.faults.calm()
        again = await client.save("n", "w", b"second", format=FORMAT, request_id="r")
        assert (again.revision, again.replayed) == (2, True)
        assert await revisions(client) == [2, 1]


async def test_a_store_that_stays_too_busy_is_reported_as_unavailable_and_works_again_afterwards(faulty):
    async with faulty.client() as client:
        await client.save("n", "w", LARGE, format=FORMAT)
        for verb in ("GET", "LIST", "PUT"):
            faulty.faults.plan(Fault.THROTTLED, verb, "", times=ALWAYS)
        give_retries(client, 4)
        with pytest.raises(holdfast.StoreUnavailableError, match="throttles") as unavailable:
            await client.load("n", "w")
        assert unavailable.value.retryable
        assert not unavailable.value.last_good
        give_retries(client, 2)
        with pytest.raises((holdfast.StoreUnavailableError, holdfast.CommitUnknownError), match="throttles"):
            await client.save("n", "other", LARGE, format=FORMAT)
        faulty.faults.calm()
        assert (await client.load("n", "w")).data == LARGE
        assert (await client.save("n", "other", LARGE, format=FORMAT)).revision == 1


async def test_a_slow_store_keeps_no_caller_beyond_its_deadline_and_delays_no_other(faulty):
    async with faulty.client() as client:
        await client.save("n", "slow", b"x", format=FORMAT)
        await client.save("n", "quick", b"x", format=FORMAT)
        faulty.faults.slow_seconds = 3600
        faulty.faults.plan(Fault.SLOW, "GET", "/wf/slow/", times=ALWAYS)
        waiting = asyncio.create_task(client.load("n", "slow", timeout=2))
        for _ in range(20):
            assert (await client.load("n", "quick")).data == b"x"
        with pytest.raises(holdfast.DeadlineExceededError):
            await waiting


async def test_a_deadline_that_passes_after_a_failed_attempt_reports_the_error_of_that_attempt(faulty):
    async with faulty.client() as client:
        await client.save("n", "w", LARGE, format=FORMAT)
        faulty.faults.slow_seconds = 3600
        faulty.faults.plan(Fault.THROTTLED, "GET", "/log/")
        faulty.faults.plan(Fault.SLOW, "GET", "/log/", times=ALWAYS)
        with pytest.raises(
            holdfast.DeadlineExceededError, match=r"an earlier attempt ended with STORE_UNAVAILABLE: .*throttles"
        ):
            await client.load("n", "w", timeout=4)


@pytest.mark.parametrize("verb", ["GET", "PUT"])
async def test_revoked_access_is_reported_at_once_and_nothing_is_lost(faulty, verb):
    async with faulty.client() as client:
        await client.save("n", "w", LARGE, format=FORMAT)
        faulty.faults.plan(Fault.FORBIDDEN, verb, "", times=ALWAYS)
        faulty.faults.requests.clear()
        with pytest.raises(holdfast.StoreAccessDeniedError, match="refuses access") as denied:
            await (client.load("n", "w") if verb == "GET" else client.save("n", "w", b"second", format=FORMAT))
        assert not denied.value.retryable
        assert denied.value.trace_id
        assert len(faulty.faults.requests) <= 2
        faulty.faults.calm()
        assert (await client.load("n", "w")).data == LARGE
        assert (await client.save("n", "w", b"second", format=FORMAT)).revision == 2


async def test_access_revoked_after_a_commit_causes_no_false_refusal(faulty):
    async with faulty.client() as client:
        await client.save("n", "w", b"first", format=FORMAT)
        # Three, because the HTTP client repeats a request once by itself.
        faulty.faults.plan(Fault.CUT_AFTER, "PUT", "/log/", times=3)
        faulty.faults.plan(Fault.FORBIDDEN, "GET", "/log/", times=ALWAYS)
        give_retries(client, 2)
        with pytest.raises(holdfast.CommitUnknownError):
            await client.save("n", "w", b"second", format=FORMAT, request_id="r")
        faulty.faults.calm()
        again = await client.save("n", "w", b"second", format=FORMAT, request_id="r")
        assert (again.revision, again.replayed) == (2, True)


@pytest.mark.parametrize("fault", [Fault.FLIPPED, Fault.SHORT_BODY])
@pytest.mark.parametrize(("where", "data"), [("log", b"small"), ("blob", LARGE), ("blob", SEVERAL_BLOCKS)])
async def test_damage_on_the_way_is_found_by_digest_and_fallback_gives_the_last_good_one(faulty, fault, where, data):
    async with faulty.client() as client:
        await client.save("n", "w", data[::-1], format=FORMAT)
        newest = await client.save("n", "w", data, format=FORMAT)
    key = await key_of_newest(faulty.sound, where)
    for _ in range(ROUNDS if len(data) < len(SEVERAL_BLOCKS) else 3):
        async with faulty.client() as client:
            faulty.faults.plan(fault, "GET", key, times=ALWAYS)
            with pytest.raises(holdfast.CheckpointCorruptedError) as damaged:
                await client.load("n", "w", newest.checkpoint_id if where == "blob" else None)
            assert damaged.value.trace_id
            validation = await client.validate("n", "w")
            assert not validation.resumable
            assert validation.findings[0].reason == "CHECKPOINT_CORRUPTED"
            loaded = await client.load("n", "w", fallback=True)
            assert (loaded.revision, loaded.fell_back, loaded.data) == (1, True, data[::-1])
            resumed = await client.resume("n", "w", format=FORMAT, fallback=True)
            assert (resumed.revision, resumed.fell_back) == (1, True)
            with pytest.raises(holdfast.WorkflowCheckpointResumeError) as refused:
                await client.resume("n", "w", format=FORMAT)
            assert refused.value.last_good.revision == 1
            assert {each for each, _ in faulty.faults.struck} == {fault}
            faulty.faults.calm()
            assert (await client.load("n", "w")).data == data


async def save_resting(client):
    """Save three checkpoints, the last of which rests on the second one. Return its content."""
    data = LARGE[:1000] + b"more" + LARGE[1000:]
    for each in (LARGE[::-1], LARGE, data):
        await client.save("n", "w", each, format=FORMAT)
    return data


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_BODY, Fault.THROTTLED])
async def test_a_read_of_a_base_that_fails_on_its_way_is_retried(faulty, fault):
    async with faulty.client(deltas=True) as client:
        data = await save_resting(client)
    async with faulty.client(deltas=True) as client:
        faulty.faults.plan(fault, "GET", await key_of_newest(faulty.sound, "blob"), times=2)
        assert (await client.load("n", "w")).data == data
        assert len(faulty.faults.struck) == 2


@pytest.mark.parametrize("fault", [Fault.FLIPPED, Fault.SHORT_BODY])
async def test_a_damaged_base_is_named_and_fallback_passes_over_what_rests_on_it(faulty, fault):
    async with faulty.client(deltas=True) as client:
        data = await save_resting(client)
    base = await key_of_newest(faulty.sound, "blob")
    for _ in range(ROUNDS):
        async with faulty.client(deltas=True) as client:
            faulty.faults.plan(fault, "GET", base, times=ALWAYS)
            with pytest.raises(holdfast.CheckpointCorruptedError) as damaged:
                await client.load("n", "w")
            assert damaged.value.metadata["base_revision"] == "2"
            loaded = await client.load("n", "w", fallback=True)
            assert (loaded.revision, loaded.fell_back, loaded.data) == (1, True, LARGE[::-1])
            # A save rests on nothing that is damaged.
            saved = await client.save("n", "w", data, format=FORMAT)
            assert (await client.load("n", "w")).data == data
            faulty.faults.calm()
        await faulty.sound.delete(await key_of_newest(faulty.sound, "log"))
        await faulty.sound.delete(await key_of_newest(faulty.sound, "blob"))
        assert saved.revision == 4


@pytest.mark.parametrize("fault", [Fault.FLIPPED, Fault.SHORT_BODY])
async def test_a_damaged_claim_hides_no_checkpoint_and_never_makes_a_second_one_of_an_id(faulty, fault):
    async with faulty.client() as client:
        await client.save("n", "w", b"mine", format=FORMAT, checkpoint_id="mine")
        for number in range(20):
            await client.save("n", "w", b"%d" % number, format=FORMAT)
    async with faulty.client() as client:
        faulty.faults.plan(fault, "GET", "/id/", times=ALWAYS)
        assert (await client.load("n", "w", "mine")).data == b"mine"
        with pytest.raises(holdfast.CheckpointIdReusedError):
            await client.save("n", "w", b"other", format=FORMAT, checkpoint_id="mine")
        assert {each for each, _ in faulty.faults.struck} == {fault}


async def key_of_newest(store, where):
    listed = await store.list(f"ns/n/wf/w/{where}/")
    return listed[0].key if where == "log" else max(listed, key=lambda each: each.key).key
