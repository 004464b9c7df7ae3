import os
import shutil
from urllib.parse import urlsplit

import pytest

from tests.integration.telemetry import jaeger
from tests.support.required import require


@pytest.fixture(scope="session")
def traces(tmp_path_factory):
    given = os.environ.get("HOLDFAST_TEST_JAEGER_URL")
    if given:
        default = f"http://{urlsplit(given).hostname}:4318"
        yield jaeger.Jaeger(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", default), given.rstrip("/"))
        return
    if shutil.which(jaeger.PROGRAM) is None:
        require("no Jaeger: `jaeger` not found, HOLDFAST_TEST_JAEGER_URL not set")
    with jaeger.running(tmp_path_factory.mktemp("jaeger")) as running:
        yield running
