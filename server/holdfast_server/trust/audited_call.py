"""One call, as the audit log sees it."""

from typing import Any

from holdfast_server.trust.audit import AuditLog, new_call_id

# A longer id is cut. The call is refused in any case.
_MAX_ID_CHARACTERS = 512
# The fields of a request that a line keeps, by the names that the line has for them.
_IDS = {
    "namespace": "namespace",
    "namespace_prefix": "namespace_prefix",
    "workflow": "workflow_id",
    "workflow_prefix": "workflow_id_prefix",
    "target_workflow": "target_workflow_id",
    "checkpoint": "checkpoint_id",
}


class AuditedCall:
    """A call in progress that the audit log may hold.

    Args:
        log: the audit log.
        method: the method's name.
        peer: names the caller's connection.
        trace_id: the trace, 32 hex digits.

    Attributes:
        principal: the name of the caller's principal; "" as long as it is not known.

    """

    __slots__ = ("_fields", "_log", "_method", "principal")

    def __init__(self, log: AuditLog, method: str, *, peer: str, trace_id: str) -> None:
        self._log = log
        self._method = method
        self._fields: dict[str, str | int] = {"call": new_call_id(), "peer": peer, "trace_id": trace_id}
        self.principal = ""

    def take(self, header: Any) -> None:
        """Take the ids of the request, or of the header of a stream."""
        for name, field in _IDS.items():
            self._fields[name] = str(getattr(header, field, ""))[:_MAX_ID_CHARACTERS]

    def describe(self, *, checkpoint: str = "", revision: int = 0) -> None:
        """Take what the request leaves open: the checkpoint, and the revision that was committed or found."""
        if checkpoint:
            self._fields["checkpoint"] = checkpoint
        if revision:
            self._fields["revision"] = revision

    async def record_request(self) -> None:
        """Write the request, if the call must not take effect otherwise.

        Raises:
            HoldfastError: AUDIT_UNAVAILABLE.

        """
        await self._log.require(self._method, {**self._fields, "principal": self.principal})

    def record_response(self, outcome: str) -> None:
        """Write how the call has ended: OK, CANCELLED, or the reason why it failed."""
        self._log.responded(self._method, {**self._fields, "principal": self.principal}, outcome)
