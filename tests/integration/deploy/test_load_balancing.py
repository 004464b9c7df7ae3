"""Two servers behind a list of addresses and behind a real HAProxy: one is killed under load, and nothing is lost."""

import asyncio
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import holdfast
import pytest
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1 import checkpoint_service_pb2_grpc

from tests.support import servers
from tests.support.both_clients import ClientInThreads
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.repository import ROOT
from tests.support.required import require
from tests.support.scraping import Scraped

FORMAT = holdfast.Format("test", 1)
CONFIG = ROOT / "deploy" / "load-balancing" / "haproxy.cfg"
PAGE = ROOT / "docs" / "guides" / "load-balancing.md"
_CLI = "import holdfast_command; holdfast_command.main()"
CLIENTS = 6
# Of each client, before and after a server is killed.
SAVES = 40

pytestmark = [pytest.mark.needs_budget("full"), pytest.mark.timeout(300)]


@dataclass(slots=True)
class Server:
    """A server process, its address, and that of its metrics."""

    process: subprocess.Popen[str]
    scraped: Scraped

    def saves(self):
        """Return how many checkpoints it has saved."""
        found = self.scraped.metrics().get("holdfast_checkpoints")
        return sum(sample.value for sample in found.samples) if found else 0


@contextmanager
def two_servers(folder: Path, *flags: str) -> Iterator[list[Server]]:
    """Run two servers on one store while the block lasts."""
    found = []
    try:
        for _ in range(2):
            process = servers.started(
                "--listen", "127.0.0.1:0", "--store", folder.as_uri(), "--metrics-listen", "127.0.0.1:0", *flags
            )
            line = json.loads(process.stdout.readline())
            found.append(Server(process, Scraped(line["address"], line["metrics_address"])))
        yield found
    finally:
        for each in found:
            each.process.terminate()
        for each in found:
            each.process.wait(30)


@contextmanager
def haproxy(folder: Path, authority: Authority, addresses: list[str]) -> Iterator[str]:
    """Run HAProxy with the project's configuration before two servers. Yield its address."""
    pair = authority.issue("proxy")
    (folder / "holdfast.pem").write_bytes(pair.cert_file.read_bytes() + pair.key_file.read_bytes())
    shutil.copy(authority.ca_file, folder / "holdfast-ca.pem")
    listen = f"127.0.0.1:{free_port()}"
    text = CONFIG.read_text()
    for given, real in (
        ("127.0.0.1:7433", listen),
        ("127.0.0.1:17433", addresses[0]),
        ("127.0.0.1:27433", addresses[1]),
        ("/etc/haproxy", str(folder)),
    ):
        assert given in text
        text = text.replace(given, real)
    config = folder / "haproxy.cfg"
    config.write_text(text)
    subprocess.run(["haproxy", "-c", "-f", str(config)], check=True, stdout=subprocess.DEVNULL)
    [shown] = re.findall(r"```console\n(haproxy .*)\n", PAGE.read_text())
    # In the foreground.
    command = [*shlex.split(shown.replace("deploy/load-balancing/haproxy.cfg", str(config))), "-db"]
    with subprocess.Popen(command) as process:
        try:
            yield listen
        finally:
            process.terminate()


class Load:
    """Clients that save, each in a workflow of its own, and what was acknowledged to them.

    Args:
        clients: the clients.

    """

    def __init__(self, clients):
        self._clients = clients
        self._acknowledged = {number: {} for number in range(len(clients))}

    @property
    def saves(self):
        return sum(map(len, self._acknowledged.values()))

    async def run(self):
        """Save with all clients at once."""
        await asyncio.gather(*(self._save(number, client) for number, client in enumerate(self._clients)))

    async def _save(self, number, client):
        for _ in range(SAVES):
            data = b"%d %d " % (number, len(self._acknowledged[number])) * 100
            saved = await client.save("n", f"w{number}", data, format=FORMAT, timeout=60)
            self._acknowledged[number][saved.checkpoint_id] = data

    async def run_while(self, kill):
        """Save with all clients, and kill a server in the middle."""
        before = self.saves
        running = asyncio.create_task(self.run())
        while self.saves < before + CLIENTS * SAVES // 4:
            await asyncio.sleep(0.01)
            if running.done():
                break
        kill()
        await running

    async def require_all(self, client):
        """Check that each save was committed once, with its bytes."""
        for number, saved in self._acknowledged.items():
            listed = [each.checkpoint_id async for each in client.list("n", f"w{number}")]
            assert sorted(listed) == sorted(saved)
            for checkpoint_id, data in saved.items():
                assert (await client.load("n", f"w{number}", checkpoint_id)).data == data


@asynccontextmanager
async def clients_of(targets, tls=None):
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(holdfast.AsyncClient(target, tls=tls)) for target in targets]


async def test_behind_haproxy_both_servers_serve_and_one_may_be_killed(tmp_path):
    require("" if shutil.which("haproxy") else "haproxy not found: .ci/run installs it")
    authority = Authority(tmp_path / "tls")
    pair = authority.issue()
    flags = ["--tls-cert-file", str(pair.cert_file), "--tls-key-file", str(pair.key_file)]
    with (
        two_servers(tmp_path / "store", *flags) as (first, second),
        haproxy(tmp_path, authority, [first.scraped.target, second.scraped.target]) as address,
    ):
        tls = holdfast.TLS(ca_file=authority.ca_file)
        async with clients_of([address] * CLIENTS, tls) as clients:
            load = Load(clients)
            await load.run()
            assert first.saves() > 0
            assert second.saves() > 0
            await load.run_while(first.process.kill)
            large = bytes(range(256)) * 40_000
            await clients[0].save("n", "large", large, format=FORMAT)
            assert (await clients[1].load("n", "large")).data == large
            await load.require_all(clients[0])


async def test_with_a_list_of_addresses_one_server_may_be_killed(tmp_path):
    with two_servers(tmp_path / "store") as (first, second):
        one, other = first.scraped.target, second.scraped.target
        targets = [f"ipv4:{one},{other}", f"ipv4:{other},{one}"] * (CLIENTS // 2)
        async with clients_of(targets) as clients:
            load = Load(clients)
            await load.run()
            assert first.saves() > 0
            assert second.saves() > 0
            await load.run_while(first.process.kill)
            await load.require_all(clients[0])


def test_the_commands_of_the_guide_reach_the_server_that_is_left(tmp_path):
    [shown] = re.findall(r"```console\n(holdfast list .*?)```", PAGE.read_text(), re.DOTALL)
    with two_servers(tmp_path / "store") as (first, second):
        with holdfast.Client(second.scraped.target) as client:
            saved = client.save("my-app", "run-42", b"x", format=FORMAT)
        first.process.kill()
        port = second.scraped.target.rpartition(":")[2]
        for old, new in (
            ("10.0.0.1:7433", first.scraped.target),
            ("10.0.0.2:7433", second.scraped.target),
            ("holdfast-headless.default.svc:7433", f"localhost:{port}"),
        ):
            shown = shown.replace(old, new)
        for command in shown.splitlines():
            assert command.startswith("holdfast ")
            arguments = [sys.executable, "-c", _CLI, *shlex.split(command)[1:]]
            done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True)
            assert saved.checkpoint_id in done.stdout


@pytest.mark.parametrize("kind", [holdfast.AsyncClient, ClientInThreads])
async def test_with_round_robin_one_client_uses_both_servers_and_one_may_be_killed(tmp_path, kind):
    with two_servers(tmp_path / "store") as (first, second):
        target = f"ipv4:{first.scraped.target},{second.scraped.target}"
        async with kind(target, load_balancing="round_robin") as client:
            load = Load([client] * CLIENTS)
            # The second connection may be made later than the first.
            while not (first.saves() and second.saves()):
                await client.save("n", "first", b"x", format=FORMAT)
            before = first.saves(), second.saves()
            await load.run()
            shares = first.saves() - before[0], second.saves() - before[1]
            assert min(shares) >= CLIENTS * SAVES // 8
            await load.run_while(first.process.kill)
            large = bytes(range(256)) * 40_000
            await client.save("n", "large", large, format=FORMAT)
            assert (await client.load("n", "large")).data == large
            await load.require_all(client)


async def test_round_robin_sends_each_call_to_the_next_server_and_goes_on_without_a_killed_one(tmp_path):
    [service_config] = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with two_servers(tmp_path / "store") as (first, second):
        target = f"ipv4:{first.scraped.target},{second.scraped.target}"
        options = [("grpc.service_config", service_config), ("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            stub = checkpoint_service_pb2_grpc.CheckpointServiceStub(channel)

            async def save(number):
                """Save, and send the same request again until it is answered."""
                request = api.SaveRequest(parts=[{"data": b"%d" % number}])
                header = request.header
                header.namespace, header.workflow_id, header.request_id = "n", "w", f"request-{number}"
                header.format.name, header.format.version = "test", 1
                while True:
                    try:
                        return (await stub.Save(request, timeout=10)).checkpoint.revision
                    except grpc.aio.AioRpcError as error:
                        assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - others are not repeated
                        await asyncio.sleep(0.01)

            revisions = []
            # The second connection may be made later than the first.
            while not (first.saves() and second.saves()):
                revisions.append(await save(len(revisions)))
            before = first.saves(), second.saves()
            for _ in range(20):
                revisions.append(await save(len(revisions)))
            assert min(first.saves() - before[0], second.saves() - before[1]) >= 5
            first.process.kill()
            for _ in range(20):
                revisions.append(await save(len(revisions)))
            assert revisions == list(range(1, len(revisions) + 1))
