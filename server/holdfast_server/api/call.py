"""A call in progress: who makes it, what it is about, and what it may do."""

import re
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from holdfast_server.api import requests
from holdfast_server.api.admission import Permit
from holdfast_server.api.malformed import refuse_malformed
from holdfast_server.protocol.log.append_once import Origin
from holdfast_server.telemetry import CallSpan
from holdfast_server.trust.audited_call import AuditedCall
from holdfast_server.trust.authorization import Authorization
from holdfast_server.trust.principal import ANONYMOUS, Principal

METHOD_PREFIX = "holdfast.v1.CheckpointService/"
# A longer id is cut before it is logged, traced or sent back. Every call refuses it.
_MAX_ID_CHARACTERS = 512
# gRPC's own retries state their number here.
PREVIOUS_ATTEMPTS_KEY = "grpc-previous-rpc-attempts"
_ATTEMPTS = re.compile("[0-9]{1,4}")


class Call:
    """A call in progress.

    Attributes:
        method: the full method.
        deadline: until when the call may work, in the event loop's time.
        span: the call's span.
        permit: what the call holds while it is admitted.
        previous_attempts: how often gRPC itself has sent the call before.
        principal: the caller; set before the request is taken.
        request: the request; None if a stream brings it.
        audited: the call, as the audit log sees it; None if there is no audit log.

    """

    __slots__ = (
        "_authorization",
        "_decided",
        "_header",
        "audited",
        "deadline",
        "method",
        "permit",
        "previous_attempts",
        "principal",
        "request",
        "span",
    )

    def __init__(
        self,
        method: str,
        span: CallSpan,
        permit: Permit,
        deadline: float,
        previous_attempts: int,
        *,
        authorization: Authorization,
    ) -> None:
        self.method = method
        self.deadline = deadline
        self.span = span
        self.permit = permit
        self.previous_attempts = previous_attempts
        self.principal: Principal = ANONYMOUS
        self.request: Any = None
        self.audited: AuditedCall | None = None
        self._authorization = authorization
        self._header: object = None
        # The request, or the first message of a stream, once it has come.
        self._decided: object = None

    @property
    def trace_id(self) -> str:
        """The trace, 32 hex digits."""
        return self.span.trace_id

    @property
    def request_id(self) -> str:
        """The idempotency key; "" before the request is known, and if it has none."""
        return self._id("request_id")

    def describe(self, *, checkpoint: str = "", revision: int = 0) -> None:
        """Say in the span and in the audit log which checkpoint and revision the call is about."""
        self.span.describe(checkpoint=checkpoint, revision=revision)
        if self.audited is not None:
            self.audited.describe(checkpoint=checkpoint, revision=revision)

    async def record_request(self) -> None:
        """Write the request to the audit log, if the call must not take effect otherwise.

        Raises:
            HoldfastError: AUDIT_UNAVAILABLE.

        """
        if self.audited is not None:
            await self.audited.record_request()

    @property
    def origin(self) -> Origin:
        """What the marker keeps of the call."""
        return Origin(self.trace_id, self.principal.recorded_name)

    def set_request(self, request: object) -> None:
        """Take the request's ids into the span and the errors, and count the call for its namespace.

        Every request passes here before a handler makes keys of its namespace. A caller without rights in the namespace
        learns nothing of it and uses nothing of what it may have in flight.

        Raises:
            InvalidRequestError: the request could not be parsed, or its namespace is not allowed.
            HoldfastError: PERMISSION_DENIED. OVERLOADED: the namespace has too many calls or streams in flight.

        """
        refuse_malformed(request)
        self._header = getattr(request, "header", request)
        if self.audited is not None:
            self.audited.take(self._header)
        if self.span.is_recording:
            self.span.describe(
                namespace=self._id("namespace"),
                workflow=self._id("workflow_id"),
                checkpoint=self._id("checkpoint_id"),
                request_id=self.request_id,
            )
        self._decided = request
        self.require_right(self.principal)
        self.permit.enter_namespace(self._id("namespace"))
        if self.previous_attempts and isinstance(request, Message):
            _set_attempt_number(request, self.previous_attempts)

    def require_right(self, principal: Principal) -> None:
        """Refuse the call if a principal may not make it. A stream whose request has not come yet is not refused.

        Raises:
            InvalidRequestError: the namespace of the request is not allowed.
            HoldfastError: PERMISSION_DENIED.

        """
        if not self._authorization.is_on or self._decided is None:
            return
        namespace: str | None = getattr(self._header, "namespace", None)
        if namespace is not None:
            requests.namespace(namespace)
        self._authorization.require(
            principal, self.method.removeprefix(METHOD_PREFIX), self._decided, "" if namespace is None else namespace
        )

    def readable(self) -> frozenset[str]:
        """Return the patterns of the namespaces that the caller may read."""
        return self._authorization.readable(self.principal)

    def _id(self, field: str) -> str:
        return str(getattr(self._header, field, ""))[:_MAX_ID_CHARACTERS]


def previous_attempts(headers: Mapping[str, str]) -> int:
    """Return how often gRPC itself has sent a call before; 0 if the header is absent or malformed."""
    attempts = headers.get(PREVIOUS_ATTEMPTS_KEY)
    return int(attempts) if attempts is not None and _ATTEMPTS.fullmatch(attempts) else 0


def _set_attempt_number(request: Message, previous: int) -> None:
    """Count gRPC's own retries in the request's attempt, which the caller set before them."""
    fields = request.DESCRIPTOR.fields_by_name
    if "header" in fields and not request.HasField("header"):
        return
    header: Any = request.header if "header" in fields else request  # type: ignore[attr-defined]
    if "attempt" in header.DESCRIPTOR.fields_by_name and header.attempt.number in (0, 1):
        header.attempt.number = previous + 1
