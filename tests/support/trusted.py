"""A server with a policy, whose callers say who they are: the header "principal" is believed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from holdfast_server.api.calls import Calls
from holdfast_server.api.grpc_methods import add_to_server
from holdfast_server.api.pipeline.pipelines import Pipelines
from holdfast_server.config import Config
from holdfast_server.open_service import open_service
from holdfast_server.stores.base import ObjectStore
from holdfast_server.stores.memory import MemoryStore
from holdfast_server.trust.authorization import Authorization
from holdfast_server.trust.policy import Policy, parse
from holdfast_server.trust.principal import ANONYMOUS, Principal
from holdfast_server.trust.watched_file import Watched


class ByHeader:
    """Authentication by the header "principal", which has the caller's identities with commas between them."""

    def at_once(self, caller):
        given = caller.headers.get("principal")
        if given is None:
            return ANONYMOUS
        identities = tuple(given.split(","))
        return Principal(identities[0], identities)

    async def principal_of(self, caller):
        return self.at_once(caller)

    def on_change(self, listener):
        """Do nothing: whatever the header says is valid."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """A running server.

    Attributes:
        target: its address.
        stub: a stub.
        policy: the policy, as the value of a watched file.
        calls: the calls that it admits.

    """

    target: str
    stub: CheckpointServiceStub
    policy: Watched[Policy]
    calls: Calls


def by(principal: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a principal's call."""
    return (("principal", principal),)


@asynccontextmanager
async def trusted(policy: str, store: ObjectStore | None = None) -> AsyncIterator[Trusted]:
    """Run a server with a policy.

    Args:
        policy: the text of the policy file.
        store: the store; None for a new one in memory.

    """
    current = Watched(parse(policy.encode()))

    async def ignore(is_ready: bool) -> None:
        pass

    async with open_service(
        Config(store="file:///unused"),
        store if store is not None else MemoryStore(),
        on_ready=ignore,
        authentication=ByHeader(),
        authorization=Authorization(current),
    ) as (service, calls):
        server = grpc.aio.server()
        add_to_server(service, Pipelines(service, calls, age_seconds=60), server)
        target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            async with grpc.aio.insecure_channel(target) as channel:
                yield Trusted(target, CheckpointServiceStub(channel), current, calls)
        finally:
            await server.stop(0)
