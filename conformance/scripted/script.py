"""What the scripted server does in one case, and what it has seen there.

An entry of a script is for one call of a method, for as many as its `times` says, or for all that follow (`always`);
entries of one method are used in their order. A call without an entry is answered as a server of Holdfast would.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from conformance.content import decoded

_ENTRY = frozenset(
    {
        *("on", "times", "always", "fail", "hang", "delay_ms"),
        *("answer", "flip", "padding", "stream", "receive", "received", "going_away", "calls"),
    }
)
_FAIL = frozenset({"code", "reason", "message", "long", "retry_ms", "metadata", "violations", "domain"})


@dataclass(slots=True)
class Upload:
    """What has arrived of a streamed save: the name and the bytes of each part."""

    parts: list[tuple[str, bytearray]] = field(default_factory=list)

    @property
    def position(self) -> str:
        """The part to send next and the byte of it to begin with."""
        return f"{len(self.parts) - 1}:{len(self.parts[-1][1])}" if self.parts else "0:0"


class Script:
    """The script of one case.

    Args:
        entries: what to do, as a case says it.
        stored: pairs of name and bytes: the parts of the checkpoint that is stored.
        has_faults: whether to do it; otherwise every call is answered as a server would.

    Attributes:
        stored: the parts.
        seen: the calls that came, in their order, each a mapping that a case can compare.
        uploads: the streamed saves that have not ended, by request id.
        revision: the revision of the newest save.

    """

    def __init__(
        self, entries: Sequence[Mapping[str, Any]], stored: Sequence[Sequence[Any]], *, has_faults: bool = True
    ) -> None:
        self._entries: dict[str, list[Mapping[str, Any]]] = {}
        for entry in entries:
            if unknown := (entry.keys() - _ENTRY) | (entry.get("fail", {}).keys() - _FAIL):
                raise ValueError(f"unknown fields of a script: {', '.join(sorted(unknown))}")
            self._entries.setdefault(entry["on"], []).extend([entry] * entry.get("times", 1))
        self.has_pipeline = "Pipeline" in self._entries
        if not has_faults:
            self._entries.clear()
        self.stored = [(name, decoded(data)) for name, data in stored]
        self.seen: list[dict[str, Any]] = []
        self.uploads: dict[str, Upload] = {}
        self.revision = 1

    @property
    def unused(self) -> list[str]:
        """The methods of entries that no call has used."""
        return [
            method for method, entries in self._entries.items() if any(not entry.get("always") for entry in entries)
        ]

    def entry(self, method: str) -> Mapping[str, Any]:
        """Return the entry of the next call of a method; an empty one if there is none."""
        waiting = self._entries.get(method)
        if not waiting:
            return {}
        return waiting[0] if waiting[0].get("always") else waiting.pop(0)

    def see(self, method: str, request: Any, metadata: Mapping[str, Any], left: float | None) -> dict[str, Any]:
        """Note a call."""
        now = time.monotonic()
        same = [each for each in self.seen if each["method"] == method]
        header = getattr(request, "header", request)
        attempt = getattr(header, "attempt", None)
        elapsed_ms = 0.0 if attempt is None else attempt.elapsed.ToNanoseconds() / 1e6
        traceparent = metadata.get("traceparent", "")
        call = {
            "method": method,
            "request": json_format.MessageToDict(request, preserving_proto_field_name=True),
            "metadata": {name: value for name, value in metadata.items() if isinstance(value, str)},
            "request_id": getattr(header, "request_id", ""),
            "attempt": None if attempt is None else attempt.number,
            "elapsed_ms": elapsed_ms,
            "trace_id": traceparent.split("-")[1] if traceparent.count("-") == 3 else "",
            "left_ms": None if left is None else left * 1000,
            "total_ms": None if left is None else left * 1000 + elapsed_ms,
            "since_first_ms": (now - same[0]["at"]) * 1000 if same else 0.0,
            "since_previous_ms": (now - same[-1]["at"]) * 1000 if same else 0.0,
            "at": now,
        }
        self.seen.append(call)
        return call


class RefusedError(Exception):
    """A call that the script fails.

    Attributes:
        code: the status code.
        message: the status message.
        details: the serialized google.rpc.Status; None for none.

    """

    def __init__(self, code: grpc.StatusCode, message: str, details: bytes | None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


def refused(fail: Mapping[str, Any], trace_id: str = "", request_id: str = "") -> RefusedError:
    """Return the failure that a script describes; without a reason it has no details, like that of a proxy."""
    code = grpc.StatusCode[fail["code"]]
    # As long as a message may be: as bytes of UTF-8 that gRPC escapes.
    message = "é" * 256 if fail.get("long") else fail.get("message", "as the script says")
    if "reason" not in fail:
        return RefusedError(code, message, None)
    status = status_pb2.Status(code=code.value[0], message=message)
    info = error_details_pb2.ErrorInfo(reason=fail["reason"], domain=fail.get("domain", "holdfast.dev"))
    info.metadata.update(fail.get("metadata", {}))
    if fail.get("long"):
        info.metadata.update(dict.fromkeys(("first", "second", "third"), "m" * 512))
    details: list[Any] = [info, error_details_pb2.RequestInfo(request_id=request_id, serving_data=trace_id)]
    if "retry_ms" in fail:
        wait = Duration()
        wait.FromMilliseconds(fail["retry_ms"])
        details.append(error_details_pb2.RetryInfo(retry_delay=wait))
    if "violations" in fail:
        bad = error_details_pb2.BadRequest()
        for name, description in fail["violations"]:
            bad.field_violations.add(field=name, description=description)
        details.append(bad)
    for each in details:
        status.details.add().Pack(each)
    return RefusedError(code, message, status.SerializeToString())


async def obey(entry: Mapping[str, Any], call: Mapping[str, Any]) -> None:
    """Wait, hang or fail as an entry says.

    Raises:
        RefusedError: the entry fails the call.

    """
    if "delay_ms" in entry:
        await asyncio.sleep(entry["delay_ms"] / 1000)
    if entry.get("hang"):
        await asyncio.Event().wait()
    if "fail" in entry:
        raise refused(entry["fail"], call["trace_id"], call["request_id"])
