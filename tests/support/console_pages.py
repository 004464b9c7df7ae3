"""A console in the test's own process, without a socket."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import holdfast
import httpx
from holdfast_server.console.app import create_app
from holdfast_server.console.clients import Clients
from holdfast_server.console.settings import Settings

FORMAT = holdfast.Format("test", 1)
MARKUP = "<img src=x onerror=alert(1)>"
ORIGIN = "http://127.0.0.1:7434"


class Browser(httpx.AsyncClient):
    """A browser without scripts."""

    async def submit(self, path: str, page: str, *, origin: str | None = ORIGIN, **fields: str) -> httpx.Response:
        """Send a form with the mark of a page."""
        found = re.search(r'name="form_mark" value="([^"]+)"', page)
        assert found
        headers = {"origin": origin} if origin else {}
        return await self.post(path, data={"form_mark": found[1], **fields}, headers=headers)


@asynccontextmanager
async def browsing(target: str, **settings: Any) -> AsyncIterator[Browser]:
    """Open a console and a browser that looks at it."""
    given = Settings(target=target, **settings)
    async with Clients(given) as clients:
        transport = httpx.ASGITransport(create_app(given, clients), raise_app_exceptions=False)
        async with Browser(transport=transport, base_url=ORIGIN) as browser:
            yield browser
