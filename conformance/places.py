"""Where clients are sent: servers that the kit starts, and a server that runs already.

Servers that no case harms are shared by all cases of a run.
"""

import asyncio
import json
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from conformance.scripted.server import Scripted
from tests.support.certificates import Authority
from tests.support.ports import free_port

_START_SECONDS = 60
_LINE_BYTES = 1 << 20
# A command line; the program of this environment by default.
_COMMAND = shlex.split(os.environ.get("HOLDFAST_SERVER", "")) or [sys.executable, "-m", "holdfast_server"]


class Server:
    """A real server in its own process, which can be killed and started again at the same address.

    Args:
        folder: its store.
        flags: more flags of `serve`.

    Attributes:
        target: host:port.
        folder: its store.

    """

    def __init__(self, folder: Path, flags: Sequence[str] = ()) -> None:
        self.folder = folder
        self.target = f"127.0.0.1:{free_port()}"
        self._flags = flags
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        arguments = ["serve", "--listen", self.target, "--store", str(self.folder), "--log-level", "error"]
        self._process = await asyncio.create_subprocess_exec(
            *_COMMAND, *arguments, *self._flags, stdout=asyncio.subprocess.PIPE, limit=_LINE_BYTES
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(_START_SECONDS):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server did not start: {' '.join([*_COMMAND, *arguments, *self._flags])}")
        assert json.loads(line)["address"] == self.target

    async def stop(self, number: signal.Signals) -> None:
        """Send it a signal and wait until it has ended."""
        self.signal(number)
        await self.ended()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def ended(self) -> None:
        """Wait until it has ended."""
        if self._process is not None:
            await self._process.wait()


class Places:
    """The servers of a run.

    Args:
        folder: where the stores of servers go.
        target: a server that runs already, for the cases that harm none; "" to start one.

    """

    def __init__(self, folder: Path, target: str = "") -> None:
        self._folder = folder
        self._target = target
        self._number = 0
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._shared: dict[str, Any] = {}
        self.scripted = Scripted()

    async def __aenter__(self) -> "Places":
        await self._stack.enter_async_context(self.scripted.running())
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._stack.aclose()

    @property
    def has_only_target(self) -> bool:
        """Whether cases go to a server that runs already, which can be neither killed nor damaged."""
        return bool(self._target)

    async def shared(self) -> tuple[str, Path | None]:
        """Return the address of the server that all cases share, and its store if it is known."""
        if self._target:
            return self._target, None
        async with self._lock:
            if "server" not in self._shared:
                self._shared["server"] = await self._stack.enter_async_context(self.server())
        server = self._shared["server"]
        return server.target, server.folder

    async def secure(self) -> tuple[str, Mapping[str, str]]:
        """Return the address of a server with TLS and tokens, and the files and tokens that its callers need."""
        async with self._lock:
            if "secure" not in self._shared:
                self._shared["secure"] = await self._secured()
        server, names = self._shared["secure"]
        return server.target, names

    async def mutual(self) -> tuple[str, Mapping[str, str]]:
        """Return the address of a server that requires certificates of its callers, and the files that they need."""
        async with self._lock:
            if "mutual" not in self._shared:
                self._shared["mutual"] = await self._requiring_certificates()
        server, names = self._shared["mutual"]
        return server.target, names

    @asynccontextmanager
    async def server(self, *flags: str, folder: Path | None = None) -> AsyncIterator[Server]:
        """Run a server while the block lasts."""
        server = Server(folder or self.new_folder(), flags)
        await server.start()
        try:
            yield server
        finally:
            await server.stop(signal.SIGKILL)

    def new_folder(self) -> Path:
        """Return a folder that does not exist yet."""
        self._number += 1
        return self._folder / f"store-{self._number}"

    async def _secured(self) -> tuple[Server, Mapping[str, str]]:
        folder = self._folder / "secure"
        authority = Authority(folder / "authority")
        other = Authority(folder / "other")
        pair = authority.issue()
        tokens = folder / "tokens.json"
        creating = await asyncio.create_subprocess_exec(
            *_COMMAND, "token", "create", "kit", "--expires-in", "1d", "--tokens-file", str(tokens),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        token, said = await creating.communicate()
        if creating.returncode:
            raise RuntimeError(f"no token was created: {said.decode()}")
        flags = ["--tls-cert-file", str(pair.cert_file), "--tls-key-file", str(pair.key_file)]
        server = await self._stack.enter_async_context(self.server(*flags, "--tokens-file", str(tokens)))
        return server, {
            "ca_file": str(authority.ca_file),
            "other_ca_file": str(other.ca_file),
            "token": token.decode().strip(),
            "port": server.target.rpartition(":")[2],
        }

    async def _requiring_certificates(self) -> tuple[Server, Mapping[str, str]]:
        authority = Authority(self._folder / "mutual" / "authority")
        # Named like the first one: a client may choose its certificate by the names of authorities.
        other = Authority(self._folder / "mutual" / "other", "Authority authority")
        pair, caller, stranger = authority.issue(), authority.issue("caller", hosts=()), other.issue("caller", hosts=())
        flags = ["--tls-cert-file", str(pair.cert_file), "--tls-key-file", str(pair.key_file)]
        flags += ["--tls-client-ca-file", str(authority.ca_file)]
        server = await self._stack.enter_async_context(self.server(*flags))
        return server, {
            "ca_file": str(authority.ca_file),
            "cert_file": str(caller.cert_file),
            "key_file": str(caller.key_file),
            "other_cert_file": str(stranger.cert_file),
            "other_key_file": str(stranger.key_file),
        }
