"""Calls that the policy of a server denies."""

import holdfast
import pytest

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
