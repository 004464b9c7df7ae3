"""A store of each durable kind, as a server is told of it."""

from pathlib import Path

import pytest


@pytest.fixture(params=["file", "s3"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "file":
        return tmp_path.as_uri()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", request.getfixturevalue("s3_endpoint"))
    return f"s3://{request.getfixturevalue('s3_bucket')}/some/prefix"
