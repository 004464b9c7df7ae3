"""A page token works in the namespace that it was issued for, and in no other."""

import pytest
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast_server.api import page_tokens
from holdfast_server.api.errors import InvalidRequestError
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trusted import by, trusted
from tests.unit.server.api.calls import header, reason

SERVICE = api.DESCRIPTOR.services_by_name["CheckpointService"]
POLICY = '[[policy]]\nprincipals = ["token:a"]\nnamespaces = ["a", "b"]\nverbs = ["read", "write", "delete"]\n'
OF_ALL = {"request_id": "r", "all": True}
# Fields of a first page that is not the last one, of two workflows with two checkpoints each.
PAGED = {
    "List": [{"workflow_id": "w0", "page_size": 1}, {"page_size": 1}],
    "ListWorkflows": [{"page_size": 1}],
    "ListRecords": [{"workflow_id": "w0", "checkpoint_id": "c0", "page_size": 1}],
    "ListLog": [{"workflow_id": "w0", "page_size": 1}],
    "GetUsage": [{"page_size": 1}],
    "DeleteCheckpoints": [OF_ALL],
    "DeleteWorkflows": [OF_ALL],
}


def test_every_method_with_pages_is_covered():
    with_pages = {
        name for name, method in SERVICE.methods_by_name.items() if "page_token" in method.input_type.fields_by_name
    }
    # Its tokens are about no namespace: they name a place among those that the caller may read.
    assert with_pages == {*PAGED, "ListNamespaces"}


@given(st.text(max_size=5), st.text(max_size=5), st.text(min_size=1, max_size=20))
def test_a_token_is_read_for_its_own_namespace_only(namespace: str, other: str, token: str):
    bound = page_tokens.bind(namespace, token)
    assert page_tokens.unbind(namespace, bound) == token
    if other != namespace:
        with pytest.raises(InvalidRequestError):
            page_tokens.unbind(other, bound)


async def saved(served, namespace: str) -> None:
    for number in range(4):
        await served.stub.Save(
            api.SaveRequest(
                header=header(
                    namespace=namespace,
                    workflow_id=f"w{number % 2}",
                    request_id=f"{number}",
                    checkpoint_id=f"c{number // 2}",
                ),
                parts=[{"data": b"x"}],
            ),
            metadata=by("token:a"),
        )
    records = [{"key": f"{number}", "data": b"x"} for number in range(2)]
    where = {"namespace": namespace, "workflow_id": "w0", "checkpoint_id": "c0", "request_id": "records"}
    await served.stub.AttachRecords(api.AttachRecordsRequest(**where, records=records), metadata=by("token:a"))


@pytest.mark.parametrize(
    ("method", "fields"), [(name, each) for name, several in PAGED.items() for each in several if "all" not in each]
)
async def test_a_token_of_one_namespace_does_not_work_in_another(method: str, fields):
    request_type = getattr(api, SERVICE.methods_by_name[method].input_type.name)
    async with trusted(POLICY) as served:
        await saved(served, "a")
        await saved(served, "b")
        call = getattr(served.stub, method)
        request = request_type(namespace="a", **fields)
        token = (await call(request, metadata=by("token:a"))).next_page_token
        assert token
        stolen = request_type(namespace="b", page_token=token, **fields)
        assert await reason(call(stolen, metadata=by("token:a"))) == "INVALID_REQUEST"
        following = request_type(namespace="a", page_token=token, **fields)
        await call(following, metadata=by("token:a"))


@pytest.mark.parametrize("method", ["DeleteCheckpoints", "DeleteWorkflows"])
async def test_a_deletion_with_the_token_of_another_namespace_deletes_nothing(method: str):
    request_type = getattr(api, SERVICE.methods_by_name[method].input_type.name)
    async with trusted(POLICY) as served:
        await saved(served, "a")
        await saved(served, "b")
        listed = await served.stub.ListWorkflows(
            api.ListWorkflowsRequest(namespace="a", page_size=1), metadata=by("token:a")
        )
        stolen = request_type(namespace="b", page_token=listed.next_page_token, **OF_ALL)
        assert await reason(getattr(served.stub, method)(stolen, metadata=by("token:a"))) == "INVALID_REQUEST"
        found = await served.stub.List(api.ListRequest(namespace="b"), metadata=by("token:a"))
        assert len(found.checkpoints) == 4
