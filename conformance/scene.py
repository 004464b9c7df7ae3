"""One case on its stage: the servers, the proxy and the script that it needs, and its steps one after the other."""

import asyncio
import hashlib
import signal
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub

from conformance.cases import Case
from conformance.driver import Driver
from conformance.matching import differences
from conformance.places import Server
from conformance.proxy import Proxy
from conformance.scripted.script import Script
from tests.support import folder_objects
from tests.support.damage import damage

_WITHOUT_WORKFLOW = frozenset({"close", "state", "hello"})
_DEFAULT_FORMAT = {"name": "kit", "version": 1}
_SIGNALS = {"kill": signal.SIGKILL, "drain": signal.SIGTERM}


class FailedError(Exception):
    """A client that does not do what a case expects."""


class Scene:
    """What one run of a case has around it.

    Args:
        case: the case.
        driver: the driver that runs its commands.
        names: values that its steps may refer to, such as `$kit.token`.
        servers: the real servers that belong to the case alone.
        target: where the kit itself reaches the server.
        folder: the store of that server; None if it is not known.
        proxy: the proxy before the server, if there is one.
        script: the script, if the server is scripted.
        has_faults: whether to damage stored bytes where the case says so.

    """

    def __init__(
        self,
        case: Case,
        driver: Driver,
        names: dict[str, Any],
        *,
        servers: Sequence[Server] = (),
        target: str = "",
        folder: Path | None = None,
        proxy: Proxy | None = None,
        script: Script | None = None,
        has_faults: bool = True,
    ) -> None:
        self._case = case
        self._driver = driver
        self._known: dict[str, Any] = {"kit": names}
        self._servers = servers
        self._target = target
        self._folder = folder
        self._proxy = proxy
        self._script = script
        self._has_faults = has_faults
        self._running: dict[str, asyncio.Task[dict[str, Any]]] = {}
        self.clients: list[str] = []

    async def open(self) -> None:
        """Open the client that steps use if they name no other."""
        await self._done("open", self._command("open", {"client": "c"} | self._resolved(self._case.open)), {})

    async def run(self) -> None:
        """Run the steps.

        Raises:
            FailedError: the client did not do what a step expects.

        """
        for number, step in enumerate(self._case.steps, 1):
            kind = next(iter(step))
            try:
                await getattr(self, f"_do_{kind}")(self._resolved(step))
            except FailedError as error:
                raise FailedError(f"step {number} ({kind} {step[kind]}): {error}") from None
        if self._script is not None and self._script.unused:
            raise FailedError(f"the client never made the calls {', '.join(self._script.unused)} of the script")

    async def close(self) -> None:
        """End what still runs, and close the clients."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        for client in self.clients:
            await self._driver.run({"op": "close", "client": client})

    async def _do_call(self, step: dict[str, Any]) -> None:
        op = step.pop("call")
        expected: dict[str, Any] = {name: step.pop(name) for name in ("expect", "fails", "as") if name in step}
        name = step.pop("start", "")
        command = self._command(op, step)
        if name:
            self._running[name] = asyncio.create_task(self._driver.run(command))
        else:
            await self._done(op, command, expected)

    async def _do_wait(self, step: dict[str, Any]) -> None:
        name = step.pop("wait")
        self._check(await self._running.pop(name), {"as": name, **step}, name)

    async def _done(self, name: str, command: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
        answer = await self._driver.run(command)
        if name == "open" and "ok" in answer:
            self.clients.append(command["client"])
        self._check(answer, expected, name)

    def _check(self, answer: Mapping[str, Any], expected: Mapping[str, Any], name: str) -> None:
        if "error" in answer:
            error = answer["error"]
            if "fails" not in expected:
                raise FailedError(f"{name} failed with {error.get('reason')}: {error.get('message')}")
            found, wanted = error, expected["fails"]
        elif "fails" in expected:
            raise FailedError(f"{name} succeeded, where {expected['fails']} was expected")
        else:
            found, wanted = answer["ok"], expected.get("expect", {})
        self._known[expected.get("as", "last")] = found
        if problems := list(differences(wanted, found)):
            raise FailedError("; ".join(problems))

    async def _do_check(self, step: Mapping[str, Any]) -> None:
        values = step["of"]
        met = {
            "equal": lambda: all(value == values[0] for value in values),
            "distinct": lambda: len({str(value) for value in values}) == len(values),
            "rising": lambda: all(int(a) < int(b) for a, b in pairwise(values)),
        }[step["check"]]()
        if not met:
            raise FailedError(f"{values} are not {step['check']}")

    async def _do_proxy(self, step: Mapping[str, Any]) -> None:
        assert self._proxy is not None
        match step["proxy"]:
            case "cut-answers" | "hang-answers" as how:
                self._proxy.stop_answers(step["after"], silent=how.startswith("hang"))
            case "cut-requests" | "hang-requests" as how:
                self._proxy.stop_requests(step["after"], silent=how.startswith("hang"))
            case "hold-answer":
                self._proxy.hold_answer()
            case "held":
                await self._reached(self._proxy.held)
            case "has-cut":
                await self._reached(self._proxy.has_cut)
            case "cut":
                self._proxy.cut()
            case "silent":
                self._proxy.set_silent(True)
            case "speak":
                self._proxy.set_silent(False)
            case "delay":
                self._proxy.delay(step["ms"] / 1000)
            case other:
                raise ValueError(f"the proxy cannot {other!r}")

    async def _reached(self, event: asyncio.Event) -> None:
        """Wait until the proxy has done what a step prepared, or a call that runs has ended without it."""
        waiting = asyncio.create_task(event.wait())
        running = {waiting, *self._running.values()}
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED, timeout=None if len(running) > 1 else 0.1)
        if not waiting.done():
            waiting.cancel()
            raise FailedError("the connection was not used as the case expects")

    async def _do_server(self, step: Mapping[str, Any]) -> None:
        server = self._servers[step.get("which", 0)]
        match step["server"]:
            case "start":
                await server.start()
            case "ended":
                await server.ended()
            case "drain":
                server.signal(signal.SIGTERM)
            case name:
                await server.stop(_SIGNALS[name])

    async def _do_commits(self, step: Mapping[str, Any]) -> None:
        """Commit checkpoints of others to the workflow."""
        async with grpc.aio.insecure_channel(self._target) as channel:
            for _ in range(step["commits"]):
                header = checkpoint_pb2.SaveHeader(
                    namespace=self._known["kit"]["namespace"],
                    workflow_id=self._known["kit"]["workflow_id"],
                    request_id=uuid4().hex,
                    format=checkpoint_pb2.Format(name="kit", version=1),
                    attempt=checkpoint_pb2.Attempt(number=1),
                )
                stub: Any = CheckpointServiceStub(channel)
                await stub.Save(api.SaveRequest(header=header, parts=[checkpoint_pb2.Part(data=b"of others")]))

    async def _do_damage(self, step: Mapping[str, Any]) -> None:
        """Flip a byte of each blob of the case, or of each of its markers."""
        assert self._folder is not None
        kind = {"blobs": "blob", "markers": "log"}[step["damage"]]
        pattern = f"ns/{self._known['kit']['namespace']}/wf/*/{kind}/*"
        keys = await asyncio.to_thread(folder_objects.keys, self._folder, pattern)
        if not keys:
            raise RuntimeError(f"nothing to damage: no key matches {pattern}")
        for key in keys if self._has_faults else ():
            await asyncio.to_thread(damage, self._folder, key)

    async def _do_seen(self, step: Mapping[str, Any]) -> None:
        assert self._script is not None
        calls = [call for call in self._script.seen if call["method"] == step["seen"]]
        if "count" in step and (problems := list(differences(step["count"], len(calls), "the number of calls"))):
            raise FailedError("; ".join(problems))
        if "expect" in step and (problems := list(differences(step["expect"], calls))):
            raise FailedError("; ".join(problems))
        for name in step.get("same", ()):
            values = {call[name] for call in calls}
            if len(values) != 1 or not all(values):
                raise FailedError(f"{name} of the calls is {sorted(map(str, values))}, not one value")
        for name in step.get("differ", ()):
            found = [call[name] for call in calls]
            if len(set(found)) != len(found) or not all(found):
                raise FailedError(f"{name} of the calls is {found}, not different for each")

    async def _do_file(self, step: Mapping[str, Any]) -> None:
        def read() -> Mapping[str, str]:
            data = Path(step["file"]).read_bytes()
            return {"size": str(len(data)), "sha256": hashlib.sha256(data).hexdigest()}

        if problems := list(differences(step["expect"], await asyncio.to_thread(read), "the file")):
            raise FailedError("; ".join(problems))

    def _command(self, op: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a command, with the names that a step leaves out."""
        names = self._known["kit"]
        command = {"op": op, **given}
        if "data" in command:
            command["parts"] = [{"name": "", "data": command.pop("data")}]
        elif op == "save":
            command["parts"] = [{"name": name, "data": data} for name, data in command["parts"]]
        if "records" in command and op == "attach":
            command["records"] = [
                {"key": key, "data": data, **(more[0] if more else {})} for key, data, *more in command["records"]
            ]
        if op in ("save", "resume"):
            command.setdefault("format", _DEFAULT_FORMAT)
        if op == "open":
            command.setdefault("targets", names["targets"])
        if "handle" in command:
            command["handle"] = f"{names['namespace']}-{command['handle']}"
        if "handle" not in command or op == "workflow":
            command["client"] = f"{names['namespace']}-{command.get('client', 'c')}"
            if op not in _WITHOUT_WORKFLOW | {"open"}:
                command = {"namespace": names["namespace"], "workflow_id": names["workflow_id"]} | command
        return command

    def _resolved(self, value: Any) -> Any:
        """Return a value of a step with the values that it refers to."""
        if isinstance(value, Mapping):
            return {key: self._resolved(each) for key, each in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [self._resolved(each) for each in value]
        if isinstance(value, str) and value.startswith("$"):
            found: Any = self._known
            for key in value[1:].split("."):
                found = found[int(key)] if isinstance(found, list) else found[key]
            return found
        return value
