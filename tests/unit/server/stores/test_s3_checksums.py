"""Parts of an upload are sent with CRC-32C only to a server that refuses a wrong one."""

import asyncio
import base64
import hashlib

import pytest
from botocore.exceptions import ClientError
from crc32c import crc32c
from holdfast_server.stores.base import StoreUnavailableError
from holdfast_server.stores.s3_bucket import Bucket
from holdfast_server.stores.s3_checksums import PartChecksums

DATA = b"a part of an upload"


class Server:
    """The calls of an S3 client that a probe makes.

    Attributes:
        refuses: the status of refused calls by the reason: "algorithm", "wrong" or "any".
        aborted: how many uploads were aborted.

    """

    def __init__(self, **refuses: int) -> None:
        self.refuses = refuses
        self.created = self.aborted = 0

    async def create_multipart_upload(self, **arguments):
        self.created += 1
        self._refuse("algorithm", "ChecksumAlgorithm" in arguments)
        return {"UploadId": "u"}

    async def upload_part(self, **arguments):
        assert arguments["UploadId"] == "u"
        right = base64.b64encode(crc32c(arguments["Body"]).to_bytes(4, "big")).decode()
        self._refuse("any", True)
        self._refuse("wrong", arguments["ChecksumCRC32C"] != right)
        return {"ETag": "e"}

    async def abort_multipart_upload(self, **arguments):
        assert arguments == {"Bucket": "b", "Key": "k", "UploadId": "u"}
        self.aborted += 1

    def _refuse(self, reason, holds):
        if holds and reason in self.refuses:
            status = self.refuses[reason]
            raise ClientError({"Error": {"Code": "E"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "UploadPart")


def of(server: Server) -> PartChecksums:
    return PartChecksums(Bucket(server, "b", "", "here"))


async def test_a_server_that_refuses_a_wrong_checksum_gets_crc32c():
    server = Server(wrong=400)
    checksums = of(server)
    assert await checksums.of_upload("k") == {"ChecksumAlgorithm": "CRC32C"}
    sent = await checksums.of_part(DATA)
    assert sent == {"ChecksumCRC32C": base64.b64encode(crc32c(DATA).to_bytes(4, "big")).decode()}
    assert checksums.of_completion(sent) == sent
    assert server.aborted == 1


@pytest.mark.parametrize("server", [Server(), Server(algorithm=400), Server(any=400), Server(any=501, wrong=400)])
async def test_any_other_server_gets_content_md5(server):
    checksums = of(server)
    assert await checksums.of_upload("k") == {}
    sent = await checksums.of_part(DATA)
    assert sent == {"ContentMD5": base64.b64encode(hashlib.md5(DATA).digest()).decode()}
    assert checksums.of_completion(sent) == {}
    assert server.aborted == ("algorithm" not in server.refuses)


async def test_a_server_is_asked_once_even_by_concurrent_uploads():
    server = Server(wrong=400)
    checksums = of(server)
    await asyncio.gather(*(checksums.of_upload("k") for _ in range(5)))
    assert server.created == 1


async def test_a_server_that_is_unavailable_is_asked_again():
    server = Server(wrong=503)
    checksums = of(server)
    with pytest.raises(StoreUnavailableError):
        await checksums.of_upload("k")
    server.refuses["wrong"] = 400
    assert await checksums.of_upload("k")
    assert server.aborted == 2
