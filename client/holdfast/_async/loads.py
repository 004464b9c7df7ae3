"""Loading a checkpoint: in one message if its payload is small, else as streams that resume where they broke."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from holdfast._async import blocking
from holdfast._async.calls import Attempt
from holdfast._async.download import Download
from holdfast._async.opening import Opening
from holdfast._async.records import Records
from holdfast._async.transport import Transport
from holdfast._core.answers import MAX_BYTES, require_loaded, require_named, require_sizes, validated
from holdfast._core.budget import Budget
from holdfast._core.checkpoint import Checkpoint, Format, LoadedCheckpoint, LoadedFile, Record, Skipped
from holdfast._core.errors import (
    DECRYPTION,
    CheckpointCorruptedError,
    EncryptionKeyMissingError,
    HoldfastError,
    WorkflowCheckpointResumeError,
    is_of_encryption,
)
from holdfast._core.files import Target, draft_of
from holdfast._core.messages import to_head, to_skipped
from holdfast._core.migrations import Migrations
from holdfast._core.payload import Progress
from holdfast._core.received import Memory, PartInto, Sinks
from holdfast._core.seen_heads import Watch
from holdfast.v1 import checkpoint_service_pb2 as api


class Loads:
    """The calls of one client that load a checkpoint."""

    def __init__(self, transport: Transport, opening: Opening, records: Records) -> None:
        self._transport = transport
        self._opening = opening
        self._records = records

    async def load(
        self, request: api.LoadRequest, budget: Budget, *, max_bytes: int | None, progress: Progress | None = None
    ) -> LoadedCheckpoint:
        """Load a checkpoint with its payload and check the payload's digests.

        A checkpoint that was encrypted and is not authentic is skipped like a damaged one, if the request falls
        back: the server cannot know of it.

        Args:
            request: the checkpoint, and whether its records are wanted.
            budget: the time for all requests.
            max_bytes: the most bytes that the payload may have; None for what this machine's memory could hold.
            progress: called with the bytes received and all bytes, for payloads that are streamed.

        Raises:
            PayloadTooLargeError: the payload has more bytes than `max_bytes`.
            WorkflowCheckpointResumeError: a subclass for each other reason.

        """
        passed_over: list[Skipped] = []
        while True:
            try:
                loaded = await self._load(request, budget, passed_over, max_bytes=max_bytes, progress=progress)
            except CheckpointCorruptedError as error:
                request = await self._before(request, error, passed_over, budget)
                continue
            if not passed_over:
                return loaded
            return replace(loaded, fell_back=True, skipped=(*passed_over, *loaded.skipped))

    async def _load(
        self,
        request: api.LoadRequest,
        budget: Budget,
        passed_over: list[Skipped],
        *,
        max_bytes: int | None,
        progress: Progress | None,
    ) -> LoadedCheckpoint:
        """Load a checkpoint, or raise and note what the server skipped before it."""
        response = await self._first(request, budget, max_bytes)
        with _noting(response, passed_over):
            info = await self._opening.loaded(response.checkpoint, budget)
            records = await self._records_of(request, response.checkpoint, response, budget)
            if response.payload_included:
                received = {part.name: part.data for part in response.parts}
                parts = await self._opening.parts(response.checkpoint, received, max_bytes, budget)
                return _loaded(response, info, parts, records)
            memory = Memory()
            header = await self._stream(request, response, memory, budget, max_bytes=max_bytes, progress=progress)
            if header.checkpoint.revision != response.checkpoint.revision:
                info = await self._opening.loaded(header.checkpoint, budget)
                records = await self._records_of(request, header.checkpoint, api.Content(), budget)
            loaded = _loaded(header, info, memory.take(), records)
            if request.view != api.CHECKPOINT_VIEW_FULL or not response.fell_back:
                return loaded
            # The stream named the older checkpoint, and so reports no fallback to it.
            return replace(loaded, fell_back=True, skipped=(*map(to_skipped, response.skipped), *loaded.skipped))

    async def load_to(
        self,
        request: api.LoadRequest,
        file: Target,
        budget: Budget,
        *,
        part: str | None,
        max_bytes: int,
        progress: Progress | None,
    ) -> LoadedFile:
        """Load a part of a checkpoint into a file. Little of the payload is in memory at a time.

        Args:
            request: the checkpoint.
            file: a path or an open binary file.
            budget: the time for all requests.
            part: the part; None for the default part or the only one.
            max_bytes: the most bytes that the payload may have.
            progress: called with the bytes received and all bytes, for payloads that are streamed.

        Raises:
            PayloadTooLargeError: the payload has more bytes than `max_bytes`.
            InvalidRequestError: the checkpoint has no such part.
            WorkflowCheckpointResumeError: a subclass for each other reason.
            OSError: the file cannot be written.

        """
        passed_over: list[Skipped] = []
        while True:
            draft = await blocking.in_thread(draft_of, file)
            try:
                await blocking.to_end(draft.begin)
                into = PartInto(draft, part)
                found = await self._load_into(
                    request, into, budget, passed_over, max_bytes=max_bytes, progress=progress
                )
                info = await self._opening.loaded(found.checkpoint, budget)
                await blocking.to_end(draft.commit)
            except CheckpointCorruptedError as error:
                request = await self._before(request, error, passed_over, budget)
                continue
            finally:
                await blocking.to_end(draft.discard)
            return LoadedFile(
                info,
                next(each for each in info.parts if each.name == into.chosen),
                found.fell_back or bool(passed_over),
                (*passed_over, *(to_skipped(message) for message in found.skipped)),
                found.head_revision,
                to_head(found),
            )

    async def into(self, request: api.LoadRequest, sinks: Sinks, budget: Budget) -> Checkpoint:
        """Load a checkpoint of any size into sinks, and return its metadata.

        Args:
            request: the checkpoint, without fallback.
            sinks: where its parts go.
            budget: the time for all requests.

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        found = await self._load_into(request, sinks, budget, [], max_bytes=MAX_BYTES, progress=None)
        return await self._opening.loaded(found.checkpoint, budget)

    async def _load_into(
        self,
        request: api.LoadRequest,
        sinks: Sinks,
        budget: Budget,
        passed_over: list[Skipped],
        *,
        max_bytes: int,
        progress: Progress | None,
    ) -> Any:
        """Load parts into their sinks, and return the answer, or raise and note what the server skipped."""
        found = await self._first(request, budget, max_bytes)
        with _noting(found, passed_over):
            await self._opening.loaded(found.checkpoint, budget)
            wanted = sinks.of(found.checkpoint)
            if not found.payload_included:
                return await self._stream(request, found, sinks, budget, max_bytes=max_bytes, progress=progress)
            received = {each.name: each.data for each in found.parts}
            parts = await self._opening.parts(found.checkpoint, received, max_bytes, budget)
            for name, sink in wanted.items():
                await blocking.to_end(sink.write, parts[name])
            return found

    async def _before(
        self, request: api.LoadRequest, error: CheckpointCorruptedError, passed_over: list[Skipped], budget: Budget
    ) -> api.LoadRequest:
        """Return the request for the newest checkpoint before one that cannot be decrypted.

        Raises:
            CheckpointCorruptedError: the given one. The request does not fall back; or the stored bytes are damaged,
                for which the server falls back itself; or no checkpoint is older; or this one is not older than one
                that was passed over before, because the list goes round in a circle.

        """
        if request.fallback != api.FALLBACK_LAST_GOOD or error.metadata.get("cause") != DECRYPTION:
            raise error
        checkpoint_id = error.metadata["checkpoint_id"]
        revision = int(error.metadata["revision"])
        if any(0 < each.revision <= revision for each in passed_over):
            # It was replaced since, or the server goes round in a circle.
            raise error
        passed_over.append(Skipped(checkpoint_id, revision, error.reason, error.message))
        older = api.ListRequest(
            namespace=request.namespace,
            workflow_id=request.workflow_id,
            before_checkpoint_id=checkpoint_id,
            filter=api.ListFilter(formats=request.accepted_formats),
            view=api.CHECKPOINT_VIEW_ID,
            page_size=1,
        )
        async for page in self._transport.pages("List", older, budget):
            for message in page.checkpoints:
                require_named(message, request.namespace, request.workflow_id)
                following = api.LoadRequest()
                following.CopyFrom(request)
                following.checkpoint_id = message.checkpoint_id
                return following
        raise error

    async def _first(self, request: api.LoadRequest, budget: Budget, max_bytes: int | None) -> api.LoadResponse:
        """Return the checkpoint, with its payload if that is small."""
        with budget.spending() as seconds:
            response: api.LoadResponse = await self._transport.unary("Load", request, seconds)
        require_loaded(response, request)
        require_sizes(response.checkpoint, max_bytes)
        return response

    async def _stream(
        self,
        request: api.LoadRequest,
        response: api.LoadResponse,
        sinks: Sinks,
        budget: Budget,
        *,
        max_bytes: int | None,
        progress: Progress | None,
    ) -> api.LoadStreamHeader:
        """Stream the payload of the checkpoint that was found, check its digests, and return the stream's header."""
        # The checkpoint whose records are here. If it is found damaged now, fallback may still replace it.
        checkpoint_id = (
            response.checkpoint.checkpoint_id if request.view == api.CHECKPOINT_VIEW_FULL else request.checkpoint_id
        )
        opening = self._opening.protection.sinks(sinks, max_bytes)
        wanted = opening.of(response.checkpoint)
        is_all = len(wanted) == len(response.checkpoint.parts)
        download = Download(
            api.LoadStreamRequest(
                namespace=request.namespace,
                workflow_id=request.workflow_id,
                checkpoint_id=checkpoint_id,
                accepted_formats=request.accepted_formats,
                fallback=request.fallback,
                ranges=() if is_all else [api.PartRange(part=name) for name in wanted],
            ),
            opening,
            progress,
            announced=response.checkpoint,
            max_bytes=max_bytes,
        )
        watch = self._transport.heads.watch(request)
        try:
            with budget.spending() as seconds:
                await self._receive(download, watch, seconds)
        except EncryptionKeyMissingError:
            # Another checkpoint than announced, after a fallback or a replacement, may have its data keys elsewhere.
            found = download.header
            if found is None or found.checkpoint.revision == response.checkpoint.revision:
                raise
            await self._opening.loaded(found.checkpoint, budget)
            download.forget()
            with budget.spending() as seconds:
                await self._receive(download, watch, seconds)
        await blocking.in_thread(download.require_digests)
        opening.finish()
        assert download.header is not None
        return download.header

    async def resume(
        self,
        request: api.LoadRequest,
        budget: Budget,
        *,
        format: Format,  # noqa: A002 - the API's own word
        migrations: Migrations,
        max_bytes: int | None,
        progress: Progress | None,
    ) -> LoadedCheckpoint:
        """Load a checkpoint and migrate it to a format.

        Args:
            request: the newest checkpoint of a workflow, in one of the formats that can be migrated.
            budget: the time for all requests.
            format: the format to migrate to.
            migrations: the migrations.
            max_bytes: as in `load`.
            progress: as in `load`.

        Raises:
            WorkflowCheckpointResumeError: why the workflow cannot be resumed; `last_good` names a checkpoint from which
                it could be.

        """
        try:
            loaded = await self.load(request, budget, max_bytes=max_bytes, progress=progress)
            if loaded.format == format:
                return loaded
            parts = await blocking.in_thread(migrations.migrate, loaded.parts, loaded.format, format)
            return replace(loaded, parts=parts, format=format, migrated_from=loaded.format)
        except WorkflowCheckpointResumeError as error:
            # The server, which cannot decrypt, would name the same checkpoint.
            if not error.retryable and not is_of_encryption(error):
                error.last_good = await self._last_good(request, budget)
            raise

    async def _last_good(self, load: api.LoadRequest, budget: Budget) -> Checkpoint | None:
        request = api.ValidateRequest(
            namespace=load.namespace,
            workflow_id=load.workflow_id,
            depth=api.VALIDATE_DEPTH_CHECKSUM,
            accepted_formats=load.accepted_formats,
        )
        try:
            with budget.spending() as seconds:
                response = await self._transport.unary("Validate", request, seconds)
            return validated(response, request).last_good
        except HoldfastError:
            return None

    async def _records_of(
        self, request: api.LoadRequest, checkpoint: Any, answer: Any, budget: Budget
    ) -> tuple[Record, ...]:
        if request.view != api.CHECKPOINT_VIEW_FULL:
            return ()
        return await self._records.of(checkpoint, answer, budget)

    async def _receive(self, download: Download, watch: Watch, seconds: float) -> None:
        """Receive what is missing of a payload, over as many streams as it takes."""

        async def send(attempt: Attempt) -> None:
            # The last stream may have broken after its last chunk.
            if download.is_whole:
                return
            stream = self._transport.stub.LoadStream(
                download.next_request(), timeout=attempt.timeout_seconds, metadata=attempt.metadata
            )
            try:
                await download.receive(stream)
                watch.require(download.header)
            finally:
                # Otherwise the stream stays open after its reader has left.
                stream.cancel()

        await self._transport.call("LoadStream", send, watch=watch, timeout_seconds=seconds)


@contextmanager
def _noting(answer: api.LoadResponse, passed_over: list[Skipped]) -> Iterator[None]:
    """If the checkpoint of an answer cannot be decrypted, note its revision and what the server skipped."""
    try:
        yield
    except CheckpointCorruptedError as error:
        if error.metadata.get("cause") == DECRYPTION:
            is_same = error.metadata["checkpoint_id"] == answer.checkpoint.checkpoint_id
            error.metadata["revision"] = str(answer.checkpoint.revision if is_same else 0)
            passed_over += map(to_skipped, answer.skipped)
        raise


def _loaded(
    response: Any, info: Checkpoint, parts: Mapping[str, bytes], records: tuple[Record, ...]
) -> LoadedCheckpoint:
    return LoadedCheckpoint(
        info,
        parts,
        info.format,
        response.fell_back,
        tuple(to_skipped(message) for message in response.skipped),
        head_revision=response.head_revision,
        records=records,
        head=to_head(response),
    )
