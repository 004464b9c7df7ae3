"""What changes a workflow beside saves: deletions, fences, copies."""

import asyncio
from contextlib import aclosing

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import requests
from holdfast_server.api.calls import Call, Context
from holdfast_server.api.filters import Filter
from holdfast_server.api.service import Service
from holdfast_server.protocol import load, ownership, pruning, purge, records, workflows
from holdfast_server.protocol.copying import copy_workflow
from holdfast_server.protocol.entries import Request
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.expected import is_empty
from holdfast_server.protocol.keys import WorkflowKeys, workflow_of
from holdfast_server.protocol.log import Entry
from holdfast_server.protocol.lookup import Skipped
from holdfast_server.protocol.ownership import Appended
from holdfast_server.stores.listing import list_all

# Workflows and checkpoints for one answer of a deletion in a whole namespace.
_LOOKED_AT_MOST = 2000
# Between the position in a page token and that of the first workflow in which nothing could be deleted.
_FAILED = "!"
# Of batches of records that go with their workflow at once.
_FORGOTTEN_MOST = 100_000
# A page of a deletion ends once this part of its time is used up, so that its answer arrives.
_PART_OF_A_PAGE = 0.5
# Reasons that a single workflow has, and that say nothing of the next one.
_OF_ONE_WORKFLOW = frozenset({Reason.CHECKPOINT_CORRUPTED, Reason.LAYOUT_UNSUPPORTED, Reason.LOG_FULL})
_FAILED_MOST = 100


class Changes(Service):
    """Delete, DeleteCheckpoints, DeleteWorkflow, DeleteWorkflows, Prune, CopyWorkflow and AcquireWriter."""

    async def Delete(self, request: api.DeleteRequest, context: Context) -> api.DeleteResponse:  # noqa: N802
        """Delete one checkpoint."""
        async with self._calls.enter("Delete", context, request) as call:
            requests.name("checkpoint_id", request.checkpoint_id, 256)
            asked = _asked(call, request)
            delete = purge.purge if request.purge else ownership.delete
            done = await delete(self._log, asked, request.checkpoint_id, deadline=call.deadline)
            return api.DeleteResponse(revision=done.entry.revision, replayed=done.replayed)

    async def DeleteCheckpoints(  # noqa: N802
        self, request: api.DeleteCheckpointsRequest, context: Context
    ) -> api.DeleteCheckpointsResponse:
        """Delete the checkpoints that a filter finds."""
        async with self._calls.enter("DeleteCheckpoints", context, request) as call:
            wanted = Filter.of(request.filter)
            if request.all and wanted.is_selective:
                raise requests.invalid("all", "must not be set together with labels or times in the filter")
            if not request.all and not wanted.is_selective:
                raise requests.invalid("filter", "must have labels or a time; set all to delete without them")
            if request.workflow_id:
                asked = _asked(call, request)
                return api.DeleteCheckpointsResponse(deleted=(await self._delete_found(call, asked, wanted))[0])
            requests.name("namespace", request.namespace, 128)
            if request.HasField("epoch"):
                raise requests.invalid("epoch", "needs a workflow_id")
            return await self._delete_everywhere(call, request, wanted)

    async def _delete_everywhere(
        self, call: Call, request: api.DeleteCheckpointsRequest, wanted: Filter
    ) -> api.DeleteCheckpointsResponse:
        """Delete in every workflow of a namespace. One in which that cannot be done stops no other.

        The token of the next page carries the first of them on, and the last page fails because of it.
        """
        response = api.DeleteCheckpointsResponse()
        token, _, failed = request.page_token.partition(_FAILED)
        looked_at = 0

        def cannot(prefix: str, revision: int, error: HoldfastError) -> None:
            nonlocal failed
            failed = failed or workflows.token_of(prefix)

        walk = workflows.walk(self._log, request.namespace, token, includes_it=False, on_unreadable=cannot)
        async with aclosing(walk) as found:
            async for position, head in found:
                if looked_at >= _LOOKED_AT_MOST:
                    response.next_page_token = f"{token}{_FAILED}{failed}" if failed else token
                    return response
                asked = requests.request(head.keys, request.request_id, request.attempt, None, call.trace_id)
                try:
                    deleted, seen = await self._delete_found(call, asked, wanted)
                except HoldfastError as error:
                    if error.reason not in _OF_ONE_WORKFLOW:
                        raise
                    deleted, seen = 0, 1
                    cannot(head.keys.prefix, head.revision, error)
                response.deleted += deleted
                looked_at += 1 + seen
                token = position
        if failed:
            prefix = workflows.prefix_of(request.namespace, failed)
            raise HoldfastError(
                Reason.CHECKPOINT_CORRUPTED,
                f"not all could be deleted: of {prefix}, and perhaps of others, commit markers cannot be read",
                prefix=prefix,
            )
        return response

    async def _delete_found(self, call: Call, asked: Request, wanted: Filter) -> tuple[int, int]:
        """How many were deleted of how many that were looked at.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED: a marker is damaged, which may be one of them; all others are deleted.

        """
        seen, deleted, found = 0, 0, []
        skipped: list[Skipped] = []
        async for entry in load.history(self._log, asked.keys, None, skipped):
            seen += 1
            if wanted.passes(entry):
                found.append(entry.revision)
        if found:
            deleted = await pruning.delete_many(self._log, asked, found, deadline=call.deadline)
        if skipped:
            raise skipped[0].error
        return deleted, seen

    async def DeleteWorkflow(  # noqa: N802
        self, request: api.DeleteWorkflowRequest, context: Context
    ) -> api.DeleteWorkflowResponse:
        """Delete every checkpoint of a workflow, and all records."""
        async with self._calls.enter("DeleteWorkflow", context, request) as call:
            done = await self._delete_workflow(call, _asked(call, request), purges=request.purge)
            return api.DeleteWorkflowResponse(revision=done.entry.revision, replayed=done.replayed)

    async def DeleteWorkflows(  # noqa: N802
        self, request: api.DeleteWorkflowsRequest, context: Context
    ) -> api.DeleteWorkflowsResponse:
        """Delete every checkpoint and all records of the workflows whose ids begin with a text."""
        async with self._calls.enter("DeleteWorkflows", context, request) as call:
            requests.name("namespace", request.namespace, 128)
            requests.name("request_id", request.request_id, 128)
            prefix = request.workflow_id_prefix
            requests.name_prefix("workflow_id_prefix", prefix, 512)
            if bool(prefix) == request.all:
                raise requests.invalid("workflow_id_prefix", "must not be empty, unless all is set instead of it")
            clock = asyncio.get_running_loop().time
            pause_at = clock() + (call.deadline - clock()) * _PART_OF_A_PAGE
            response = api.DeleteWorkflowsResponse()
            looked_at, token = 0, request.page_token
            unreadable: set[str] = set()

            def cannot(of: str, revision: int, error: HoldfastError) -> None:
                # Its newest marker, which may be no deletion, cannot be followed by one.
                keys = workflow_of(of)
                if of not in unreadable and (keys is None or keys.workflow_id.startswith(prefix)):
                    response.failed.add(
                        workflow_id=of if keys is None else keys.workflow_id, reason=error.reason, message=error.message
                    )
                unreadable.add(of)

            walk = workflows.walk(
                self._log, request.namespace, token, includes_it=False, id_prefix=prefix, on_unreadable=cannot
            )
            async with aclosing(walk) as found:
                async for position, head in found:
                    is_late = looked_at > 0 and clock() > pause_at
                    if is_late or looked_at >= _LOOKED_AT_MOST or len(response.failed) >= _FAILED_MOST:
                        response.next_page_token = token
                        break
                    looked_at += 1
                    token = position
                    if head.keys.prefix in unreadable:
                        continue
                    if not head.keys.workflow_id.startswith(prefix):
                        continue
                    if not ownership.is_deleted_workflow(head) or (request.purge and await self._is_left(head)):
                        asked = requests.request(head.keys, request.request_id, request.attempt, None, call.trace_id)
                        await self._delete_one_of_many(
                            call, asked, response, holds_any=not is_empty(head), purges=request.purge
                        )
            return response

    async def _delete_one_of_many(
        self, call: Call, asked: Request, response: api.DeleteWorkflowsResponse, *, holds_any: bool, purges: bool
    ) -> None:
        try:
            done = await self._delete_workflow(call, asked, purges=purges)
        except HoldfastError as error:
            if error.reason not in _OF_ONE_WORKFLOW:
                raise
            response.failed.add(workflow_id=asked.keys.workflow_id, reason=error.reason, message=error.message)
        else:
            response.deleted += holds_any and not done.replayed

    async def _is_left(self, head: Entry) -> bool:
        """Whether something of a deleted workflow lies there still beside its deletion."""
        listed = await self._log.store.list(head.keys.prefix, limit=2)
        return any(each.key != head.keys.marker(head.revision) for each in listed)

    async def _delete_workflow(self, call: Call, asked: Request, *, purges: bool) -> Appended:
        # An id may be used again behind the deletion: what was attached to it before must not come back.
        attached = await self._attached(asked.keys)
        if purges:
            return await purge.purge_workflow(self._log, asked, attached, deadline=call.deadline)
        done = await ownership.delete_workflow(self._log, asked, deadline=call.deadline)
        if not done.replayed:
            await records.forget(self._log.store, attached)
        return done

    async def _attached(self, keys: WorkflowKeys) -> list[str]:
        """The batches of records of a workflow; what is beyond the limit is left to a collection."""
        found: list[str] = []
        async for each in list_all(self._log.store, keys.records):
            found.append(each.key)
            if len(found) == _FORGOTTEN_MOST:
                break
        return found

    async def Prune(self, request: api.PruneRequest, context: Context) -> api.PruneResponse:  # noqa: N802
        """Delete all checkpoints but the newest ones and what they need."""
        async with self._calls.enter("Prune", context, request) as call:
            if request.keep_last < 1:
                raise requests.invalid("keep_last", f"is {request.keep_last}, must be at least 1")
            asked = _asked(call, request)
            deleted = await pruning.prune(self._log, asked, request.keep_last, deadline=call.deadline)
            return api.PruneResponse(deleted=deleted)

    async def CopyWorkflow(self, request: api.CopyWorkflowRequest, context: Context) -> api.CopyWorkflowResponse:  # noqa: N802
        """Copy a workflow's checkpoints into another one."""
        async with self._calls.enter("CopyWorkflow", context, request) as call:
            source = requests.workflow(request.namespace, request.workflow_id)
            requests.name("target_workflow_id", request.target_workflow_id, 512)
            if request.target_workflow_id == request.workflow_id:
                raise requests.invalid("target_workflow_id", "must be another workflow")
            target = WorkflowKeys(request.namespace, request.target_workflow_id)
            asked = requests.request(target, request.request_id, request.attempt, None, call.trace_id)
            copied = await copy_workflow(self._log, source, asked, deadline=call.deadline)
            return api.CopyWorkflowResponse(copied=copied)

    async def AcquireWriter(  # noqa: N802
        self, request: api.AcquireWriterRequest, context: Context
    ) -> api.AcquireWriterResponse:
        """Fence every earlier writer of a workflow."""
        async with self._calls.enter("AcquireWriter", context, request) as call:
            keys = requests.workflow(request.namespace, request.workflow_id)
            asked = requests.request(keys, request.request_id, request.attempt, None, call.trace_id)
            done = await ownership.acquire_writer(
                self._log,
                asked,
                expected_revision=requests.expected_revision(request),
                lease=requests.lease(request),
                deadline=call.deadline,
            )
            fence = done.entry.marker
            return api.AcquireWriterResponse(
                epoch=fence.writer_epoch,
                revision=fence.revision,
                replayed=done.replayed,
                lease_expire_time=fence.lease_expire_time if fence.HasField("lease_expire_time") else None,
            )


def _asked(
    call: Call, request: api.DeleteRequest | api.DeleteCheckpointsRequest | api.DeleteWorkflowRequest | api.PruneRequest
) -> Request:
    """What a request that may name an epoch says of itself."""
    keys = requests.workflow(request.namespace, request.workflow_id)
    epoch = request.epoch if request.HasField("epoch") else None
    return requests.request(keys, request.request_id, request.attempt, epoch, call.trace_id)
