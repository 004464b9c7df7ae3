"""Each panel of each dashboard shows data of a soak: two servers under load, with collections, and a real Prometheus.

Nothing disturbs the servers or the store here, so panels of faults show none.
"""

import asyncio
import math
import shutil
import time
import uuid
from contextlib import AsyncExitStack, contextmanager

import holdfast
import pytest
from holdfast_server.stores.s3 import S3Store

from tests.support import object_servers, prometheus
from tests.support.dashboards import DASHBOARDS, expressions
from tests.support.ports import free_port
from tests.support.required import require
from tests.verification.soak.ledger import Ledger
from tests.verification.soak.soak import start_users
from tests.verification.soak.world import Store, World, folder

# How long it may take until every panel has data, on a busy machine.
_SECONDS = 240
_NO_FAULTS = "no call and no request to the store fails through a fault"
# Expressions that are zero all the time, and why. One that shows more must be removed here.
ZERO = {
    "capacity: Refused for lack of capacity A": "the load is below every limit",
    "engines: Damaged A": "nothing damages the store",
    "engines: Fallbacks A": "nothing damages the store",
    "engines: Refused formats A": "all users have one format",
    "store: Failed requests A": _NO_FAULTS,
    "store: Failures of the store A": _NO_FAULTS,
    "store: Orphans and workflows left alone B": "nothing damages the store",
}
# Expressions without any series, by the kind of store, and why. One that has a series must be removed here.
_CERTIFICATE = {"capacity: Certificate A": "the servers of a soak have no certificate"}
_SPACE = "a bucket has no free space that can be read"
ABSENT = {
    "file": _CERTIFICATE,
    "s3": _CERTIFICATE | {"capacity: Free space A": _SPACE, "store: Free space A": _SPACE},
}


@contextmanager
def stored_in_minio(request, path):
    endpoint = request.getfixturevalue("minio_endpoint")
    request.getfixturevalue("monkeypatch").setenv("AWS_ENDPOINT_URL_S3", endpoint)
    bucket = object_servers.create_bucket(endpoint)
    yield Store(f"s3://{bucket}/soak", path, lambda _: None, lambda: S3Store.open(bucket, "soak"))


@pytest.mark.needs_budget("full")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["file", "s3"])
async def test_every_panel_shows_data_of_a_soak_for_all_servers_and_for_each(kind, request, tmp_path):
    require("" if shutil.which("prometheus") else "prometheus not found: .ci/run installs it")
    servers = (f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    ledger = Ledger()
    over = asyncio.Event()
    with (
        folder(tmp_path) if kind == "file" else stored_in_minio(request, tmp_path) as store,
        prometheus.running(tmp_path, *servers) as found,
    ):
        async with World.running(store, servers) as world, AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(holdfast.AsyncClient(each, timeout=40)) for each in world.targets
            ]
            async with asyncio.TaskGroup() as group:
                start_users(group, clients, ledger, over.is_set)
                group.create_task(look_for_what_is_not_there(clients, ledger, over))
                try:
                    await asyncio.to_thread(wait_for_panels, found, servers, ABSENT[kind])
                finally:
                    over.set()
    assert ledger.broken == []


async def look_for_what_is_not_there(clients, ledger, over):
    """Load absent workflows, as callers do who want to know whether they must begin."""
    while not over.is_set():
        for client in clients:
            try:
                await client.load("kept", str(uuid.uuid4()))
            except holdfast.HoldfastError as error:
                ledger.fail("load of an absent workflow", error, frozenset({"WORKFLOW_NOT_FOUND"}))
        await asyncio.sleep(0.2)


def wait_for_panels(found, servers, absent):
    """Wait until each expression has shown data, then until those that should have none have none.

    The latter are awaited too: on a busy machine a request can fail now and then.
    """
    every = {
        (f"{path.stem}: {title}", server): expression
        for path in DASHBOARDS
        for server in ("", *servers)
        for title, expression in expressions(path, server).items()
    }
    assert ZERO.keys() | absent.keys() <= {title for title, _ in every}

    def has_data(title, values):
        return any(each and not math.isnan(each) for each in values)

    def has_none(title, values):
        return not values if title in absent else bool(values) and not any(values)

    quiet = {key: expression for key, expression in every.items() if key[0] in ZERO or key[0] in absent}
    wait_for(found, {key: expression for key, expression in every.items() if key not in quiet}, has_data)
    wait_for(found, quiet, has_none)


def wait_for(found, waiting, is_right):
    deadline = time.monotonic() + _SECONDS
    while waiting:
        values = {key: found.values(expression) for key, expression in waiting.items()}
        waiting = {key: waiting[key] for key, each in values.items() if not is_right(key[0], each)}
        assert not waiting or time.monotonic() < deadline, {key: values[key] for key in waiting}
        time.sleep(0.2)
