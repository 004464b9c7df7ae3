"""The requests to S3 of a step of LangGraph, and of loads, on a link that is slow."""

from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from benchmarks import savers, servers, stored
from benchmarks.groups import graphs
from benchmarks.measure import seconds_of
from benchmarks.savers import Saver
from benchmarks.setting import Setting
from benchmarks.slow_link import Request, SlowLink, in_a_row
from benchmarks.workloads import langgraph

LATENCY_SECONDS = 0.02
# The difference of two runs is that of their steps, without what begins and ends a run.
_FEW, _MANY = 10, 30
_PREFIX = "requests"


@dataclass(frozen=True, slots=True)
class Counted:
    """What a call sent to the store.

    Attributes:
        kinds: how many requests, by method and what the object is for.
        in_a_row: how many of them had to wait for one another.
        seconds: how long the call took.

    """

    kinds: Counter[str]
    in_a_row: int
    seconds: float


async def run(setting: Setting) -> None:
    """Count the requests and print them."""
    if setting.s3 is None:
        return
    endpoint, bucket = setting.s3.endpoint, setting.s3.bucket
    store = f"s3://{bucket}/{_PREFIX}"
    chat = await langgraph.chat(50)
    with SlowLink.to(endpoint) as link:
        environment = {"AWS_ENDPOINT_URL_S3": link.url}
        with servers.holdfast(store, environment=environment) as (target, _):
            async with savers.holdfast(target) as saver:
                for piece in chat.pieces:
                    for call in piece:
                        await call(saver)
                few, many = [await _counted(link, bucket, _conversation(saver, steps)) for steps in (_FEW, _MANY)]
        with servers.holdfast(store, environment=environment) as (target, _):
            async with savers.holdfast(target) as saver:
                loads = [await _counted(link, bucket, langgraph.load(saver)) for _ in ("cold", "warm")]
    print(f"\nrequests on s3://, where each takes {LATENCY_SECONDS * 1e3:.0f} ms longer than the server of S3 needs")
    steps = _MANY - _FEW
    many.kinds.subtract(few.kinds)
    kinds = ", ".join(f"{count / steps:.2f} {kind}" for kind, count in many.kinds.most_common() if count > 0)
    row, seconds = (many.in_a_row - few.in_a_row) / steps, (many.seconds - few.seconds) / steps
    print(f"  a step of LangGraph: {kinds}; {row:.2f} in a row, {seconds * 1e3:.0f} ms")
    for name, load in zip(("after a start", "again"), loads, strict=True):
        kinds = ", ".join(f"{count} {kind}" for kind, count in load.kinds.most_common())
        print(f"  load of a chat of 50 turns {name}: {kinds}; {load.in_a_row} in a row, {load.seconds * 1e3:.0f} ms")


async def _conversation(saver: Saver, steps: int) -> object:
    config: Any = {"configurable": {"thread_id": f"{steps} steps"}, "recursion_limit": 2 * steps}
    return await graphs.graph(steps).compile(checkpointer=saver).ainvoke(graphs.begun(), config)


async def _counted(link: SlowLink, bucket: str, call: Awaitable[object]) -> Counted:
    link.latency_seconds = LATENCY_SECONDS
    link.requests.clear()
    seconds = await seconds_of(call)
    link.latency_seconds = 0.0
    requests = list(link.requests)
    kinds = Counter(_kind_of(each, bucket) for each in requests)
    return Counted(kinds, in_a_row(requests), seconds)


def _kind_of(request: Request, bucket: str) -> str:
    url = urlsplit(request.path)
    if "list-type=" in url.query:
        return "LIST"
    # The names in a key are encoded, and the key again.
    key = unquote(url.path).removeprefix(f"/{bucket}/{_PREFIX}/")
    return f"{request.method} of {stored.kind_of(key)}"
