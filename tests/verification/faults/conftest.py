"""The real stores, with faults in front of each."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.verification.faults.faulty import Faulty, faulty_folder, faulty_s3


@pytest.fixture(params=["file", "s3"])
async def faulty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Faulty]:
    if request.param == "file":
        async with faulty_folder(tmp_path / "store") as folder:
            yield folder
    else:
        endpoint, bucket = request.getfixturevalue("s3_endpoint"), request.getfixturevalue("s3_bucket")
        async with faulty_s3(endpoint, bucket) as s3:
            yield s3
