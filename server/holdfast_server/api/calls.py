"""What surrounds every call: its deadline, its trace id, its place among the calls in flight, its errors."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.protobuf.message import Message

from holdfast_server.api.errors import InvalidRequestError, to_status
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.stores.base import StoreAccessDeniedError, StoreError

_LOG = logging.getLogger("holdfast.server")
_DETAILS_KEY = "grpc-status-details-bin"
# Kept back from the caller's deadline, so that an answer about an unknown outcome still arrives.
_MARGIN_SECONDS = 0.05

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A call in progress. `deadline` is in the event loop's time."""

    trace_id: str
    deadline: float


class Calls:
    """Admits calls up to a limit, and turns what goes wrong in them into statuses.

    Args:
        limit: how many calls may be in flight.
        longest_seconds: how long a call without a deadline may take.

    """

    def __init__(self, *, limit: int, longest_seconds: float) -> None:
        self._limit = limit
        self._longest_seconds = longest_seconds
        self._in_flight = 0

    @asynccontextmanager
    async def enter(self, context: Context, request_id: str = "") -> AsyncIterator[Call]:
        """Run a call's body; whatever it raises ends the call with its status."""
        call = Call(trace_id_of(context), self._deadline(context))
        self._in_flight += 1
        try:
            if self._in_flight > self._limit:
                raise HoldfastError(
                    Reason.OVERLOADED,
                    f"{self._limit} calls are in flight already",
                    limit=self._limit,
                )
            async with asyncio.timeout_at(call.deadline + _MARGIN_SECONDS):
                yield call
        except HoldfastError as error:
            await _abort(context, error, request_id, call.trace_id)
        except StoreAccessDeniedError as error:
            denied = HoldfastError(Reason.STORE_ACCESS_DENIED, str(error))
            await _abort(context, denied, request_id, call.trace_id)
        except StoreError as error:
            failed = HoldfastError(Reason.STORE_UNAVAILABLE, str(error))
            await _abort(context, failed, request_id, call.trace_id)
        except TimeoutError:
            late = HoldfastError(Reason.DEADLINE_EXCEEDED, "the deadline passed before the call was done")
            await _abort(context, late, request_id, call.trace_id)
        except grpc.aio.AbortError:
            raise
        except Exception:  # noqa: BLE001 - the last line: logged with its traceback, answered as INTERNAL
            _LOG.exception("call failed unexpectedly", extra={"trace_id": call.trace_id})
            fault = HoldfastError(Reason.INTERNAL, "the server failed; its log has the trace id")
            await _abort(context, fault, request_id, call.trace_id)
        finally:
            self._in_flight -= 1

    def _deadline(self, context: Context) -> float:
        remaining = context.time_remaining()
        seconds = self._longest_seconds if remaining is None else min(remaining, self._longest_seconds)
        return asyncio.get_running_loop().time() + max(0.0, seconds - _MARGIN_SECONDS)


class MalformedRequests(grpc.aio.ServerInterceptor):
    """Answers bytes that are no message of the API with a status that says so, as for any other bad field."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Wrap the deserializer of a call."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith("/holdfast."):
            return handler
        parse = handler.request_deserializer

        def lenient(raw: bytes) -> Any:
            try:
                return parse(raw)
            except Exception:  # noqa: BLE001 - whatever the parser says, the bytes are no request
                return Malformed()

        return handler._replace(request_deserializer=lenient)


class Malformed:
    """Stands for a request that could not be parsed."""


def parsed(request: object) -> None:
    """Refuse a request that could not be parsed.

    Raises:
        InvalidRequestError: it could not.

    """
    if isinstance(request, Malformed):
        raise InvalidRequestError([("request", "is no message of this call, or holds text that is not UTF-8")])


def request_id_of(request: object) -> str:
    """The request id that a request names, if it can be told."""
    if not isinstance(request, Message):
        return ""
    named = getattr(request, "header", request)
    return str(getattr(named, "request_id", ""))


def trace_id_of(context: Context) -> str:
    """The caller's trace id by W3C trace context, or a fresh one."""
    for key, value in context.invocation_metadata() or ():
        if key == "traceparent" and isinstance(value, str):
            fields = value.split("-")
            if len(fields) >= 4 and len(fields[1]) == 32 and not set(fields[1]) - set("0123456789abcdef"):
                return fields[1]
    return secrets.token_hex(16)


async def _abort(context: Context, error: HoldfastError, request_id: str, trace_id: str) -> NoReturn:
    status = to_status(error, request_id, trace_id)
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    metadata = ((_DETAILS_KEY, status.SerializeToString()),)
    await context.abort(code, status.message, metadata)
    raise AssertionError("abort does not return")
