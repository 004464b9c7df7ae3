"""The service of a folder for callers in the same process, without sockets: the server's half of an embedded client.

The settings are those of a server: `HOLDFAST_*` and the file that `HOLDFAST_CONFIG` names. Those of the port, of its
connections, of the credentials of callers, of workers, of the drain and of the log have no effect here. Nothing of the
process is configured: neither logging, nor signals, nor OpenTelemetry.
"""

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfast_server import config_sources
from holdfast_server.api.errors import CallFailedError, InvalidRequestError, code_of, to_status
from holdfast_server.api.failures import to_holdfast_error
from holdfast_server.api.service import CheckpointService
from holdfast_server.config import ConfigError
from holdfast_server.location import parse_folder
from holdfast_server.open_service import open_service
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.stores.base import ObjectStore, StoreError, described
from holdfast_server.stores.file import Access, FileStore
from holdfast_server.stores.traced import TracedStore
from holdfast_server.telemetry import collects_spans
from holdfast_server.trust.authentication import Everybody
from holdfast_server.trust.principal import EMBEDDED

# A program that configures no logging gets the errors of its calls, and no lines on stderr.
logging.getLogger("holdfast.server").addHandler(logging.NullHandler())


class FolderFailedError(CallFailedError):
    """The folder could not be opened. A retry is of no use."""


@dataclass(frozen=True, slots=True)
class EmbeddedService:
    """A service in this process.

    Attributes:
        service: the service. An `api.call_context.StreamContext` of the caller's own goes with each call.
        calls_per_client: how many calls of one client may run at once, as on one connection to a server.
        suspended: closes the store's connections while a block runs, so that the process can fork.

    """

    service: CheckpointService
    calls_per_client: int
    suspended: Callable[[], AbstractContextManager[None]]


@asynccontextmanager
async def open_folder(url: str) -> AsyncIterator[EmbeddedService]:
    """Open the service of a folder. The caller ends all calls before it leaves the block.

    Args:
        url: the folder, as `location.parse_folder` accepts it.

    Raises:
        FolderFailedError: a setting is invalid, or the folder cannot be used.

    """
    is_open = False
    try:
        config = config_sources.load({"store": url}, os.environ, Path.cwd())
        async with (
            FileStore.open(parse_folder(config.store).path, access=Access(config.folder_group_number)) as folder,
            open_service(config, _traced(folder), on_ready=_ignore, authentication=Everybody(EMBEDDED)) as (service, _),
        ):
            is_open = True
            yield EmbeddedService(service, max(1, config.calls_in_flight // 2), folder.suspended)
    except Exception as error:
        if is_open:
            raise
        raise _as_status(error, url) from error


def _traced(store: FileStore) -> ObjectStore:
    """Return a store with spans, if the program has configured OpenTelemetry."""
    return TracedStore(store) if collects_spans() else store


async def _ignore(is_ready: bool) -> None:
    """Ignore whether the store works: calls report that themselves."""


def _as_status(error: Exception, url: str) -> FolderFailedError:
    """Return why the service could not be opened as the status of the call that opened it."""
    failure: HoldfastError
    if isinstance(error, ConfigError):
        setting, _, problem = str(error).partition(": ")
        failure = InvalidRequestError(setting, problem)
    else:
        failure = to_holdfast_error(error, trace_id="", is_draining=False)
    status = to_status(failure, request_id="", trace_id="")
    if isinstance(error, StoreError):
        # The caller is the operator as well.
        status.message = f"{url}: {error} ({described(error)})"
    return FolderFailedError(code_of(failure.reason), status)
