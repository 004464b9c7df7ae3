"""The newest heads that a client has seen, by which it notices a log that was rolled back in the store.

A log only grows: no deletion, collection, repair of other entries or change of servers makes its head older, and a
revision keeps its digest. Concurrent calls are answered in any order. So an answer is compared with what was seen when
its call began.
"""

import re
from collections import OrderedDict
from contextlib import suppress
from typing import Any

from holdfast._core.errors import HoldfastError, of_reason, rolled_back
from holdfast._core.head import Head
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

# About 400 bytes each.
_MOST_WORKFLOWS = 10_000
_DIGEST_BYTES = 32
_REVISION = re.compile(r"[0-9]{1,19}")
_DIGEST = re.compile(rf"(?:[0-9a-f]{{{2 * _DIGEST_BYTES}}})?")

_Workflow = tuple[str, str]
# The answers that may be replays.
_APPENDED = (
    api.SaveResponse,
    api.SaveStreamResponse,
    api.DeleteResponse,
    api.DeleteWorkflowResponse,
    api.AcquireWriterResponse,
)


class SeenHeads:
    """The newest heads of the workflows that a client has used last.

    Threads may share it. If two of them keep heads of the same workflow at once, the older one may stay: the client
    then misses no more than a log that was rolled back to in between.

    Args:
        limit: how many workflows it remembers.

    """

    def __init__(self, limit: int = _MOST_WORKFLOWS) -> None:
        self._limit = limit
        self._heads: OrderedDict[_Workflow, Head] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of workflows."""
        return len(self._heads)

    def get(self, namespace: str, workflow_id: str) -> Head | None:
        """Return the newest head of a workflow; None if none is remembered."""
        return self._heads.get((namespace, workflow_id))

    def keep(self, namespace: str, workflow_id: str, head: Head) -> None:
        """Remember a head, unless a newer one of the workflow is remembered."""
        workflow = (namespace, workflow_id)
        known = self._heads.get(workflow)
        if known is None or known.revision < head.revision:
            self._heads[workflow] = head
        # Another thread may have dropped it.
        with suppress(KeyError):
            self._heads.move_to_end(workflow)
            if len(self._heads) > self._limit:
                self._heads.popitem(last=False)

    def forget(self, namespace: str, workflow_id: str) -> None:
        """Forget the head of a workflow."""
        self._heads.pop((namespace, workflow_id), None)

    def watch(self, request: Any) -> "Watch":
        """Begin a call.

        Args:
            request: the request, or its header.

        """
        return Watch(self, request)

    def following(self, request: Any, before: Head | None) -> "Watch":
        """Return the check of a message that may be older than what other calls have seen.

        Args:
            request: the request.
            before: what it must not be older than; None for nothing.

        """
        watch = Watch(self, request)
        watch.set_before(before)
        return watch


class Watch:
    """What a client had seen of a workflow when a call began.

    Args:
        seen: the heads that the client has seen.
        request: the request; None for a call that is not about a workflow.

    """

    __slots__ = ("_before", "_seen", "_target", "_workflow")

    def __init__(self, seen: SeenHeads, request: Any) -> None:
        self._seen = seen
        workflow_id = getattr(request, "workflow_id", "")
        self._workflow = (request.namespace, workflow_id) if workflow_id else None
        self._before = seen.get(*self._workflow) if self._workflow else None
        self._target: tuple[_Workflow, Head | None] | None = None
        if isinstance(request, api.CopyWorkflowRequest):
            target = (request.namespace, request.target_workflow_id)
            self._target = target, seen.get(*target)

    def set_before(self, before: Head | None) -> None:
        """Compare with another head than the newest one that was seen."""
        self._before = before

    def require(self, answer: Any) -> None:
        """Check an answer, and remember its head.

        Raises:
            RolledBackError: it names an older head, or another one.
            InternalError: it names no possible head.

        """
        if self._workflow is None or answer is None:
            return
        is_bound = isinstance(answer, _APPENDED) and answer.replayed
        self._require(answer, "head", self._workflow, self._before, is_bound=is_bound)
        if self._target is not None:
            workflow, before = self._target
            self._require(answer, "target_head", workflow, before, is_bound=False)

    def require_of(self, error: HoldfastError) -> None:
        """Check the head that an error names.

        Raises:
            RolledBackError: it is older, or another one. The error is its cause.

        """
        # The errors of a copy may be about either of its workflows.
        if self._workflow is None or self._target is not None:
            return
        revision = error.metadata.get("head_revision", "")
        digest = error.metadata.get("head_digest")
        if digest is None or not _REVISION.fullmatch(revision) or not _DIGEST.fullmatch(digest):
            return
        head = Head(int(revision), bytes.fromhex(digest))
        problem = _problem(head, self._before)
        if problem:
            raise self._error(
                problem, head, self._workflow, self._before, trace_id=error.trace_id, request_id=error.request_id
            ) from error
        if head.digest:
            self._seen.keep(*self._workflow, head)

    def _require(self, answer: Any, field: str, workflow: _Workflow, before: Head | None, *, is_bound: bool) -> None:
        try:
            if not answer.HasField(field):
                return
        except ValueError:
            # An answer that never names a head.
            return
        head = _head_of(getattr(answer, field))
        problem = "" if is_bound and before is not None and head.revision < before.revision else _problem(head, before)
        if problem:
            raise self._error(problem, head, workflow, before)
        if head.digest:
            self._seen.keep(*workflow, head)

    @staticmethod
    def _error(problem: str, head: Head, workflow: _Workflow, before: Head | None, **details: Any) -> HoldfastError:
        namespace, workflow_id = workflow
        assert before is not None
        return rolled_back(
            f"the log of workflow {workflow_id!r} in namespace {namespace!r} was rolled back: {problem}",
            metadata={
                "namespace": namespace,
                "workflow_id": workflow_id,
                "seen_revision": str(before.revision),
                "seen_digest": before.digest.hex(),
                "head_revision": str(head.revision),
                "head_digest": head.digest.hex(),
            },
            **details,
        )


def _head_of(message: checkpoint_pb2.Head) -> Head:
    revision, digest = message.revision, message.digest
    head = Head(revision, digest)
    if revision < 0 or (digest and len(digest) != _DIGEST_BYTES):
        raise of_reason(
            "INTERNAL", f"the server sent a head with revision {head.revision} and {len(head.digest)} bytes of digest"
        )
    return head


def _problem(head: Head, before: Head | None) -> str:
    """Return how a head contradicts one that was seen before; "" if it does not."""
    if before is None or head.revision > before.revision:
        return ""
    if not head.revision:
        return f"it has no entry any more, and its head was revision {before.revision}"
    if head.revision < before.revision:
        return f"its head is revision {head.revision}, and was revision {before.revision}"
    if head.digest and head.digest != before.digest:
        return f"its head, revision {head.revision}, is another entry than before"
    return ""
