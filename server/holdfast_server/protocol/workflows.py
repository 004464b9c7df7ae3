"""The workflows of a namespace, found by skipping from one to the next in key order."""

import base64
import binascii
from dataclasses import dataclass

from holdfast_server.protocol import entries
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.keys import behind_workflow, namespace_prefix
from holdfast_server.protocol.log import Entry, Log


@dataclass(frozen=True, slots=True)
class Page:
    """Heads of workflows, and the token of the next page, "" for none."""

    heads: tuple[Entry, ...]
    next_token: str


async def page(log: Log, namespace: str, token: str, size: int) -> Page:
    """A page of workflows that have a log. What a save that never committed left behind is none.

    Raises:
        HoldfastError: INVALID_REQUEST for a token that is none, LAYOUT_UNSUPPORTED.

    """
    prefix = namespace_prefix(namespace)
    position = prefix + _decode_token(token)
    heads: list[Entry] = []
    while len(heads) < size:
        listed = await log.store.list(prefix, start_after=position, limit=1)
        if not listed:
            return Page(tuple(heads), "")
        position = behind_workflow(listed[0].key, prefix)
        head = await log.head_below(position.removesuffix("~"))
        if head is not None and not entries.is_unborn(head):
            heads.append(head)
    return Page(tuple(heads), _encode_token(position.removeprefix(prefix)))


def _encode_token(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).decode()


def _decode_token(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise HoldfastError(
            Reason.INVALID_REQUEST, "page_token: is none that this server gave", field="page_token"
        ) from None
