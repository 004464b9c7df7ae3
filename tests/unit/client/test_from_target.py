"""`from_target` of the adapters: the client that it opens has the settings that it is given."""

import asyncio
from pathlib import Path
from typing import Any

import holdfast
import pytest
from holdfast.adapters.from_target import AsyncFromTarget, FromTarget

from tests.support.certificates import Authority
from tests.support.servers import server


class Asynchronous(AsyncFromTarget):
    def __init__(self, client: holdfast.AsyncClient, *, namespace: str) -> None:
        self.client, self.namespace = client, namespace


class Synchronous(FromTarget):
    def __init__(self, client: holdfast.Client, *, namespace: str) -> None:
        self.client, self.namespace = client, namespace


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def target(authority: Authority, tmp_path: Path):
    pair = authority.issue()
    files = f"--tls-cert-file={pair.cert_file}", f"--tls-key-file={pair.key_file}"
    with server((tmp_path / "store").as_uri(), *files) as target:
        yield target


async def test_an_adapter_uses_tls(authority: Authority, target: str):
    tls = holdfast.TLS(ca_file=authority.ca_file)

    def use(**settings: Any) -> None:
        with Synchronous.from_target(target, namespace="n", **settings) as adapter:
            adapter.client.capabilities()

    await asyncio.to_thread(use, tls=tls)
    async with Asynchronous.from_target(target, namespace="n", tls=tls) as adapter:
        await adapter.client.capabilities()
    with pytest.raises(holdfast.HandshakeFailedError):
        await asyncio.to_thread(use)
