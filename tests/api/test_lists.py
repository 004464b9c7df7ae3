"""A page of a list costs no more than a page, whatever the filter."""

import grpc
import holdfast
import pytest
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from holdfast_server.api import lists

FORMAT = holdfast.Format("test", 1)
WORKFLOW = {"namespace": "n", "workflow_id": "w"}


@pytest.fixture
async def fifty_checkpoints(client):
    for number in range(50):
        await client.save(
            "n", "w", b"x", format=FORMAT, labels={"parity": "odd" if number % 2 else "even", "number": str(number)}
        )


@pytest.mark.usefixtures("fifty_checkpoints")
async def test_a_page_ends_where_enough_was_looked_at_and_the_next_one_goes_on(served, monkeypatch):
    monkeypatch.setattr(lists, "_LOOKED_AT_MOST", 20)
    request = api.ListRequest(filter={"labels": {"number": "4"}}, **WORKFLOW)
    pages = []
    async with grpc.aio.insecure_channel(served.target) as channel:
        while not pages or request.page_token:
            pages.append(await CheckpointServiceStub(channel).List(request))
            request.page_token = pages[-1].next_page_token
    assert [len(page.checkpoints) for page in pages] == [0, 0, 1]


@pytest.mark.usefixtures("fifty_checkpoints")
@pytest.mark.parametrize("page_size", [1, 7, 25, 26])
@pytest.mark.parametrize("looked_at_most", [1, 3, 25, 50, 51])
async def test_pages_give_each_checkpoint_that_passes_once(client, monkeypatch, page_size, looked_at_most):
    monkeypatch.setattr(lists, "_LOOKED_AT_MOST", looked_at_most)
    listed = [
        each.labels["number"] async for each in client.list("n", "w", labels={"parity": "odd"}, page_size=page_size)
    ]
    assert listed == [str(number) for number in range(49, 0, -2)]
