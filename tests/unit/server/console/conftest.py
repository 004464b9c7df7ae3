"""A folder with a few workflows, and a browser that looks at its console."""

from collections.abc import AsyncIterator
from pathlib import Path

import holdfast
import pytest

from tests.support.console_pages import Browser, browsing


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[holdfast.AsyncClient]:
    async with holdfast.AsyncClient((tmp_path / "store").as_uri()) as client:
        yield client


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with browsing((tmp_path / "store").as_uri(), is_open=True) as browser:
        yield browser
