"""How the server of a bucket verifies the parts of a large upload: by CRC-32C if it can, otherwise by Content-MD5.

MD5 takes more time than everything else that is done with the bytes of a large payload. A server that does not know
the newer checksums ignores them, so that the first large upload finds out whether this one refuses a wrong checksum.
"""

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError
from crc32c import crc32c

from holdfast_server.stores.s3_bucket import Bucket, md5

_PROBE = b"probe"
_ACCEPTED, _REFUSED = 200, 400
# Statuses that say nothing about the checksum.
_BUSY = frozenset({429, 500, 502, 503, 504})


class PartChecksums:
    """The checksums of the parts that are uploaded into one bucket.

    Args:
        bucket: the bucket.

    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._lock = asyncio.Lock()
        self._by_crc32c: bool | None = None

    async def of_upload(self, key: str) -> Mapping[str, str]:
        """Return the arguments of the request that begins an upload.

        Args:
            key: the key of the upload, which was never used.

        Raises:
            StoreError: the store cannot be used.

        """
        async with self._lock:
            if self._by_crc32c is None:
                with self._bucket.errors_mapped(key):
                    self._by_crc32c = await _verifies_crc32c(self._bucket.client, self._bucket.object_arguments(key))
        return {"ChecksumAlgorithm": "CRC32C"} if self._by_crc32c else {}

    async def of_part(self, data: bytes) -> Mapping[str, str]:
        """Return the arguments of the request that sends a part."""
        if self._by_crc32c:
            return _checksum(await asyncio.to_thread(crc32c, data))
        return {"ContentMD5": await md5(data)}

    def of_completion(self, part: Mapping[str, str]) -> Mapping[str, str]:
        """Return what the request that completes the upload states about a part, given the part's arguments."""
        return part if self._by_crc32c else {}


async def _verifies_crc32c(client: Any, named: Mapping[str, str]) -> bool:
    """Return whether the server accepts a part with its CRC-32C and refuses one with another."""
    try:
        created = await client.create_multipart_upload(**named, ChecksumAlgorithm="CRC32C")
    except ClientError:
        return False
    upload = {**named, "UploadId": created.get("UploadId", ""), "PartNumber": 1, "Body": _PROBE}
    right = crc32c(_PROBE)
    try:
        return (
            await _status(client, upload, right) == _ACCEPTED and await _status(client, upload, right ^ 1) == _REFUSED
        )
    finally:
        await _abort(client, upload)


async def _status(client: Any, upload: Mapping[str, Any], checksum: int) -> int:
    try:
        await client.upload_part(**upload, **_checksum(checksum))
    except ClientError as error:
        status = int(error.response["ResponseMetadata"]["HTTPStatusCode"])
        if status in _BUSY:
            raise
        return status
    return _ACCEPTED


async def _abort(client: Any, upload: Mapping[str, Any]) -> None:
    try:
        await client.abort_multipart_upload(**{name: upload[name] for name in ("Bucket", "Key", "UploadId")})
    except ClientError:
        # A lifecycle rule of the bucket removes what is left.
        return


def _checksum(value: int) -> dict[str, str]:
    return {"ChecksumCRC32C": base64.b64encode(value.to_bytes(4, "big")).decode()}
