"""The ops of the protocol, each a call of the SDK."""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from itertools import chain, repeat
from typing import Any

import holdfast

from conformance.content import decoded
from conformance.drivers.python import answers
from conformance.drivers.python.mutants import MUTANTS, Mutated, options

FEATURES = ["files", "pipeline", "rolled_back"]


class Ops:
    """The clients and handles of one driver, and the ops that use them.

    Args:
        mutant: how to behave wrongly; "" for not at all.

    """

    def __init__(self, mutant: str) -> None:
        self._mutant = mutant
        self._clients: dict[str, holdfast.AsyncClient] = {}
        self._handles: dict[str, holdfast.AsyncWorkflow] = {}

    async def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """Run a command and return its answer."""
        given = {name: value for name, value in command.items() if value is not None}
        op = given.pop("op")
        if op not in _OPS:
            raise ValueError(f"unknown op {op!r}")
        result: dict[str, Any] = await _OPS[op](self, given)
        return result

    async def close(self) -> None:
        """Close every client."""
        for client in self._clients.values():
            await client.close()

    async def _hello(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"client": "Python", "version": "", "features": FEATURES, "mutants": list(MUTANTS)}

    async def _open(self, given: dict[str, Any]) -> dict[str, Any]:
        given = options(self._mutant, given)
        targets: list[str] = given["targets"]
        known: dict[str, Any] = {name: given[name] for name in ("insecure",) if name in given}
        if "timeout_ms" in given:
            known["timeout"] = given["timeout_ms"] / 1000
        if "retry" in given:
            known["retry"] = _policy(given["retry"])
        if "tls" in given:
            known["tls"] = holdfast.TLS(**given["tls"])
        if "token" in given:
            known["token"] = given["token"]
        if "tokens" in given:
            known["token"] = _source(given["tokens"])
        if "producer" in given:
            known["producer"] = (given["producer"]["name"], given["producer"]["version"])
        target = targets[0] if len(targets) == 1 else f"ipv4:{','.join(targets)}"
        client = holdfast.AsyncClient(target, **known)
        transport = client._transport  # noqa: SLF001 - the mutants are put between the client and its connection
        transport.stub = Mutated(transport.stub, self._mutant, known.get("timeout"))
        self._clients[given["client"]] = client
        return {}

    async def _close(self, given: dict[str, Any]) -> dict[str, Any]:
        await self._clients.pop(given["client"]).close()
        return {}

    async def _workflow(self, given: dict[str, Any]) -> dict[str, Any]:
        client = self._clients[given["client"]]
        self._handles[given["handle"]] = client.workflow(given["namespace"], given["workflow_id"])
        return {}

    async def _state(self, given: dict[str, Any]) -> dict[str, Any]:
        handle = self._handles[given["handle"]]
        return {
            "revision": None if handle.revision is None else str(handle.revision),
            "epoch": None if handle.epoch is None else str(handle.epoch),
            "checkpoint_id": handle.checkpoint_id,
        }

    async def _save(self, given: dict[str, Any]) -> dict[str, Any]:
        parts = {part["name"]: decoded(part["data"]) for part in given.pop("parts")}
        method, known = self._bound("save", given)
        return answers.checkpoint(await method(data=parts[""] if list(parts) == [""] else parts, **known))

    async def _load(self, given: dict[str, Any]) -> dict[str, Any]:
        method, known = self._bound("load", given)
        return answers.loaded(await method(**known))

    async def _load_to(self, given: dict[str, Any]) -> dict[str, Any]:
        method, known = self._bound("load_to", given)
        return answers.loaded_file(await method(**known))

    async def _resume(self, given: dict[str, Any]) -> dict[str, Any]:
        if "migrations" in given:
            given["migrations"] = _migrations(given["format"]["name"], given["migrations"])
        method, known = self._bound("resume", given)
        return answers.loaded(await method(**known))

    async def _list(self, given: dict[str, Any]) -> dict[str, Any]:
        limit = given.pop("limit", None)
        method, known = self._bound("list", given)
        found: list[dict[str, Any]] = []
        iterator = method(**known)
        async for checkpoint in iterator:
            found.append(answers.checkpoint(checkpoint))
            if len(found) == limit:
                break
        await iterator.aclose()
        return {"checkpoints": found}

    async def _validate(self, given: dict[str, Any]) -> dict[str, Any]:
        method, known = self._bound("validate", given)
        return answers.validation(await method(**known))

    async def _delete(self, given: dict[str, Any]) -> dict[str, Any]:
        method, known = self._bound("delete", given)
        return {"revision": str(await method(**known))}

    async def _delete_workflow(self, given: dict[str, Any]) -> dict[str, Any]:
        method, known = self._bound("delete_workflow", given)
        return {"revision": str(await method(**known))}

    async def _acquire_writer(self, given: dict[str, Any]) -> dict[str, Any]:
        method, known = self._bound("acquire_writer", given)
        writer = await method(**known)
        return {"epoch": str(writer.epoch), "revision": str(writer.revision)}

    async def _attach(self, given: dict[str, Any]) -> dict[str, Any]:
        given["records"] = [
            holdfast.Record(each["key"], decoded(each["data"]), each.get("replace", False)) for each in given["records"]
        ]
        method, known = self._bound("attach", given)
        await method(**known)
        return {}

    async def _records(self, given: dict[str, Any]) -> dict[str, Any]:
        method, known = self._bound("records", given)
        return {"records": answers.records(await method(**known))}

    def _bound(self, name: str, given: dict[str, Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
        """Return the method of the handle or of the client, and its arguments."""
        if "handle" in given:
            owner: Any = self._handles[given.pop("handle")]
            for inherited in ("client", "namespace", "workflow_id"):
                given.pop(inherited, None)
        else:
            owner = self._clients[given.pop("client")]
        return getattr(owner, name), {
            _NAMES.get(key, key): _CONVERSIONS.get(key, _same)(value) for key, value in given.items()
        }


def _policy(given: Mapping[str, Any]) -> holdfast.RetryPolicy:
    names = {
        "burst": ("burst_retries", 1),
        "per_second": ("retries_per_second", 1),
        "initial_backoff_ms": ("initial_backoff_seconds", 1000),
        "max_backoff_ms": ("max_backoff_seconds", 1000),
        "attempt_timeout_ms": ("attempt_timeout_seconds", 1000),
    }
    return holdfast.RetryPolicy(**{names[name][0]: value / names[name][1] for name, value in given.items()})


def _source(tokens: list[str]) -> Callable[[], str]:
    following = chain(tokens, repeat(tokens[-1]))
    return lambda: next(following)


def _migrations(name: str, steps: Iterable[Mapping[str, Any]]) -> holdfast.Migrations:
    known = holdfast.Migrations()
    for step in steps:
        known.register(name, from_version=step["from_version"])(_migration(step))
    return known


def _migration(step: Mapping[str, Any]) -> Callable[[Mapping[str, bytes]], Mapping[str, bytes]]:
    def migrate(parts: Mapping[str, bytes]) -> Mapping[str, bytes]:
        if "fail" in step:
            raise RuntimeError(step["fail"])
        return {name: data + step["append"].encode() for name, data in parts.items()}

    return migrate


def _same(value: Any) -> Any:
    return value


_NAMES = {"timeout_ms": "timeout", "ttl_ms": "ttl", "lease_ms": "lease"}
_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "timeout_ms": lambda given: given / 1000,
    "ttl_ms": lambda given: timedelta(milliseconds=given),
    "lease_ms": lambda given: timedelta(milliseconds=given),
    "expected_revision": int,
    "epoch": int,
    "max_bytes": int,
    "format": lambda given: holdfast.Format(**given),
    "accepted_formats": lambda given: [holdfast.AcceptedFormat(**each) for each in given],
}
_OPS: dict[str, Callable[[Ops, dict[str, Any]], Any]] = {
    name.removeprefix("_"): getattr(Ops, name)
    for name in (
        "_hello", "_open", "_close", "_workflow", "_state", "_save", "_load", "_load_to", "_resume", "_list",
        "_validate", "_delete", "_delete_workflow", "_acquire_writer", "_attach", "_records",
    )
}  # fmt: skip
