"""The preview of a part or record: what its first bytes are, decoded as far as the limits allow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast_server.console.preview import langgraph
from holdfast_server.console.preview.compressed import decompressed
from holdfast_server.console.preview.hexdump import HexRow, hex_rows
from holdfast_server.console.preview.json_text import NotJsonError, read_json
from holdfast_server.console.preview.msgpack import NotMsgpackError, read_msgpack
from holdfast_server.console.preview.sealed import sealed_in
from holdfast_server.console.preview.temporal import payload_in
from holdfast_server.console.preview.tree import LIST, MAP, MAX_NODES, OBJECT, TEXT, Limits, Node, Row, rows

# The most bytes of a part that a page reads.
READ_BYTES = 256 << 10
# The most bytes of a text, and of other bytes, that a page shows.
_TEXT_BYTES = 64 << 10
_HEX_BYTES = 4 << 10
_LANGGRAPH_FORMAT = "langgraph-checkpoint"
_TEMPORAL_FORMAT = "temporal-payload"
# The most characters of a payload's metadata that a page shows.
_METADATA_CHARACTERS = 1_000
# The most characters of a key's id that a page shows. A client's have fewer: longer ones are not of a client.
_KEY_CHARACTERS = 512
# The first bytes of a pickle of protocol 2 to 5, and its last one.
_PICKLE = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_PICKLE_END = b"."
# Characters of a text that are not letters: line ends, tabs, form feeds, escapes of terminals.
_CONTROLS_OF_TEXT = frozenset("\t\n\r\f\x1b")


@dataclass(frozen=True, slots=True)
class Preview:
    """What a page shows of a part.

    Attributes:
        title: what the bytes are, such as "JSON".
        size_bytes: the size of the part.
        read_bytes: how many of its first bytes were read.
        notes: what was left out, and what else a reader must know, as sentences.
        tree: the decoded value; None if it is not a tree.
        text: the text, if it is text.
        hex_rows: the bytes, if they are neither.

    """

    title: str
    size_bytes: int
    read_bytes: int
    notes: Sequence[str] = ()
    tree: Node | None = None
    text: str = ""
    hex_rows: Sequence[HexRow] = ()

    @property
    def tree_rows(self) -> Sequence[Row]:
        """The rows of the tree."""
        return () if self.tree is None else tuple(rows(self.tree))


def preview_of(
    data: bytes, size_bytes: int, *, format_name: str = "", part: str = "", max_nodes: int = MAX_NODES
) -> Preview:
    """Return the preview of a part or record.

    Takes up to a second of CPU: call it in a thread.

    Args:
        data: the part's first bytes, at most `READ_BYTES`.
        size_bytes: the size of the whole part.
        format_name: the name of the checkpoint's format.
        part: the part's name.
        max_nodes: the most values of a tree.

    """
    is_cut = len(data) < size_bytes
    found = _decoded(data, is_cut, format_name, part, max_nodes)
    notes = list(found.notes)
    if is_cut:
        notes.insert(0, f"Only the first {len(data):,} of {size_bytes:,} bytes were read.")
    return replace(found, size_bytes=size_bytes, read_bytes=len(data), notes=tuple(notes))


def _decoded(data: bytes, is_cut: bool, format_name: str, part: str, max_nodes: int) -> Preview:
    if not data:
        return Preview("empty", 0, 0)
    sealed = sealed_in(data)
    if sealed is not None:
        return _encrypted(data, sealed.key_id)
    found = None
    if format_name == _LANGGRAPH_FORMAT:
        found = _of_langgraph(data, is_cut, part, max_nodes)
    elif format_name == _TEMPORAL_FORMAT:
        found = _of_temporal(data, is_cut, max_nodes)
    return found or _compressed(data, is_cut, max_nodes) or _plain(data, is_cut, max_nodes)


def _plain(data: bytes, is_cut: bool, max_nodes: int) -> Preview:
    """Return the preview of bytes whose encoding only they themselves show."""
    found = _json(data, is_cut, max_nodes) or _text(data, is_cut) or _msgpack(data, is_cut, max_nodes)
    return found or _bytes(data, is_cut)


def _of_langgraph(data: bytes, is_cut: bool, part: str, max_nodes: int) -> Preview | None:
    """Return the preview of a part of LangGraph, whose type is in the part's name after the first dot."""
    kind = part.partition(".")[2]
    if kind == "msgpack":
        return _msgpack(data, is_cut, max_nodes, is_langgraph=True)
    if kind == "pickle":
        return _pickle(data)
    if kind in ("bytes", "bytearray"):
        return _bytes(data, is_cut)
    return None


def _of_temporal(data: bytes, is_cut: bool, max_nodes: int) -> Preview | None:
    payload = payload_in(data)
    if payload is None:
        return None
    metadata, content, is_content_cut = payload
    inner = _decoded(content, is_cut or is_content_cut, "", "", max_nodes)
    named = ", ".join(f"{name}: {value}" for name, value in metadata.items())
    if len(named) > _METADATA_CHARACTERS:
        named = f"{named[:_METADATA_CHARACTERS]}… ({len(named):,} characters)"
    return replace(inner, title=f"Temporal payload: {inner.title}", notes=(f"Metadata: {named}.", *inner.notes))


def _compressed(data: bytes, is_cut: bool, max_nodes: int) -> Preview | None:
    unpacked = decompressed(data, READ_BYTES)
    if unpacked is None or not unpacked.content:
        return None
    # It is not unpacked again: a file may contain itself.
    inner = _plain(unpacked.content, not unpacked.is_whole, max_nodes)
    notes = [] if unpacked.is_whole else [f"Only the first {len(unpacked.content):,} unpacked bytes are known."]
    if not unpacked.is_whole and not is_cut and len(unpacked.content) < READ_BYTES:
        notes = [f"The compressed data is incomplete: it ends after {len(unpacked.content):,} unpacked bytes."]
    if unpacked.has_more:
        notes.append("More bytes follow the compressed data, which are not shown.")
    return replace(inner, title=f"{inner.title}, compressed with {unpacked.name}", notes=(*notes, *inner.notes))


def _json(data: bytes, is_cut: bool, max_nodes: int) -> Preview | None:
    text = _decoded_text(data, is_cut)
    if text is None:
        return None
    limits = Limits(max_nodes)
    try:
        tree = read_json(text.removeprefix("\ufeff"), is_cut=is_cut, limits=limits)
    except NotJsonError:
        return None
    # A lone word that is cut off could be anything.
    if is_cut and tree.kind not in (MAP, LIST, OBJECT, TEXT):
        return None
    return _tree("JSON", tree, limits)


def _msgpack(data: bytes, is_cut: bool, max_nodes: int, *, is_langgraph: bool = False) -> Preview | None:
    limits = Limits(max_nodes)
    extensions = langgraph.extensions
    try:
        tree = read_msgpack(data, is_cut=is_cut, limits=limits, extensions=extensions if is_langgraph else None)
    except NotMsgpackError:
        return None
    # Nearly every byte is a number in msgpack, so that other bytes would pass for it.
    if not is_langgraph and (tree.kind not in (MAP, LIST, OBJECT) or (is_cut and not tree.children)):
        return None
    return _tree("msgpack of LangGraph" if is_langgraph else "msgpack", tree, limits)


def _tree(title: str, tree: Node, limits: Limits) -> Preview:
    return Preview(title, 0, 0, (f"Left out: {limits.cut}.",) if limits.cut else (), tree=tree)


def _text(data: bytes, is_cut: bool) -> Preview | None:
    text = text_of(data, is_cut=is_cut)
    if text is None:
        return None
    shown = data[:_TEXT_BYTES].decode("utf-8", "ignore")
    notes = (f"Only the first {_TEXT_BYTES:,} bytes are shown.",) if len(shown) < len(text) else ()
    return Preview("text", 0, 0, notes, text=shown)


def text_of(data: bytes, *, is_cut: bool) -> str | None:
    """Return the text that bytes hold in UTF-8; None if they are not text.

    Args:
        data: the bytes.
        is_cut: whether more follows, so that the last character may be incomplete.

    """
    text = _decoded_text(data, is_cut)
    if text is None or any(each < " " and each not in _CONTROLS_OF_TEXT for each in set(text)):
        return None
    return text


def _decoded_text(data: bytes, is_cut: bool) -> str | None:
    for end in range(len(data), max(len(data) - 4, 0) if is_cut else len(data) - 1, -1):
        try:
            return data[:end].decode()
        except UnicodeDecodeError:
            continue
    return None


def _bytes(data: bytes, is_cut: bool) -> Preview:
    if data.startswith(_PICKLE) and (is_cut or data.endswith(_PICKLE_END)):
        return _pickle(data)
    return Preview("bytes", 0, 0, _shown_bytes(data), hex_rows=hex_rows(data[:_HEX_BYTES]))


def _pickle(data: bytes) -> Preview:
    notes = ("It is or looks like a Python pickle. It is never opened here, since that could run any code.",)
    return Preview("pickle", 0, 0, (*notes, *_shown_bytes(data)), hex_rows=hex_rows(data[:_HEX_BYTES]))


def _encrypted(data: bytes, key_id: str) -> Preview:
    key = f" with the key {key_id[:_KEY_CHARACTERS]!r}" if key_id else ""
    notes = (
        f"A client has encrypted it{key}. Neither the server nor this console can read it: load it with a client that "
        "has the keyring.",
    )
    return Preview("encrypted", 0, 0, notes, hex_rows=hex_rows(data[:256]))


def _shown_bytes(data: bytes) -> Sequence[str]:
    return (f"Only the first {_HEX_BYTES:,} bytes are shown.",) if len(data) > _HEX_BYTES else ()
