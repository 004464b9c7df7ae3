"""LangGraph's conformance suite. Its tests are counted, because it also passes a saver without methods."""

from typing import Any

import pytest

from tests.support.budget import full
from tests.support.required import require_engine
from tests.support.servers import server

require_engine("langgraph.checkpoint.conformance")

from holdfast.adapters.langgraph import HoldfastSaver  # noqa: E402
from langgraph.checkpoint.conformance import checkpointer_test, validate  # noqa: E402

from tests.integration.adapters.langgraph.savers import Synchronous  # noqa: E402

# How many tests of each capability the suite has.
PROMISED = {
    "put": 17,
    "put_writes": 10,
    "get_tuple": 10,
    "list": 16,
    "delete_thread": 5,
    "delete_for_runs": 7,
    "copy_thread": 8,
    "prune": 8,
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("store_url", ["file", full("s3"), full("s3 obstore"), full("azure")], indirect=True)
@pytest.mark.parametrize(
    ("methods", "ownership"),
    [("asynchronous", "shared"), full("synchronous", "shared"), full("asynchronous", "exclusive")],
)
async def test_every_test_of_the_conformance_suite_passes(store_url: str, methods: str, ownership: Any) -> None:
    with server(store_url) as target:

        @checkpointer_test(name="HoldfastSaver")
        async def saver() -> Any:
            async with HoldfastSaver.from_target(target, namespace="conformance", ownership=ownership) as opened:
                yield opened if methods == "asynchronous" else Synchronous(opened)

        report = await validate(saver)
    failures = [failure for result in report.results.values() for failure in result.failures]
    assert failures == []
    assert {name: result.tests_passed for name, result in report.results.items()} == PROMISED
    assert sum(PROMISED.values()) == 81
