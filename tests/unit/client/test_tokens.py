"""Tokens of clients: sent with every call and pipeline, taken again when they are refused, and never shown."""

import asyncio
import logging
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import holdfast
import pytest
from holdfast.adapters.from_target import AsyncFromTarget, FromTarget
from holdfast_server.api.handlers import loading
from holdfast_server.protocol.errors import HoldfastError as ServerError
from holdfast_server.protocol.errors import Reason
from holdfast_server.trust import tokens

from tests.support.tokens_file import TokensFile
from tests.support.watched import serving_watched

FORMAT = holdfast.Format("f", 1)
LARGE = b"large" * 1_000_000
# Far longer than any test takes.
LONG = 60.0
OTHER_MACHINE = "192.0.2.1:7433"

pytestmark = pytest.mark.remote_only


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "CHECK_SECONDS", 0.01)
    return TokensFile(tmp_path / "tokens.toml")


@pytest.fixture
async def guarded(file, tmp_path):
    """Return a server that accepts the tokens of the file."""
    async with serving_watched(tmp_path, tokens_file=str(file.path)) as served:
        yield served


class Source:
    """A function that returns tokens one after the other, the last one for ever."""

    def __init__(self, *given):
        self.given = list(given)
        self.calls = 0
        self.threads = set()

    def __call__(self):
        self.calls += 1
        self.threads.add(threading.get_ident())
        return self.given[0] if len(self.given) == 1 else self.given.pop(0)


async def test_small_and_large_calls_send_the_token(connect, guarded, file):
    async with connect(guarded.target, token=file.ci) as client:
        for data in (b"small", LARGE):
            await client.save("n", "w", data, format=FORMAT)
            assert (await client.load("n", "w")).data == data


async def test_a_client_without_a_token_gets_a_typed_error_that_is_not_retried(connect, guarded):
    async with connect(guarded.target) as client:
        with pytest.raises(holdfast.UnauthenticatedError, match="the call has no credentials"):
            await client.load("n", "w")


async def test_a_token_from_a_function_is_kept_and_many_calls_share_it(connect, guarded, file):
    source = Source(file.ci)
    async with connect(guarded.target, token=source) as client:
        await asyncio.gather(*(client.save("n", f"w{number}", b"x", format=FORMAT) for number in range(20)))
        await client.capabilities()
    assert source.calls == 1


async def test_a_refused_token_is_replaced_once(connect, guarded, file):
    source = Source("hft_wrong", file.ci)
    async with connect(guarded.target, token=source) as client:
        await client.save("n", "w", b"x", format=FORMAT)
    assert source.calls == 2


@pytest.mark.parametrize("data", [b"small", LARGE])
async def test_a_second_refused_token_ends_the_call(connect, guarded, data):
    source = Source("hft_one", "hft_two", "hft_three")
    async with connect(guarded.target, token=source) as client:
        with pytest.raises(holdfast.UnauthenticatedError):
            await client.save("n", "w", data, format=FORMAT)
    assert source.calls == 2


async def test_a_given_token_that_is_refused_is_sent_once(connect, guarded):
    async with connect(guarded.target, token="hft_wrong") as client:
        with pytest.raises(holdfast.UnauthenticatedError) as refused:
            await client.save("n", "w", b"x", format=FORMAT)
    assert refused.value.metadata.get("retries") is None


async def test_a_token_that_expires_in_a_running_pipeline_is_replaced(connect, guarded, file, monkeypatch):
    source = Source(file.brief, file.ci)
    async with connect(guarded.target, token=source) as client:
        await client.save("n", "w", b"1", format=FORMAT)
        monkeypatch.setattr(tokens, "_now", file.end.timestamp)
        await asyncio.gather(*(client.save("n", f"w{number}", b"2", format=FORMAT) for number in range(20)))
        await client.load("n", "w1")
    assert source.calls == 2


async def accepted(connect, target, token):
    """Wait until a server has read the file that a token was added to."""
    async with connect(target, token=token) as client:
        for _ in range(1000):
            with suppress(holdfast.UnauthenticatedError):
                await client.capabilities()
                return


async def test_streams_whose_token_expires_go_on_with_a_new_one(connect, guarded, file):
    payload = LARGE * 4
    async with connect(guarded.target, token=file.ci) as client:
        await client.save("n", "stored", payload, format=FORMAT)
    for is_save in (True, False):
        # A running stream is not refused when its token is removed, so that the file can change.
        brief, entry = tokens.new_token("brief", datetime.now(UTC) + timedelta(seconds=1))
        file.write(file.entry, entry)
        source = Source(brief, file.ci)
        waited = []

        def wait_for_the_end(done, total, waited=waited):
            if done and not waited:
                waited.append(threading.Event().wait(1.2))

        await accepted(connect, guarded.target, brief)
        async with connect(guarded.target, token=source, timeout=20) as client:
            if is_save:
                await client.save("n", "w", payload, format=FORMAT, progress=wait_for_the_end)
            else:
                assert (await client.load("n", "stored", progress=wait_for_the_end)).data == payload
        assert waited
        assert source.calls == 2
    async with connect(guarded.target, token=file.ci) as client:
        assert (await client.load("n", "w")).data == payload


async def test_tokens_that_expire_as_soon_as_they_are_accepted_are_replaced_with_pauses(
    connect, guarded, file, monkeypatch
):
    sent = 0

    async def expire(context, call, request):
        nonlocal sent
        sent += 1
        raise ServerError(Reason.UNAUTHENTICATED, "the token has expired", accepted="true")

    monkeypatch.setattr(loading, "_find", expire)
    policy = holdfast.RetryPolicy(initial_backoff_seconds=0, burst_retries=5, retries_per_second=0)
    async with connect(guarded.target, token=Source(file.ci), retry=policy, timeout=20) as client:
        with pytest.raises(holdfast.UnauthenticatedError, match="has made many retries"):
            await client.load("n", "w")
    # Once with another token at once, then as often as the policy allows.
    assert sent == 1 + 1 + 5


@pytest.mark.parametrize("has_another", [True, False])
async def test_a_watch_goes_on_with_another_token_when_its_own_is_removed_and_ends_without_one(
    connect, guarded, file, has_another
):
    source = Source(file.ci, file.brief) if has_another else file.ci
    async with (
        connect(guarded.target, token=source, timeout=20) as watcher,
        connect(guarded.target, token=file.brief) as writer,
    ):
        await writer.save("n", "w", b"1", format=FORMAT)
        watch = watcher.watch("n", "w", after_revision=0)
        assert (await asyncio.wait_for(anext(watch), LONG)).revision == 1
        reading = asyncio.ensure_future(anext(watch))
        file.write(file.brief_entry)
        if has_another:
            async with asyncio.timeout(LONG):
                while source.calls < 2:  # noqa: ASYNC110 - a changed file sets no event
                    await asyncio.sleep(0.01)
            await writer.save("n", "w", b"2", format=FORMAT)
            assert (await asyncio.wait_for(reading, LONG)).revision == 2
        else:
            with pytest.raises(holdfast.UnauthenticatedError):
                await asyncio.wait_for(reading, LONG)


async def test_an_async_function_and_one_that_blocks_leave_the_loop_free(guarded, file):
    async def asynchronous():
        return file.ci

    blocking = Source(file.ci)
    for source in (asynchronous, blocking):
        async with holdfast.AsyncClient(guarded.target, token=source) as client:
            await client.capabilities()
    assert threading.get_ident() not in blocking.threads


async def test_a_function_that_fails_is_named_without_its_words(connect, guarded):
    def failing():
        raise ConnectionError("the secret s3cr3t")

    async with connect(guarded.target, token=failing) as client:
        with pytest.raises(
            holdfast.UnauthenticatedError, match="the function that returns it raised ConnectionError"
        ) as e:
            await client.load("n", "w")
    assert "s3cr3t" not in str(e.value)
    assert isinstance(e.value.__cause__, ConnectionError)


async def test_a_function_that_takes_too_long_ends_with_the_deadline(guarded):
    async def slow():
        await asyncio.sleep(60)

    async with holdfast.AsyncClient(guarded.target, token=slow, timeout=0.2) as client:
        with pytest.raises(holdfast.DeadlineExceededError, match="token: the function that returns it took longer"):
            await client.load("n", "w")


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "é", "x" * 20_000, b"bytes", 7])
async def test_what_is_no_token_is_refused_without_being_shown(connect, token):
    with pytest.raises((holdfast.InvalidRequestError, TypeError), match="token") as refused:
        connect("127.0.0.1:1", token=token)
    assert not (isinstance(token, str) and token and token in str(refused.value))


async def test_what_a_function_returns_is_checked(connect, guarded):
    async with connect(guarded.target, token=lambda: "two words") as client:
        with pytest.raises(holdfast.InvalidRequestError, match="token"):
            await client.load("n", "w")
    async with connect(guarded.target, token=lambda: None) as client:
        with pytest.raises(TypeError, match="not NoneType"):
            await client.load("n", "w")


async def test_a_token_is_not_sent_in_plaintext_to_another_machine_unless_allowed(connect):
    with pytest.raises(holdfast.InvalidRequestError, match=r"would be sent in plaintext to '192\.0\.2\.1:7433'"):
        connect(OTHER_MACHINE, token="hft_x")
    for allowed in ({"insecure": True}, {"tls": True}):
        async with connect(OTHER_MACHINE, token="hft_x", **allowed):
            pass


async def test_a_folder_needs_no_token(connect, tmp_path):
    async with connect(tmp_path.as_uri(), token=Source("hft_x")) as client:
        await client.save("n", "w", b"x", format=FORMAT)


class AsyncAdapter(AsyncFromTarget):
    def __init__(self, client):
        self.client = client


class Adapter(FromTarget):
    def __init__(self, client):
        self.client = client


async def test_an_adapter_that_opens_its_client_sends_the_token(guarded, file):
    async with AsyncAdapter.from_target(guarded.target, token=file.ci) as adapter:
        await adapter.client.capabilities()
    with Adapter.from_target(guarded.target, token=file.ci) as adapter:
        await asyncio.to_thread(adapter.client.capabilities)


async def test_neither_errors_nor_logs_nor_representations_show_the_token(connect, guarded, caplog):
    caplog.set_level(logging.DEBUG)
    token = "hft_s3cr3t"
    async with connect(guarded.target, token=token) as client:
        shown = [repr(client)]
        for call in (client.load("n", "w"), client.save("n", "w", LARGE, format=FORMAT)):
            with pytest.raises(holdfast.UnauthenticatedError) as refused:
                await call
            shown += [str(refused.value), repr(refused.value), str(vars(refused.value))]
    shown += [str(vars(record)) for record in caplog.records]
    assert not [text for text in shown if "s3cr3t" in text]
