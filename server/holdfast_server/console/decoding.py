"""Work on payloads that takes long, off the event loop. At most two pieces of it run at a time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

_Result = TypeVar("_Result")
_WORKERS = ThreadPoolExecutor(2, "console-decoding")


async def in_worker(function: Callable[..., _Result], *arguments: Any, **options: Any) -> _Result:
    """Run a function in a thread."""
    return await asyncio.get_running_loop().run_in_executor(_WORKERS, partial(function, *arguments, **options))
