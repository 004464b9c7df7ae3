"""Import from a saver and export to a saver that a URL or a module names, for the command line."""

from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from holdfast._async.client import AsyncClient
from holdfast.adapters.langgraph.lookups import AsyncLookups
from holdfast.adapters.langgraph.moving.calls import moved, side_of
from holdfast.adapters.langgraph.moving.holdfast import HoldfastSide
from holdfast.adapters.langgraph.moving.opening import named, opened_source, opened_target
from holdfast.adapters.langgraph.moving.savers import SaverSide
from holdfast.adapters.langgraph.runs import RecentRuns
from holdfast.moving import Report, SourceError


async def import_from(
    client: AsyncClient, namespace: str, source: str, serde_name: str | None, **options: Any
) -> Report:
    """Import threads from a saver.

    Args:
        client: an open client.
        namespace: the namespace to write to.
        source: the saver: a URL of a database, or a module and an attribute.
        serde_name: the serializer of both savers, as module and attribute; None for LangGraph's own.
        **options: as for `moved`.

    Raises:
        SourceError: the saver or the serializer cannot be opened.
        HoldfastError: a call failed for another reason than a thread's.

    """
    serde = _serde(serde_name)
    async with opened_source(source, serde) as saver:
        return await moved(SaverSide(saver), _side(client, namespace, serde), **options)


async def export_to(
    client: AsyncClient, namespace: str, target: str, serde_name: str | None, *, is_dry_run: bool, **options: Any
) -> Report:
    """Export threads to a saver.

    Args:
        client: an open client.
        namespace: the namespace to read.
        target: the saver: a URL of a database, or a module and an attribute.
        serde_name: the serializer of both savers, as module and attribute; None for LangGraph's own.
        is_dry_run: whether to write nothing.
        **options: as for `moved`.

    Raises:
        SourceError: the saver or the serializer cannot be opened.
        HoldfastError: a call failed for another reason than a thread's.

    """
    serde = _serde(serde_name)
    async with opened_target(target, serde, is_dry_run=is_dry_run) as saver:
        side = _side(client, namespace, serde)
        return await moved(side, SaverSide(saver), is_dry_run=is_dry_run, **options)


def _side(client: AsyncClient, namespace: str, serde: Any) -> HoldfastSide:
    return side_of(
        AsyncLookups(client, namespace, JsonPlusSerializer() if serde is None else serde, RecentRuns(), False, False)
    )


def _serde(name: str | None) -> Any:
    if name is None:
        return None
    found = named(name)
    if isinstance(found, type) or (callable(found) and not hasattr(found, "dumps_typed")):
        found = found()
    if not (hasattr(found, "dumps_typed") and hasattr(found, "loads_typed")):
        raise SourceError(f"{name!r:.200} is {type(found).__name__}: expected a serializer of LangGraph")
    return found
