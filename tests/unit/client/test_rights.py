"""Calls that the policy of a server denies."""

import asyncio

import holdfast
import pytest
from holdfast_server.trust.policy import parse

from tests.support.trusted import trusted

FORMAT = holdfast.Format("f", 1)
READERS = '[[policy]]\nprincipals = ["anonymous"]\nnamespaces = ["n"]\nverbs = ["read"]\n'


async def test_a_denied_call_raises_its_own_error_and_is_not_retried(connect):
    async with trusted(READERS) as served:
        taken = []
        permit = served.calls.admission.permit

        def counted(connection, *, is_stream):
            taken.append(connection)
            return permit(connection, is_stream=is_stream)

        served.calls.admission.permit = counted
        async with connect(served.target) as client:
            with pytest.raises(holdfast.PermissionDeniedError) as caught:
                await client.save("n", "w", b"x", format=FORMAT)
            assert len(taken) == 1
            with pytest.raises(holdfast.PermissionDeniedError):
                await client.load("other", "w")
            # What it may do still works, also on the same pipeline.
            with pytest.raises(holdfast.WorkflowNotFoundError):
                await client.load("n", "w")
    error = caught.value
    assert (error.reason, error.retryable) == ("PERMISSION_DENIED", False)
    assert error.metadata == {"principal": "anonymous", "verb": "write", "namespace": "n"}
    assert not isinstance(error, holdfast.StoreAccessDeniedError)
    assert "right" in error.advice


async def test_a_denied_stream_raises_its_own_error(connect):
    async with trusted(READERS) as served, connect(served.target) as client:
        with pytest.raises(holdfast.PermissionDeniedError):
            await client.save("n", "w", b"x" * (2 << 20), format=FORMAT)


async def test_a_watch_ends_when_the_right_to_it_is_removed(connect):
    both = '[[policy]]\nprincipals = ["anonymous"]\nnamespaces = ["n"]\nverbs = ["read", "write"]\n'
    async with trusted(both) as served, connect(served.target) as client:
        await client.save("n", "w", b"x", format=FORMAT)
        watch = client.watch("n", "w", after_revision=0)
        assert (await anext(watch)).revision == 1
        reading = asyncio.ensure_future(anext(watch))
        served.policy.value = parse(READERS.replace('"n"', '"other"').encode())
        with pytest.raises(holdfast.PermissionDeniedError) as caught:
            await asyncio.wait_for(reading, 60)
    assert caught.value.metadata == {"principal": "anonymous", "verb": "read", "namespace": "n"}
