"""A step of LangGraph on S3 costs two PUTs at once: its checkpoint, whose id is new, and the writes of its task."""

from collections import Counter
from typing import Any, TypedDict
from urllib.parse import unquote, urlsplit

from benchmarks.slow_link import Request, SlowLink, in_a_row
from tests.support.required import require_engine
from tests.support.servers import server

require_engine("langgraph.graph")

from holdfast.adapters.langgraph import HoldfastSaver  # noqa: E402
from langgraph.graph import END, START, StateGraph  # noqa: E402

# Far longer than anything else takes, so that requests that are sent at once overlap.
LATENCY_SECONDS = 0.1
FEW, MANY = 5, 25
PREFIX = "some/prefix"


class Turns(TypedDict):
    turn: int


def turns(count: int, saver: HoldfastSaver) -> Any:
    """Return a graph that runs for a number of steps."""
    builder = StateGraph(Turns)
    builder.add_node("answer", lambda state: {"turn": state["turn"] + 1})
    builder.add_edge(START, "answer")
    builder.add_conditional_edges("answer", lambda state: END if state["turn"] == count else "answer")
    return builder.compile(checkpointer=saver)


async def puts_of(link: SlowLink, bucket: str, saver: HoldfastSaver, count: int) -> tuple[Counter[str], int]:
    """Return the PUTs of a run by the kind of object, and how many of them followed one another."""
    link.requests.clear()
    config: Any = {"configurable": {"thread_id": f"{count} turns"}, "recursion_limit": 2 * count}
    await turns(count, saver).ainvoke({"turn": 0}, config)
    puts = [each for each in link.requests if each.method == "PUT"]
    return Counter(_kind(each, bucket) for each in puts), in_a_row(puts)


def _kind(request: Request, bucket: str) -> str:
    # The names in a key are encoded, and the key again.
    key = unquote(urlsplit(request.path).path).removeprefix(f"/{bucket}/{PREFIX}/")
    return key.split("/")[4]


async def test_a_step_on_s3_is_two_puts_at_once(s3_endpoint, s3_bucket):
    with (
        SlowLink.to(s3_endpoint) as link,
        server(f"s3://{s3_bucket}/{PREFIX}", environment={"AWS_ENDPOINT_URL_S3": link.url}) as target,
    ):
        async with HoldfastSaver.from_target(target, namespace="n") as saver:
            link.latency_seconds = LATENCY_SECONDS
            (few, _), (many, many_in_a_row) = [await puts_of(link, s3_bucket, saver, count) for count in (FEW, MANY)]
            link.latency_seconds = 0.0
    steps = MANY - FEW
    assert many - few == {"log": steps, "rec": steps}
    assert many_in_a_row < 1.5 * MANY
