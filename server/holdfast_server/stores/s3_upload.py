"""The upload of an object into a bucket: one request if it is small, otherwise parts, of which few are in memory.

Every request of an upload can be retried: its key is fresh, and a part replaces itself.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from holdfast_server.stores.base import ObjectNotFoundError, StoreAccessDeniedError, StoreUnavailableError
from holdfast_server.stores.retried import retried
from holdfast_server.stores.s3_bucket import Bucket
from holdfast_server.stores.s3_checksums import PartChecksums

# A multiple of the chunks of a stream, so that a part is joined from whole ones.
_PART_BYTES = 8 << 20
_PARTS_IN_FLIGHT = 3

# A part in the request that completes an upload.
_Part = dict[str, str | int]


class Upload:
    """An upload that collects bytes into parts and sends a bounded number of parts concurrently.

    Args:
        bucket: the bucket.
        checksums: how the server verifies the parts.
        key: a key that was never used.

    """

    def __init__(self, bucket: Bucket, checksums: PartChecksums, key: str) -> None:
        self._bucket = bucket
        self._checksums = checksums
        self._key = key
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0
        self._sent_bytes = 0
        self._upload_id = ""
        self._parts: list[asyncio.Task[_Part]] = []
        self._finished = False

    async def write(self, data: bytes) -> None:
        """Append bytes. May wait for earlier bytes to be sent."""
        self._pieces.append(data)
        self._pieces_bytes += len(data)
        while self._pieces_bytes >= _PART_BYTES:
            await self._send_part()

    async def finish(self) -> None:
        """Make the object visible."""
        if not self._upload_id:
            data = self._take()
            await retried(lambda: self._bucket.put_object(self._key, data))
        else:
            if self._pieces:
                await self._send_part()
            await self._complete([await part for part in self._parts])
        self._finished = True

    async def abandon(self) -> None:
        """Abort the upload if it is not finished: every task ends, and the server discards the parts."""
        if self._finished or not self._upload_id:
            return
        for part in self._parts:
            part.cancel()
        await asyncio.gather(*self._parts, return_exceptions=True)
        try:
            with self._bucket.errors_mapped(self._key):
                await self._bucket.client.abort_multipart_upload(**self._upload)
        except (StoreUnavailableError, StoreAccessDeniedError, ObjectNotFoundError):
            # No object is visible. A lifecycle rule of the bucket removes the remaining parts.
            return

    @property
    def _upload(self) -> dict[str, Any]:
        return {**self._bucket.object_arguments(self._key), "UploadId": self._upload_id}

    def _take(self) -> bytes:
        """Return the next part. All parts but the last have one size, because some stores require it."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        if len(taken) > _PART_BYTES:
            self._pieces.append(taken[_PART_BYTES:])
            taken = taken[:_PART_BYTES]
        self._pieces_bytes -= len(taken)
        self._sent_bytes += len(taken)
        return taken

    async def _send_part(self) -> None:
        if not self._upload_id:
            self._upload_id = await retried(self._create)
        if len(self._parts) >= _PARTS_IN_FLIGHT:
            await self._parts[-_PARTS_IN_FLIGHT]
        self._parts.append(asyncio.create_task(self._upload_part(len(self._parts) + 1, self._take())))

    async def _create(self) -> str:
        named = {**self._bucket.object_arguments(self._key), **await self._checksums.of_upload(self._key)}
        with self._bucket.errors_mapped(self._key):
            created = await self._bucket.client.create_multipart_upload(**named)
        return str(created["UploadId"])

    async def _upload_part(self, number: int, data: bytes) -> _Part:
        checksum = await self._checksums.of_part(data)

        async def send() -> _Part:
            with self._bucket.errors_mapped(self._key):
                sent = await self._bucket.client.upload_part(**self._upload, PartNumber=number, Body=data, **checksum)
            return {"ETag": str(sent["ETag"]), "PartNumber": number, **self._checksums.of_completion(checksum)}

        try:
            return await retried(send)
        except ObjectNotFoundError:
            raise self._lost() from None

    async def _complete(self, parts: Sequence[_Part]) -> None:
        async def send() -> None:
            with self._bucket.errors_mapped(self._key):
                await self._bucket.client.complete_multipart_upload(**self._upload, MultipartUpload={"Parts": parts})

        try:
            await retried(send)
        except ObjectNotFoundError:
            # A server no longer knows an upload that it has completed: an earlier answer was lost.
            if await retried(lambda: self._bucket.size(self._key)) != self._sent_bytes:
                raise self._lost() from None

    def _lost(self) -> StoreUnavailableError:
        message = "the store has lost an upload; it must be sent again"
        return StoreUnavailableError(message, detail=f"{self._bucket.where}: {message}")
