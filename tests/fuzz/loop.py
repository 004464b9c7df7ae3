"""One event loop for all inputs: a new one for each would take most of the time."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")

_RUNNER = asyncio.Runner()


def run(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    return _RUNNER.run(coroutine)
