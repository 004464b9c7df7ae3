"""Attacks on a server that accepts static tokens, and changes of its file while it serves."""

import asyncio
import logging
import os
from datetime import UTC, datetime, timedelta

import grpc
import holdfast
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast_server.config import ConfigError
from holdfast_server.trust import tokens

from tests.support.authorized import OK, authorized_caller, metadata, outcome, pipelined
from tests.support.both_clients import ClientInThreads
from tests.support.tokens_file import TokensFile
from tests.support.watched import serving_watched
from tests.unit.server.api.calls import chunk, header


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "CHECK_SECONDS", 0.01)
    return TokensFile(tmp_path / "tokens.toml")


@pytest.fixture
async def served(file, tmp_path):
    async with serving_watched(tmp_path, tokens_file=str(file.path)) as served:
        yield served


@pytest.fixture
async def caller(served):
    async with authorized_caller(served.target) as caller:
        yield caller


async def eventually(call, expected):
    """Make calls until one has an outcome."""
    async with asyncio.timeout(20):
        while (found := await call())[0] != expected:  # noqa: ASYNC110 - a changed file sets no event
            await asyncio.sleep(0.01)
    return found


async def test_a_token_of_the_file_is_accepted(file, caller):
    assert await caller.with_token(file.ci) == OK


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "the call has no credentials"),
        ("", "malformed"),
        ("Basic dXNlcjpwYXNzd29yZA==", "malformed"),
        ("Bearer", "malformed"),
        ("Bearer hft_", "not known"),
        ("Bearer hft_" + "A" * 43, "not known"),
        ("Bearer password", "accepts no tokens of this kind"),
        ("Bearer e30.e30.e30", "accepts no tokens of this kind"),
    ],
)
async def test_no_token_and_a_wrong_token_are_refused(caller, value, problem):
    reason, message = await caller.outcome(value)
    assert reason == "UNAUTHENTICATED"
    assert problem in message


async def test_neither_a_digest_nor_a_name_nor_a_changed_token_is_a_token(file, caller):
    for wrong in (file.entry.digest, f"hft_{file.entry.digest}", "ci", file.ci[:-1], file.ci + "A", file.ci.upper()):
        assert (await caller.with_token(wrong))[0] == "UNAUTHENTICATED"


async def test_every_method_refuses_an_unknown_caller(caller):
    for method in api.DESCRIPTOR.services_by_name["CheckpointService"].methods:
        send = getattr(caller.stub, method.name)
        call = send() if method.client_streaming else send(getattr(api, method.input_type.name)())
        found = outcome(call.read() if method.server_streaming else call)
        assert (await found)[0] == "UNAUTHENTICATED", method.name


async def test_a_refusal_does_not_depend_on_whether_a_workflow_exists(served, file, caller):
    save = api.SaveRequest(header=header(), parts=[checkpoint_pb2.Part(data=b"x")])
    assert await outcome(caller.stub.Save(save, metadata=metadata(f"Bearer {file.ci}"))) == OK
    found = {
        await outcome(caller.stub.Load(api.LoadRequest(namespace="n", workflow_id=name))) for name in ("w", "absent")
    }
    assert len(found) == 1


async def test_a_refused_request_is_not_shown_and_reaches_no_store(served, caller, caplog):
    caplog.set_level(logging.DEBUG, "holdfast.server")
    reason, message = await caller.with_token("hft_secret")
    assert reason == "UNAUTHENTICATED"
    assert "secret" not in message
    assert "secret" not in "".join(str(vars(record)) for record in caplog.records)
    assert not served.store.requests


async def test_health_is_open(served):
    async with grpc.aio.insecure_channel(served.target) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_removed_token_is_refused_soon_in_a_running_pipeline_too(file, caller):
    async with caller.pipeline(file.ci) as pipeline:
        assert await pipelined(pipeline, 1) == OK
        file.write(file.brief_entry)
        await eventually(lambda: caller.with_token(file.ci), "UNAUTHENTICATED")
        reason, message = await pipelined(pipeline, 2)
        assert (reason, message) == (
            "UNAUTHENTICATED",
            "the token is not known: it was never issued, or was removed",
        )
        assert await caller.with_token(file.brief) == OK


async def test_an_added_token_is_accepted_soon(file, caller):
    token, entry = tokens.new_token("late", None)
    file.write(file.entry, entry)
    await eventually(lambda: caller.with_token(token), "OK")


async def test_an_expired_token_is_refused_in_a_running_pipeline_too(file, caller, monkeypatch):
    async with caller.pipeline(file.brief) as pipeline:
        assert await pipelined(pipeline, 1) == OK
        monkeypatch.setattr(tokens, "_now", file.end.timestamp)
        for expired in (await caller.with_token(file.brief), await pipelined(pipeline, 2)):
            assert expired == ("UNAUTHENTICATED", "the token of 'token:brief' has expired")


async def test_a_stream_ends_when_its_token_does(file, caller):
    token, entry = tokens.new_token("now", datetime.now(UTC) + timedelta(seconds=3))
    file.path.write_text(
        file.path.read_text() + f'\n[[token]]\nname = "now"\nsha256 = "{entry.digest}"\nexpires = {entry.expires}\n'
    )
    await eventually(lambda: caller.with_token(token), "OK")
    stream = caller.stub.SaveStream(metadata=metadata(f"Bearer {token}"))
    await stream.write(api.SaveStreamRequest(header=header()))
    await stream.write(chunk(b"x"))
    reason, message = await outcome(stream)
    assert reason == "UNAUTHENTICATED"
    assert "expired during the call" in message


async def test_a_stream_of_a_save_ends_when_its_token_is_removed_and_others_go_on(file, caller):
    streams = []
    for workflow_id, token in (("w1", file.ci), ("w2", file.brief)):
        stream = caller.stub.SaveStream(metadata=(*metadata(f"Bearer {token}"), ("holdfast-resume", "1")))
        await stream.write(api.SaveStreamRequest(header=header(workflow_id=workflow_id)))
        await stream.initial_metadata()
        streams.append(stream)
    ending, staying = streams
    file.write(file.brief_entry)
    reason, message = await outcome(ending)
    assert reason == "UNAUTHENTICATED"
    assert message.startswith("the token is not known: it was never issued, or was removed during the call")
    await staying.write(chunk(b"x"))
    await staying.write(api.SaveStreamRequest(finish={"size_bytes": 1}))
    await staying.done_writing()
    assert await outcome(staying) == OK


async def test_a_stream_of_a_load_ends_when_its_token_is_removed(file, caller, served):
    async with holdfast.AsyncClient(served.target, token=file.ci) as client:
        await client.save("n", "w", os.urandom(40 << 20), format=holdfast.Format("f", 1))
    stream = caller.stub.LoadStream(
        api.LoadStreamRequest(namespace="n", workflow_id="w"), metadata=metadata(f"Bearer {file.ci}")
    )
    assert (await stream.read()).WhichOneof("message") == "header"
    file.write(file.brief_entry)
    await eventually(lambda: caller.with_token(file.ci), "UNAUTHENTICATED")

    async def rest():
        while await stream.read() is not grpc.aio.EOF:
            pass

    assert (await outcome(rest()))[0] == "UNAUTHENTICATED"


@pytest.mark.parametrize("kind", [holdfast.AsyncClient, ClientInThreads])
async def test_the_sdk_goes_on_with_another_token_when_one_is_removed_during_a_stream(file, served, kind):
    data = os.urandom(40 << 20)
    valid = [file.ci]

    def replaced(done, of):
        if valid == [file.ci]:
            valid[:] = [file.brief]
            file.write(file.brief_entry)

    async with kind(served.target, timeout=60, token=lambda: valid[0]) as client:
        await client.save("n", "w", data, format=holdfast.Format("f", 1))
        assert (await client.load("n", "w", progress=replaced)).data == data
        assert valid == [file.brief]


@pytest.mark.parametrize("change", ["broken", "removed", "writable"])
async def test_a_file_that_breaks_leaves_the_earlier_tokens_in_effect_and_is_logged(file, caller, caplog, change):
    if change == "removed":
        file.path.unlink()
    elif change == "broken":
        file.path.write_text("[[token")
    else:
        file.path.chmod(0o666)
        file.path.write_bytes(b"")

    async def said():
        return ("logged" if "its earlier content stays" in caplog.text else "",)

    await eventually(said, "logged")
    assert await caller.with_token(file.ci) == OK


async def test_a_server_does_not_start_without_its_tokens(file, tmp_path):
    file.path.write_text("[[token")
    with pytest.raises(ConfigError, match=r"tokens_file: .*tokens\.toml.*: expected TOML"):
        async with serving_watched(tmp_path, tokens_file=str(file.path)):
            pass


async def test_the_sdk_reports_a_typed_error(served):
    async with holdfast.AsyncClient(served.target) as client:
        with pytest.raises(holdfast.UnauthenticatedError, match="no credentials") as refused:
            await client.load("n", "w")
    assert refused.value.reason == "UNAUTHENTICATED"
    assert refused.value.retryable is False
