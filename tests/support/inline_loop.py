"""One event loop for all inputs. A new one for each, with its threads, would take most of the time."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class _Inline(ThreadPoolExecutor):
    """An executor that runs each call in the calling thread."""

    def submit(self, function, /, *arguments, **options):
        done: Future[Any] = Future()
        try:
            done.set_result(function(*arguments, **options))
        except Exception as error:  # noqa: BLE001 - it is raised where the result is asked for
            done.set_exception(error)
        return done


_RUNNER = asyncio.Runner()


def run(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    _RUNNER.get_loop().set_default_executor(_Inline())
    return _RUNNER.run(coroutine)
