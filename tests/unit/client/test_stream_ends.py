"""Streams that the server ends while they are being sent: the client learns why."""

import os
from unittest.mock import patch

import holdfast
import pytest
from grpc.aio import _call as grpc_calls
from holdfast._async.stream_ends import StreamEnd

from tests.support.watched import serving_watched

FORMAT = holdfast.Format("test", 1)
NO_RETRY = holdfast.RetryPolicy(burst_retries=0)


@pytest.mark.asynchronous_only
async def test_a_message_that_cannot_be_sent_does_not_hide_why_the_server_refuses_its_stream(connect, tmp_path):
    """On a busy machine, gRPC finds that a message cannot be sent after it has received the status of the server."""
    add_done_callback = grpc_calls.StreamUnaryCall.add_done_callback
    failed = []

    def fail(ended):
        failed.append(ended)
        ended._cython_call.set_internal_error("a message cannot be sent")

    def add(call, callback):
        add_done_callback(call, callback)
        # gRPC has callbacks of its own.
        if isinstance(getattr(callback, "__self__", None), StreamEnd):
            add_done_callback(call, fail)

    (tmp_path / "quotas").write_text("[default]\nstored_bytes = 1_000")
    async with (
        serving_watched(tmp_path, quotas_file=str(tmp_path / "quotas")) as full,
        connect(full.target, timeout=20, retry=NO_RETRY) as client,
    ):
        with (
            patch.object(grpc_calls.StreamUnaryCall, "add_done_callback", add),
            pytest.raises(holdfast.QuotaExceededError),
        ):
            await client.save("n", "w", os.urandom(2 << 20), format=FORMAT)
    assert len(failed) == 1
