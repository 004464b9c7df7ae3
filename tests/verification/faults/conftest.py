"""The real stores, with faults in front of each."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.budget import full
from tests.support.memory import folder_in_memory
from tests.verification.faults.faulty import Faulty, faulty_azure, faulty_folder, faulty_s3


@pytest.fixture(params=["file", "s3", full("s3 obstore"), full("azure")])
async def faulty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Faulty]:
    if request.param == "file":
        with folder_in_memory(tmp_path) as memory:
            async with faulty_folder(memory / "store") as folder:
                yield folder
    elif request.param == "azure":
        endpoint, container = request.getfixturevalue("azure_endpoint"), request.getfixturevalue("azure_container")
        async with faulty_azure(endpoint, container) as azure:
            yield azure
    else:
        endpoint, bucket = request.getfixturevalue("s3_endpoint"), request.getfixturevalue("s3_bucket")
        client = request.param.partition(" ")[2] or "aioboto3"
        async with faulty_s3(endpoint, bucket, client) as s3:
            yield s3
