"""AsyncClient: the calls of the service, and `resume`.

Each method makes the request of its arguments. `saves`, `loads`, `lists` and `records` do what takes more than one
message; everything else is one message to the transport and back.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Self

from holdfast._async import saves
from holdfast._async.lists import Lists
from holdfast._async.loads import Loads
from holdfast._async.opening import Opening
from holdfast._async.part_reads import PartReads
from holdfast._async.records import Records
from holdfast._async.repeats import Repeats
from holdfast._async.rewrapping import Rewrapping
from holdfast._async.transport import Transport
from holdfast._async.watching import Watching
from holdfast._async.workflow import AsyncWorkflow
from holdfast._core import arguments, holders
from holdfast._core.answers import MAX_BYTES, limit_of, require_all_deleted, require_writer, validated
from holdfast._core.checkpoint import (
    AcceptedFormat,
    Checkpoint,
    Format,
    LoadedCheckpoint,
    LoadedFile,
    LogEntry,
    Page,
    Record,
    Rewrapped,
    RewrapProgress,
    Validation,
    WorkflowInfo,
    Writer,
)
from holdfast._core.files import Target
from holdfast._core.head import Head
from holdfast._core.load_balancing import LoadBalancing
from holdfast._core.messages import accepted_messages, depth_value, filter_message, format_message, to_writer
from holdfast._core.migrations import Migrations
from holdfast._core.payload import Data, Progress
from holdfast._core.protection import protection_of
from holdfast._core.retry import RetryPolicy
from holdfast._core.store_status import StoreStatus, to_store_status
from holdfast._core.tls import TLS
from holdfast._core.tokens import Token
from holdfast._core.usage import UsagePage, WorkflowUsage
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

if TYPE_CHECKING:
    from holdfast._encryption.keyring import Keyring

Depth = Literal["marker", "presence", "checksum"]


class AsyncClient:
    """A client of one Holdfast server, or of a folder whose service runs in the caller's process.

    It can be created anywhere and is used until it is closed, for good, by `close` or the end of a `with` block.

    Args:
        target: host:port, `grpcs://host:port` for TLS, or any target that gRPC accepts; or `file:///path`, a folder.
            The service then runs in this process, which needs `holdfast-client[embedded]`.
        timeout: seconds for a logical call with all its retries, if the call sets none; at most 366 days.
        retry: how to retry.
        producer: name and version of the calling program, stored with each checkpoint.
        tls: whether and how to use TLS: True or a `TLS`. None: for a target grpcs://host:port, with the authorities of
            the system.
        encryption: the keys that encrypt payloads, labels and records before they are sent. Such a client reads nothing
            that is not encrypted. Needs `holdfast-client[encryption]`.
        token: the token that shows the server who calls, or a function that returns one. The function is called before
            the first call, and again when a server has refused the token. A folder needs none.
        insecure: whether the token may be sent in plaintext to another machine.
        load_balancing: how calls go to the addresses of the target. "pick_first": all to the first one that answers,
            until it goes away. "round_robin": each to the next one, without pipelines. A folder has no addresses.

    Raises:
        InvalidRequestError: the target or `load_balancing` is not valid, the timeout is out of range, a file of TLS
            cannot be used, or the token is not valid or would be sent in plaintext to another machine.
        TypeError: an argument has another type.
        ImportError: the target is a folder, and the service is not installed.

    """

    def __init__(
        self,
        target: str,
        *,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        producer: tuple[str, str] = ("", ""),
        tls: TLS | bool | None = None,
        encryption: "Keyring | None" = None,
        token: Token | None = None,
        insecure: bool = False,
        load_balancing: LoadBalancing = "pick_first",
    ) -> None:
        name, version = arguments.instance("producer", producer, tuple)
        self._producer = arguments.request(checkpoint_pb2.Producer, name=name, version=version)
        policy = RetryPolicy() if retry is None else arguments.instance("retry", retry, RetryPolicy)
        self._transport = Transport(
            target, timeout, policy, tls, token=token, insecure=insecure, balancing=load_balancing
        )
        self._encryption = encryption
        self._protection = protection_of(encryption)
        self._opening = Opening(self._transport, self._protection)
        self._records = Records(self._transport, self._opening)
        self._loads = Loads(self._transport, self._opening, self._records)
        self._repeats = Repeats(self._transport, self._protection, self._loads)
        self._part_reads = PartReads(self._transport)
        self._watching = Watching(self._transport, self._opening)
        self._lists = Lists(self._transport, self._opening, self._loads, self._records)

    @property
    def encryption(self) -> "Keyring | None":
        """The keyring by which the client encrypts; None if it does not."""
        return self._encryption

    async def __aenter__(self) -> Self:
        self._transport.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the client for good. Running and later calls end with `ClientClosedError`."""
        await self._transport.close()

    def workflow(self, namespace: str, workflow_id: str) -> AsyncWorkflow:
        """Return a handle of one workflow, which carries revision and epoch from call to call."""
        return AsyncWorkflow(self, namespace, workflow_id)

    def head(self, namespace: str, workflow_id: str) -> Head | None:
        """Return the newest head of a workflow's log that this client has seen; None if it remembers none.

        Keep its text, `str(head)`, and give it to a later client as `not_before=Head.parse(text)`.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.

        """
        return self._transport.heads.get(namespace, workflow_id)

    def forget_head(self, namespace: str, workflow_id: str) -> None:
        """Forget the head of a workflow's log, to accept an older one: after the store was restored on purpose.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.

        """
        self._transport.heads.forget(namespace, workflow_id)

    def _keep(self, namespace: str, workflow_id: str, not_before: Head | None) -> None:
        if not_before is not None:
            self._transport.heads.keep(namespace, workflow_id, arguments.instance("not_before", not_before, Head))

    async def save(
        self,
        namespace: str,
        workflow_id: str,
        data: Data,
        *,
        format: Format,  # noqa: A002 - the API's own word
        checkpoint_id: str | None = None,
        parent_id: str | None = None,
        labels: Mapping[str, str] | None = None,
        expected_revision: int | None = None,
        epoch: int | None = None,
        ttl: timedelta | None = None,
        replace: bool = False,
        needs_parent: bool = False,
        pinned: bool = False,
        fresh_id: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> Checkpoint:
        """Save a checkpoint, of any size.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            data: bytes, an open binary file that can seek, or a mapping of part name to such values. A file or a
                buffer of more than 1 MiB must not change while it is saved.
            format: the payload's format.
            checkpoint_id: the id; None or "" lets the server choose.
            parent_id: the checkpoint that this one was made from; None or "" for none.
            labels: labels to find it by.
            expected_revision: commit only if since this revision of the log nobody has saved, deleted the whole
                workflow, or acquired it under another epoch; 0: while no checkpoint exists.
            epoch: the writer's epoch.
            ttl: how long it must be kept.
            replace: replace the checkpoint that has the same id, if there is one.
            needs_parent: it is of no use without its parent, which is kept as long as it is.
            pinned: keep it when retention by count and age or a prune would remove it; its own ttl and deletions of it
                still do.
            fresh_id: promise that no checkpoint of the workflow has the id or ever had it, which makes the save faster.
                If that is wrong and the server does not notice, two checkpoints have the id.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for everything, retries included.
            progress: called with the bytes sent and all bytes, for payloads that are streamed.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        header = arguments.request(
            checkpoint_pb2.SaveHeader,
            namespace=namespace,
            workflow_id=workflow_id,
            request_id=request_id,
            checkpoint_id="" if checkpoint_id is None else checkpoint_id,
            parent_id="" if parent_id is None else parent_id,
            format=format_message(format),
            producer=self._producer,
            labels=labels,
            expected_revision=expected_revision,
            epoch=epoch,
            replace=replace,
            needs_parent=needs_parent,
            pinned=pinned,
            fresh_id=fresh_id,
        )
        if ttl is not None:
            header.ttl.FromTimedelta(arguments.duration("ttl", ttl))
        return await saves.save(
            self._transport, self._protection, self._repeats, header, data, timeout=timeout, progress=progress
        )

    async def load(
        self,
        namespace: str,
        workflow_id: str,
        checkpoint_id: str | None = None,
        *,
        accepted_formats: Sequence[AcceptedFormat] = (),
        fallback: bool = False,
        records: bool = False,
        max_bytes: int | None = None,
        not_before: Head | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> LoadedCheckpoint:
        """Load a checkpoint with its payload, of any size, and check the payload's digests.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            checkpoint_id: the checkpoint; None for the newest.
            accepted_formats: refuse any other format before data moves; empty for any.
            fallback: if the checkpoint is damaged, load the newest older one that is whole.
            records: load its records too.
            max_bytes: the most bytes that the payload may have; None for what this machine's memory could hold. Nothing
                of a larger payload is loaded.
            not_before: a head of the workflow that the caller has seen, perhaps by another client. If the log is older,
                it was rolled back. The client remembers it.
            timeout: seconds for everything, retries included.
            progress: called with the bytes received and all bytes, for payloads that are streamed.

        Raises:
            RolledBackError: the log is older than `not_before`, or than this client has seen it.
            PayloadTooLargeError: the payload has more bytes than `max_bytes`.
            WorkflowCheckpointResumeError: a subclass for each other reason.

        """
        self._keep(namespace, workflow_id, not_before)
        request = _load_request(
            namespace, workflow_id, checkpoint_id, accepted_formats=accepted_formats, fallback=fallback, records=records
        )
        budget = self._transport.budget(timeout)
        return await self._loads.load(request, budget, max_bytes=limit_of(max_bytes), progress=progress)

    async def load_to(
        self,
        namespace: str,
        workflow_id: str,
        file: Target,
        checkpoint_id: str | None = None,
        *,
        part: str | None = None,
        accepted_formats: Sequence[AcceptedFormat] = (),
        fallback: bool = False,
        max_bytes: int | None = None,
        not_before: Head | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> LoadedFile:
        """Load a part of a checkpoint into a file, of any size: a few MiB of it are in memory at a time.

        The file at a path gets the part once the part is whole and matches its digest, and is as it was before
        otherwise. So does a pipe or a device, from a temporary file. An open file that can seek is written from its
        position on; if the load fails, it is cut back to there.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            file: a path, whose folder must exist, or a binary file that is open for writing.
            checkpoint_id: the checkpoint; None for the newest.
            part: the part; None for the default part or the only one.
            accepted_formats: refuse any other format before data moves; empty for any.
            fallback: if the checkpoint is damaged, load the newest older one that is whole.
            max_bytes: the most bytes that the payload may have; None for any size. Nothing of a larger payload is
                loaded.
            not_before: a head of the workflow that the caller has seen, perhaps by another client. If the log is older,
                it was rolled back. The client remembers it.
            timeout: seconds for all requests, retries included; writing to a slow disk is not cut off.
            progress: called with the bytes received and all bytes, for payloads that are streamed.

        Raises:
            RolledBackError: the log is older than `not_before`, or than this client has seen it.
            InvalidRequestError: the checkpoint has no such part.
            PayloadTooLargeError: the payload has more bytes than `max_bytes`.
            WorkflowCheckpointResumeError: a subclass for each other reason.
            OSError: the file cannot be written.
            TypeError: the file is neither a path nor a binary file that is open for writing.

        """
        self._keep(namespace, workflow_id, not_before)
        request = _load_request(
            namespace, workflow_id, checkpoint_id, accepted_formats=accepted_formats, fallback=fallback, records=False
        )
        budget = self._transport.budget(timeout)
        limit = limit_of(max_bytes)
        return await self._loads.load_to(
            request,
            file,
            budget,
            part=None if part is None else arguments.text("part", part),
            max_bytes=MAX_BYTES if limit is None else limit,
            progress=progress,
        )

    async def read_part(
        self,
        namespace: str,
        workflow_id: str,
        checkpoint_id: str | None = None,
        *,
        part: str | None = None,
        offset: int = 0,
        length: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[bytes]:
        """Iterate over bytes of a part as they are stored, from any offset, in pieces of at most 4 MiB.

        A piece is requested when the one before was used. A part that was encrypted is not decrypted, whether the
        client has a keyring or not.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            checkpoint_id: the checkpoint; None for the newest.
            part: the part; None for the default part or the only one.
            offset: the first byte to read. At or after the part's end there are no bytes.
            length: the most bytes to read; None for all from the offset on.
            timeout: seconds for each piece, retries included.

        Raises:
            InvalidRequestError: the checkpoint has no such part, or the offset or the length is negative.
            CheckpointCorruptedError: the bytes are damaged. The part's digest is checked if all of it is read, before
                the last piece is returned; for a range the server checks the blocks that it is stored in.
            WorkflowCheckpointResumeError: a subclass for each other reason.

        """
        request = arguments.request(
            api.LoadRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id="" if checkpoint_id is None else checkpoint_id,
            fallback=api.FALLBACK_NONE,
            view=api.CHECKPOINT_VIEW_METADATA,
        )
        part = None if part is None else arguments.text("part", part)
        first = arguments.integer("offset", offset, 0, MAX_BYTES)
        most = None if length is None else arguments.integer("length", length, 0, MAX_BYTES)
        async for piece in self._part_reads.pieces(request, part, first, most, timeout):
            yield piece

    async def resume(
        self,
        namespace: str,
        workflow_id: str,
        *,
        format: Format,  # noqa: A002 - the API's own word
        migrations: Migrations | None = None,
        fallback: bool = False,
        records: bool = False,
        max_bytes: int | None = None,
        not_before: Head | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> LoadedCheckpoint:
        """Load the newest checkpoint, whole and in the caller's format.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            format: the format that the caller works with.
            migrations: bring older versions to it.
            fallback: if the newest checkpoint is damaged, load the newest older one that is whole.
            records: load its records too.
            max_bytes: the most bytes that the payload may have, as in `load`.
            not_before: a head of the workflow that the caller has seen, as in `load`.
            timeout: seconds for everything, retries included.
            progress: called with the bytes received and all bytes, for payloads that are streamed.

        Raises:
            RolledBackError: the log is older than `not_before`, or than this client has seen it.
            WorkflowCheckpointResumeError: a subclass for each reason; `last_good` names the newest checkpoint that
                could be resumed from.

        """
        self._keep(namespace, workflow_id, not_before)
        arguments.instance("format", format, Format)
        known = Migrations() if migrations is None else arguments.instance("migrations", migrations, Migrations)
        request = _load_request(
            namespace, workflow_id, accepted_formats=[known.accepted(format)], fallback=fallback, records=records
        )
        return await self._loads.resume(
            request,
            self._transport.budget(timeout),
            format=format,
            migrations=known,
            max_bytes=limit_of(max_bytes),
            progress=progress,
        )

    async def validate(
        self,
        namespace: str,
        workflow_id: str,
        checkpoint_id: str | None = None,
        *,
        depth: Depth = "checksum",
        accepted_formats: Sequence[AcceptedFormat] = (),
        not_before: Head | None = None,
        timeout: float | None = None,
    ) -> Validation:
        """Check whether a workflow can be resumed. Damage is a finding, not an error.

        The server checks stored bytes. A client with a keyring also decrypts the checkpoint's labels, not its payload.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            checkpoint_id: the checkpoint; None for the newest.
            depth: what to read: its marker, also whether its blobs exist, or also their bytes.
            accepted_formats: any other format is a finding; empty for any.
            not_before: a head of the workflow that the caller has seen, as in `load`.
            timeout: seconds for everything, retries included.

        Raises:
            RolledBackError: the log is older than `not_before`, or than this client has seen it.
            HoldfastError: the validation itself failed.

        """
        self._keep(namespace, workflow_id, not_before)
        request = arguments.request(
            api.ValidateRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id="" if checkpoint_id is None else checkpoint_id,
            depth=depth_value(depth),
            accepted_formats=accepted_messages(accepted_formats),
        )
        budget = self._transport.budget(timeout)
        with budget.spending() as seconds:
            response = await self._transport.unary("Validate", request, seconds)
        return await self._opening.validation(validated(response, request), response, budget)

    async def list(
        self,
        namespace: str,
        workflow_id: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        formats: Sequence[AcceptedFormat] = (),
        before: str = "",
        ids_only: bool = False,
        strict: bool = False,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncIterator[Checkpoint]:
        """Iterate over checkpoints, newest first, over all pages.

        Args:
            namespace: the namespace.
            workflow_id: the workflow; "" for every workflow of the namespace, one after the other.
            labels: the labels that a checkpoint must have.
            created_after: the earliest time of its save, with a time zone.
            created_before: the time before which it was saved, with a time zone.
            formats: the formats of which it must have one.
            before: the id of a checkpoint; list only older ones.
            ids_only: return only the id, workflow and revision of each checkpoint.
            strict: raise where a commit marker is damaged, because a checkpoint may be missing there; else leave it
                out.
            page_size: how many to request at a time; 0: the server chooses.
            timeout: seconds for all pages together, retries included; the caller's own time between them is free.

        Raises:
            HoldfastError: a subclass for each reason; CHECKPOINT_CORRUPTED where `strict` raises.

        """
        request = arguments.request(
            api.ListRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            page_size=page_size,
            filter=self._filter(namespace, labels, created_after, created_before, formats),
            before_checkpoint_id=before,
            view=api.CHECKPOINT_VIEW_ID if arguments.flag("ids_only", ids_only) else api.CHECKPOINT_VIEW_METADATA,
        )
        async for checkpoint in self._lists.checkpoints(request, self._transport.budget(timeout), strict=strict):
            yield checkpoint

    async def history(
        self,
        namespace: str,
        workflow_id: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        formats: Sequence[AcceptedFormat] = (),
        before: str = "",
        records: bool = False,
        accepted_formats: Sequence[AcceptedFormat] = (),
        page_size: int = 0,
        max_bytes: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[LoadedCheckpoint]:
        """Iterate over checkpoints with their payloads, newest first. One request brings many small ones.

        Args:
            namespace: the namespace.
            workflow_id: the workflow; "" for every workflow of the namespace, one after the other.
            labels: the labels that a checkpoint must have.
            created_after: the earliest time of its save, with a time zone.
            created_before: the time before which it was saved, with a time zone.
            formats: the formats of which it must have one.
            before: the id of a checkpoint; load only older ones.
            records: load their records too.
            accepted_formats: raise where a checkpoint has another format; empty for any.
            page_size: how many to request at a time; 0: the server chooses.
            max_bytes: the most bytes that each payload may have, as in `load`.
            timeout: seconds for all requests together, retries included; the caller's own time between them is free.

        Raises:
            HoldfastError: a subclass for each reason; CHECKPOINT_CORRUPTED where a checkpoint is damaged, or may be
                missing.

        """
        request = arguments.request(
            api.ListRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            page_size=page_size,
            filter=self._filter(namespace, labels, created_after, created_before, formats),
            before_checkpoint_id=before,
            view=api.CHECKPOINT_VIEW_FULL if arguments.flag("records", records) else api.CHECKPOINT_VIEW_PAYLOAD,
        )
        budget, limit = self._transport.budget(timeout), limit_of(max_bytes)
        found = self._lists.history(request, budget, accepted_formats=accepted_formats, max_bytes=limit)
        async for loaded in found:
            yield loaded

    async def list_workflows(
        self, namespace: str, *, prefix: str = "", page_size: int = 0, timeout: float | None = None
    ) -> AsyncIterator[WorkflowInfo]:
        """Iterate over a namespace's workflows, over all pages.

        Args:
            namespace: the namespace.
            prefix: the text that their ids begin with.
            page_size: how many to request at a time; 0: the server chooses.
            timeout: seconds for all pages together, retries included; the caller's own time between them is free.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = arguments.request(
            api.ListWorkflowsRequest, namespace=namespace, workflow_id_prefix=prefix, page_size=page_size
        )
        async for workflow in self._lists.workflows(request, self._transport.budget(timeout)):
            yield workflow

    async def workflows_page(
        self,
        namespace: str,
        *,
        prefix: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Page[WorkflowInfo]:
        """Return one page of a namespace's workflows, for a program that shows a page at a time.

        Args:
            namespace: the namespace.
            prefix: the text that their ids begin with.
            page_size: the most workflows of the page; 0: the server chooses.
            page_token: the `next_page_token` of the page before; "" for the first page.
            timeout: seconds for everything, retries included.

        Raises:
            InvalidRequestError: the token was not issued for this namespace.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.ListWorkflowsRequest,
            namespace=namespace,
            workflow_id_prefix=prefix,
            page_size=page_size,
            page_token=page_token,
        )
        return await self._lists.workflows_page(request, self._transport.budget(timeout))

    async def log(
        self,
        namespace: str,
        workflow_id: str,
        *,
        before_revision: int | None = None,
        after_revision: int | None = None,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncIterator[LogEntry]:
        """Iterate over the entries of a workflow's log, newest first, over all pages.

        Checkpoints, also deleted ones, fences, deletions, collections and damage are entries.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            before_revision: only entries below this revision; None for the head and below.
            after_revision: only entries above this revision; None for all.
            page_size: how many to request at a time; 0: the server chooses.
            timeout: seconds for all pages together, retries included; the caller's own time between them is free.

        Raises:
            UnimplementedError: the server is older.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.ListLogRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            before_revision=before_revision,
            after_revision=after_revision,
            page_size=page_size,
        )
        async for entry in self._lists.log(request, self._transport.budget(timeout)):
            yield entry

    async def log_page(
        self,
        namespace: str,
        workflow_id: str,
        *,
        before_revision: int | None = None,
        after_revision: int | None = None,
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Page[LogEntry]:
        """Return one page of the entries of a workflow's log, newest first.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            before_revision: only entries below this revision; None for the head and below.
            after_revision: only entries above this revision; None for all.
            page_size: the most entries of the page; 0: the server chooses.
            page_token: `next_page_token` of the page before; "" for the first page.
            timeout: seconds, retries included.

        Raises:
            UnimplementedError: the server is older.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.ListLogRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            before_revision=before_revision,
            after_revision=after_revision,
            page_size=page_size,
            page_token=page_token,
        )
        return await self._lists.log_page(request, self._transport.budget(timeout))

    async def usage(
        self,
        namespace: str,
        workflow_id: str | None = None,
        *,
        prefix: str = "",
        stored_only: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[WorkflowUsage]:
        """Iterate over what the workflows of a namespace take in the store, or over the one that is named.

        Damage lowers the figures and does not end the iteration; `WorkflowUsage.damaged_markers` counts it.

        Args:
            namespace: the namespace.
            workflow_id: the workflow; None for all.
            prefix: the text that their ids begin with; "" if a workflow is named.
            stored_only: leave out checkpoints and their sizes, so that no commit marker has to be read.
            timeout: seconds for all pages together, retries included; it begins again with each page that measures
                something.

        Raises:
            WorkflowNotFoundError: the store has nothing of the workflow that is named.
            UnimplementedError: the server is older.
            HoldfastError: a subclass for each other reason.

        """
        request = _usage_request(namespace, workflow_id, prefix, stored_only=stored_only)
        async for workflow in self._lists.usage(request, self._transport.budget(timeout)):
            yield workflow

    async def usage_page(
        self,
        namespace: str,
        workflow_id: str | None = None,
        *,
        prefix: str = "",
        stored_only: bool = False,
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> UsagePage:
        """Return one page of what workflows take in the store, and what the namespace has by its quotas' count.

        A page may have fewer workflows than requested, or none: a large workflow takes several pages.

        Args:
            namespace: the namespace.
            workflow_id: the workflow; None for all.
            prefix: the text that their ids begin with; "" if a workflow is named.
            stored_only: leave out checkpoints and their sizes, so that no commit marker has to be read.
            page_size: the most workflows of the page; 0: the server chooses.
            page_token: the `next_page_token` of the page before, or of a `workflows_page` of the same namespace, after
                whose workflows the page begins; "" for the first page.
            timeout: seconds, retries included.

        Raises:
            WorkflowNotFoundError: the store has nothing of the workflow that is named.
            UnimplementedError: the server is older.
            HoldfastError: a subclass for each other reason.

        """
        request = _usage_request(
            namespace, workflow_id, prefix, stored_only=stored_only, page_size=page_size, page_token=page_token
        )
        return await self._lists.usage_page(request, self._transport.budget(timeout))

    async def namespaces(
        self, prefix: str = "", *, page_size: int = 0, timeout: float | None = None
    ) -> AsyncIterator[str]:
        """Iterate over the namespaces of the store that the caller may read, over all pages.

        Args:
            prefix: the text that they begin with.
            page_size: how many to request at a time; 0: the server chooses.
            timeout: seconds for all pages together, retries included; the caller's own time between them is free.

        Raises:
            UnimplementedError: the server is older.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(api.ListNamespacesRequest, namespace_prefix=prefix, page_size=page_size)
        async for namespace in self._lists.namespaces(request, self._transport.budget(timeout)):
            yield namespace

    async def namespaces_page(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", timeout: float | None = None
    ) -> Page[str]:
        """Return one page of the namespaces that the caller may read. It may be empty and not the last one.

        Args:
            prefix: the text that they begin with.
            page_size: the most namespaces of the page; 0: the server chooses.
            page_token: the `next_page_token` of the page before; "" for the first page.
            timeout: seconds for everything, retries included.

        Raises:
            UnimplementedError: the server is older.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.ListNamespacesRequest, namespace_prefix=prefix, page_size=page_size, page_token=page_token
        )
        return await self._lists.namespaces_page(request, self._transport.budget(timeout))

    def watch(
        self,
        namespace: str,
        workflow_id: str,
        *,
        after_revision: int | None = None,
        silence: float | None = None,
        not_before: Head | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[LogEntry, None]:
        """Iterate over the entries of a workflow's log as they are committed, by whatever writer and server.

        Each revision comes once, in order and without a gap, over as many connections and servers as it takes. Entries
        that were collected come as one entry of the kind "collected", damage as one of the kind "damaged". The
        workflow need not exist yet. Close the iterator to end the watch: the end of the client closes it as well.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            after_revision: begin after this revision; 0 for all entries; None for those after now.
            silence: end the iteration once a server has been reached and no entry has come for so many seconds; None to
                go on for ever.
            not_before: a head of the workflow that the caller has seen, as in `load`.
            timeout: seconds in which a server must be reached, retries included, at the beginning and each time that
                the connection breaks; None for the client's own.

        Raises:
            RolledBackError: the log is older than it was, or another one.
            UnimplementedError: the server is older.
            HoldfastError: a subclass for each other reason.

        """
        self._keep(namespace, workflow_id, not_before)
        request = arguments.request(
            api.WatchWorkflowRequest, namespace=namespace, workflow_id=workflow_id, after_revision=after_revision
        )
        quiet = None if silence is None else arguments.seconds("silence", silence)
        return self._watching.entries(request, silence=quiet, timeout=timeout)

    async def attach(
        self,
        namespace: str,
        workflow_id: str,
        checkpoint_id: str,
        records: Iterable[Record],
        *,
        epoch: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Attach records to a checkpoint id, whether the checkpoint exists or not.

        Up to 3 MiB and 1000 records go in one call, all of them or none. More records go in several calls, in order.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            checkpoint_id: the checkpoint.
            records: the records; one whose key exists is ignored, unless it replaces.
            epoch: the writer's epoch.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for each call, retries included.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = arguments.request(
            api.AttachRecordsRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id=checkpoint_id,
            request_id=request_id,
            epoch=epoch,
        )
        await self._records.attach(request, records, timeout)

    async def records(
        self,
        namespace: str,
        workflow_id: str,
        checkpoint_id: str,
        *,
        page_size: int = 0,
        max_bytes: int | None = None,
        timeout: float | None = None,
    ) -> tuple[Record, ...]:
        """Return the records of a checkpoint id, in the order of their keys, whether the checkpoint exists or not.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            checkpoint_id: the checkpoint.
            page_size: how many records to request at a time, at most 1000; 0 for as many as fit into 2 MiB.
            max_bytes: the most bytes that keys and data may have together; None for 512 MiB.
            timeout: seconds for everything, retries included.

        Raises:
            PayloadTooLargeError: there are more bytes.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.ListRecordsRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id=checkpoint_id,
            page_size=page_size,
        )
        return await self._records.read(request, self._transport.budget(timeout), limit_of(max_bytes))

    async def acquire_writer(
        self,
        namespace: str,
        workflow_id: str,
        *,
        expected_revision: int | None = None,
        lease: timedelta | None = None,
        holder: str | None = None,
        force: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Writer:
        """Become the only writer of a workflow: from now on, saves with a lower epoch are refused.

        With a lease, a second worker that was started by accident is refused instead of evicting the first. The lease
        is courtesy, judged by the clocks of servers: only the epoch keeps an evicted writer from committing.

        Args:
            namespace: the namespace.
            workflow_id: the workflow, which need not exist yet.
            expected_revision: acquire only if since this revision of the log nobody has saved, deleted the whole
                workflow, or acquired it; 0: while no checkpoint exists; None: in any case.
            lease: how long to refuse others without `force`, from now and from each save, deletion and prune with the
                new epoch; None: anybody may evict this writer at any time.
            holder: the name of the lease's holder, shown to others; None for this host and process.
            force: evict the holder of a lease that has not ended.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for everything, retries included.

        Raises:
            LeaseHeldError: another writer's lease has not ended; the error names its holder and its end.
            RevisionConflictError: a newer entry conflicts with the expected revision; nothing was changed.
            HoldfastError: a subclass for each other reason.

        """
        if holder is None:
            holder = "" if lease is None else holders.this_process()
        request = arguments.request(
            api.AcquireWriterRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            expected_revision=expected_revision,
            holder=holder,
            force=force,
            request_id=request_id,
        )
        if lease is not None:
            request.lease.FromTimedelta(arguments.duration("lease", lease))
        response = await self._transport.unary("AcquireWriter", request, timeout)
        require_writer(response)
        return to_writer(response)

    async def delete(
        self,
        namespace: str,
        workflow_id: str,
        checkpoint_id: str,
        *,
        purge: bool = False,
        epoch: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete a checkpoint.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            checkpoint_id: the checkpoint.
            purge: remove its bytes before this returns, and not only after the store's grace; also those of earlier
                checkpoints with this id, deleted ones too. The ids themselves stay until they are collected.
            epoch: the writer's epoch.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for everything, retries included.

        Returns:
            The revision of the deletion, the log's new head.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = arguments.request(
            api.DeleteRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id=checkpoint_id,
            request_id=request_id,
            epoch=epoch,
            purge=purge,
        )
        response = await self._transport.unary("Delete", request, timeout)
        return int(response.revision)

    async def delete_checkpoints(
        self,
        namespace: str,
        workflow_id: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        formats: Sequence[AcceptedFormat] = (),
        all: bool = False,  # noqa: A002 - the API's own word
        epoch: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete the checkpoints that match a filter.

        Labels or a time are required unless `all` is set, so that a condition that was lost on its way here does not
        delete everything.

        Args:
            namespace: the namespace.
            workflow_id: the workflow; "" for every workflow of the namespace.
            labels: the labels that a checkpoint must have.
            created_after: the earliest time of its save, with a time zone.
            created_before: the time before which it was saved, with a time zone.
            formats: the formats of which it must have one.
            all: delete every checkpoint, or every one of these formats; not together with labels or times.
            epoch: the writer's epoch, for one workflow.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for each page of workflows that deletes something, retries included.

        Returns:
            How many were deleted; those that an earlier attempt deleted do not count.

        Raises:
            InvalidRequestError: the filter has neither labels nor a time, and `all` is not set.
            TypeError: a condition has a value of another type, such as None for the workflow or for a label.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.DeleteCheckpointsRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            filter=self._filter(namespace, labels, created_after, created_before, formats),
            all=all,
            request_id=request_id,
            epoch=epoch,
        )
        deleted = 0
        async for page in self._transport.pages("DeleteCheckpoints", request, self._transport.budget(timeout)):
            deleted += page.deleted
        return deleted

    async def delete_workflow(
        self,
        namespace: str,
        workflow_id: str,
        *,
        purge: bool = False,
        epoch: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete every checkpoint of a workflow.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            purge: remove all bytes of the workflow before this returns, and not only after the store's grace; also
                those that were deleted before. The ids themselves stay until they are collected.
            epoch: the writer's epoch.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for everything, retries included.

        Returns:
            The revision of the deletion, the log's new head.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = arguments.request(
            api.DeleteWorkflowRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            request_id=request_id,
            epoch=epoch,
            purge=purge,
        )
        response = await self._transport.unary("DeleteWorkflow", request, timeout)
        return int(response.revision)

    async def delete_workflows(
        self,
        namespace: str,
        prefix: str,
        *,
        all: bool = False,  # noqa: A002 - the API's own word
        purge: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete every checkpoint and all records of the workflows whose ids begin with a prefix.

        To continue an interrupted deletion, repeat it with its request id. Workflows that begin during the call
        may stay.

        Args:
            namespace: the namespace.
            prefix: the text that the ids begin with. "a" also matches "ab": end it with a separator that ids contain
                nowhere else.
            all: delete every workflow of the namespace; the prefix must be "".
            purge: remove their bytes at once, and not after the store's grace, as `delete_workflow` does.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for each page of workflows that deletes something, retries included.

        Returns:
            How many workflows that held checkpoints were deleted; those that an earlier attempt deleted do not count.

        Raises:
            InvalidRequestError: the prefix is empty, and `all` is not set.
            CheckpointCorruptedError: the logs of some workflows are damaged, so that these stay; all others were
                deleted. The metadata names the first such workflow and how many there are.
            TypeError: the prefix is not text.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.DeleteWorkflowsRequest,
            namespace=namespace,
            workflow_id_prefix=prefix,
            all=all,
            request_id=request_id,
            purge=purge,
        )
        deleted = 0
        failed: list[api.FailedDeletion] = []
        async for page in self._transport.pages("DeleteWorkflows", request, self._transport.budget(timeout)):
            deleted += page.deleted
            failed += page.failed
        require_all_deleted(failed, deleted, request)
        return deleted

    async def prune(
        self,
        namespace: str,
        workflow_id: str,
        *,
        keep_last: int = 1,
        epoch: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete a workflow's checkpoints, except the newest ones and those that these need.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            keep_last: how many of the newest checkpoints to keep, at least 1.
            epoch: the writer's epoch.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for everything, retries included.

        Returns:
            How many were deleted.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = arguments.request(
            api.PruneRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            keep_last=keep_last,
            request_id=request_id,
            epoch=epoch,
        )
        response = await self._transport.unary("Prune", request, timeout)
        return int(response.deleted)

    async def copy_workflow(
        self,
        namespace: str,
        workflow_id: str,
        target_workflow_id: str,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Copy all checkpoints of a workflow, with their records, into a workflow that has none.

        A client with a keyring refuses it, because encrypted data is bound to its workflow.

        Args:
            namespace: the namespace of both.
            workflow_id: the workflow to copy.
            target_workflow_id: the workflow to copy into.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for everything, retries included.

        Returns:
            How many checkpoints were copied.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        if self._protection.is_sealing:
            raise arguments.invalid(
                "encryption", "does not allow copies of workflows: encrypted data is bound to its workflow"
            )
        request = arguments.request(
            api.CopyWorkflowRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            target_workflow_id=target_workflow_id,
            request_id=request_id,
        )
        response = await self._transport.unary("CopyWorkflow", request, timeout)
        return int(response.copied)

    async def rewrap_keys(
        self,
        namespace: str,
        workflow_id: str = "",
        *,
        timeout: float | None = None,
        progress: RewrapProgress | None = None,
    ) -> Rewrapped:
        """Wrap the data keys of stored checkpoints, and of their records, by the keyring's current key.

        After that, the keys that wrapped them before are not needed any more. Stored objects do not
        change. Repeat an interrupted run: it skips the checkpoints that are done.

        Args:
            namespace: the namespace.
            workflow_id: the workflow; "" for every workflow of the namespace.
            timeout: seconds for each request, or for the records of each checkpoint, retries included.
            progress: called with what was done so far, after each page of a workflow's checkpoints.

        Returns:
            What was done. Delete the old key only if nothing failed: a damaged checkpoint, or one whose key the keyring
            lacks, is a failure and does not end the run.

        Raises:
            InvalidRequestError: the client has no keyring, and there is a checkpoint.
            KeyServiceUnavailableError: the key service cannot be reached.
            HoldfastError: a subclass for each other reason.

        """
        arguments.text("namespace", namespace)
        run = Rewrapping(self._transport, self._protection, self._records, namespace, timeout)
        if arguments.text("workflow_id", workflow_id):
            await run.of_workflow(workflow_id, progress)
        else:
            await run.of_namespace(progress)
        return run.done

    def _filter(
        self,
        namespace: str,
        labels: Mapping[str, str] | None,
        created_after: datetime | None,
        created_before: datetime | None,
        accepted: Sequence[AcceptedFormat],
    ) -> api.ListFilter:
        sought = self._protection.sought(namespace, labels)
        return filter_message(sought, created_after, created_before, accepted)

    async def capabilities(self, *, timeout: float | None = None) -> api.GetCapabilitiesResponse:
        """Return the server's version, features and limits.

        Args:
            timeout: seconds for everything, retries included.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = api.GetCapabilitiesRequest()
        response: api.GetCapabilitiesResponse = await self._transport.unary("GetCapabilities", request, timeout)
        return response

    async def store_status(self, *, timeout: float | None = None) -> StoreStatus:
        """Return the state of the server and its store: versions, settings, the last collection and the last check.

        It needs the right to admin.

        Args:
            timeout: seconds for everything, retries included.

        Raises:
            UnimplementedError: the server is older.
            HoldfastError: a subclass for each other reason.

        """
        response = await self._transport.unary("GetStoreStatus", api.GetStoreStatusRequest(), timeout)
        return to_store_status(response)


def _load_request(
    namespace: str,
    workflow_id: str,
    checkpoint_id: str | None = None,
    *,
    accepted_formats: Sequence[AcceptedFormat],
    fallback: bool,
    records: bool,
) -> api.LoadRequest:
    return arguments.request(
        api.LoadRequest,
        namespace=namespace,
        workflow_id=workflow_id,
        checkpoint_id="" if checkpoint_id is None else checkpoint_id,
        accepted_formats=accepted_messages(accepted_formats),
        fallback=api.FALLBACK_LAST_GOOD if arguments.flag("fallback", fallback) else api.FALLBACK_NONE,
        view=api.CHECKPOINT_VIEW_FULL if arguments.flag("records", records) else api.CHECKPOINT_VIEW_PAYLOAD,
    )


def _usage_request(
    namespace: str, workflow_id: str | None, prefix: str, *, stored_only: bool, **page: Any
) -> api.GetUsageRequest:
    """Return a request of usage.

    Raises:
        InvalidRequestError: an argument has a value that is not allowed.
        TypeError: an argument has another type.

    """
    if workflow_id == "":
        # It would mean all workflows.
        raise arguments.invalid("workflow_id", "must not be empty")
    return arguments.request(
        api.GetUsageRequest,
        namespace=namespace,
        workflow_id="" if workflow_id is None else workflow_id,
        workflow_id_prefix=prefix,
        view=api.USAGE_VIEW_STORED if arguments.flag("stored_only", stored_only) else api.USAGE_VIEW_FULL,
        **page,
    )
