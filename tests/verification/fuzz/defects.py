"""Defects to plant in the real code. The kept inputs of the target must notice each.

Most are defects that fuzzing found and that were fixed. The others omit checks that a parser needs.
"""

from dataclasses import dataclass

from holdfast._async import download
from holdfast._core import messages, payload, received, statuses
from holdfast_server import config, config_sources
from holdfast_server.api import errors as api_errors
from holdfast_server.api import malformed, requests
from holdfast_server.api.pipeline import received as pipelined
from holdfast_server.api.streaming.incoming import Incoming
from holdfast_server.api.streaming.uploads import Uploads
from holdfast_server.protocol.checkpoints import dependents, load, records, workflows
from holdfast_server.protocol.format import (
    frame,
    id_index,
    invariants,
    keyed_manifest,
    keyed_store,
    keys,
    macs,
    manifest,
    marker,
    short_forms,
)
from holdfast_server.protocol.log import fresh_ids
from holdfast_server.protocol.maintenance import fsck, gc
from holdfast_server.protocol.payload import bases, encoding
from holdfast_server.protocol.payload import frames as deltas

from tests.support.planted import Mutant


@dataclass(frozen=True)
class Defect(Mutant):
    """A mutant, and the target whose inputs must notice it."""

    target: str = ""

    @property
    def name(self) -> str:
        """The name of the input that was kept for it."""
        return self.rule.replace(" ", "-")


def _defect(target: str, what: str, function, old: str, new: str) -> Defect:
    return Defect(what, function, old, new, target=target)


DEFECTS = [
    _defect("marker", "length not checked", frame._flaw, "len(stored) != header.length", "False"),
    _defect(
        "marker",
        "checksum not checked",
        frame._flaw,
        "header.checksum == _checksum(header.version, header.flags, stored, key)",
        "True",
    ),
    _defect("marker", "reserved bytes passed over", frame._flaw, "header.version == 1 and header.flags", "False"),
    _defect("marker", "body treated as readable", marker._decode, "except DecodeError", "except KeyError"),
    _defect("marker", "nonsense accepted", marker.decode, "if invalid", "if False"),
    _defect(
        "marker", "path of a blob not checked", invariants._is_part, "blob_base(part.blob) is not None", "part.blob"
    ),
    _defect("marker", "ranges out of order", invariants._fields, "_are_ranges(marker.deleted, revision)", "True"),
    _defect(
        "marker",
        "sum of sizes not checked",
        invariants._fields,
        "sum(part.size_bytes for part in parts) <= _MAX_SIZE",
        "True",
    ),
    _defect(
        "marker",
        "claim without a valid base accepted",
        marker.decode_claim,
        "not 0 <= claim.base_revision",
        "False and 0",
    ),
    _defect(
        "frames",
        "frame of another key accepted",
        frame._flaw,
        "header.checksum == _checksum(header.version, header.flags, stored, key)",
        "True",
    ),
    _defect("frames", "body of any size decompressed", frame._decompressed, "size is None or size > most", "False"),
    _defect("frames", "zstd treated as readable", frame._decompressed, "except ZstdError", "except KeyError"),
    _defect("frames", "short id of any length", short_forms.lengthen, "len(text) != 2 * _ID_BYTES", "False"),
    _defect(
        "frames",
        "digests of any length",
        invariants._fields,
        "len(marker.recent_digests) % RECENT_BYTES == 0",
        "True",
    ),
    _defect(
        "deltas",
        "bomb unpacked",
        deltas._decode,
        "decompressor.decompress(frame, size_bytes + 1)",
        "decompressor.decompress(frame)",
    ),
    _defect(
        "deltas",
        "window of any size",
        deltas._decode,
        "options={DecompressionParameter.window_log_max: _window_log(size_bytes, base)},",
        "",
    ),
    _defect("deltas", "more than one frame accepted", deltas._decode, " or decompressor.unused_data", ""),
    _defect("deltas", "digest not checked", bases.Bases._rebuild, "await _sha256(data) != part.sha256", "False"),
    _defect(
        "deltas",
        "digest of a base not checked",
        bases.Bases._content,
        "(await _sha256(content))[:BASE_DIGEST_BYTES] != base.digest",
        "False",
    ),
    _defect(
        "deltas",
        "length of a base not checked",
        bases.Bases._frame_of_base,
        "len(data) != base.stored_bytes",
        "False",
    ),
    _defect("deltas", "bases in a circle", invariants._is_encoded, "return is_ascending and", "return"),
    _defect("deltas", "chain one too long", invariants._is_encoded, "len(bases) <= MAX_BASES and", ""),
    _defect("deltas", "base of another workflow", invariants._is_base, "blob_base(base.blob) is not None", "base.blob"),
    _defect(
        "deltas",
        "base of any size",
        invariants._is_base,
        "MIN_BASE_BYTES <= base.size_bytes <= MAX_ENCODED_BYTES",
        "base.size_bytes",
    ),
    _defect(
        "deltas",
        "delta of any size",
        invariants._is_encoded,
        "not 0 < part.size_bytes <= MAX_ENCODED_BYTES or ",
        "",
    ),
    _defect("deltas", "debt of any size", invariants._is_base, "0 <= each <= _MAX_COUNT", "0 <= each"),
    _defect(
        "deltas",
        "damaged base ends a save",
        encoding.PartEncoder.choose,
        "error.reason not in (Reason.CHECKPOINT_CORRUPTED, Reason.LAYOUT_UNSUPPORTED)",
        "error",
    ),
    _defect(
        "deltas",
        "chain of one checkpoint held against others",
        load._statement,
        "(base.revision, base.size_bytes, base.digest, base.stored_bytes, base.encoding, base.blob)",
        "base.revision",
    ),
    _defect("deltas", "dependents lost by a purge", dependents._part_rests_on, "any(", "False and any("),
    _defect(
        "keys", "any nine digits are a revision", keys.revision_of, "_MARKER.fullmatch(relative)", "len(relative) == 11"
    ),
    _defect("keys", "name with two encodings accepted", keys.workflow_of, "and keys.prefix == prefix", ""),
    _defect("keys", "claim with a tail", keys.WorkflowKeys.generation, "_CLAIM.fullmatch", "_CLAIM.match"),
    _defect("keys", "blob with a tail", keys.blob_base, "_BLOB.fullmatch", "_BLOB.match"),
    _defect("tokens", "any position accepted", workflows._decode_token, "not is_workflow_step(step)", "False"),
    _defect("tokens", "truncated text accepted", workflows._decode_token, "binascii.Error, UnicodeError", "KeyError"),
    _defect("tokens", "digits of any script", requests.revision_token, "token.isascii() and ", ""),
    _defect("manifest", "bytes treated as text", manifest._parsed, "UnicodeDecodeError, ", ""),
    _defect("manifest", "grace not checked", manifest._understood, "not 0 <= grace <= MAX_GRACE_SECONDS", "False"),
    _defect("calls", "time of a filter not checked", requests.times, "not is_time(each)", "False"),
    _defect("calls", "id of any length in an error", api_errors._cut, "[:limit_bytes]", ""),
    _defect("calls", "bytes treated as text", malformed._is_utf8, "except UnicodeDecodeError", "except KeyError"),
    _defect("pipeline", "call without an id answered", pipelined._require_id, "1 <= call_id", "0 <= call_id"),
    _defect("pipeline", "malformed call ends the pipeline", pipelined.parse, "except DecodeError", "except KeyError"),
    _defect("pipeline", "truncated message accepted", pipelined.take_apart, "except WireError", "except KeyError"),
    _defect(
        "incoming",
        "part begun by a chunk that is refused",
        Incoming._take,
        "        data = self._check_chunk(message.chunk, continues=continues)\n        if not continues:\n"
        "            await self._complete(self._close_part())\n            self._open_part(name)\n",
        "        if not continues:\n"
        "            await self._complete(self._close_part())\n            self._open_part(name)\n"
        "        data = self._check_chunk(message.chunk, continues=True)\n",
    ),
    _defect("incoming", "upload lost with its retry", Uploads.take, "self.park(request, incoming)", "pass"),
    _defect(
        "config",
        "port of any script",
        config._check_address,
        're.fullmatch("[0-9]{1,5}", port)',
        "port.isdigit()",
    ),
    _defect("config", "infinite number accepted", config_sources._typed, "OverflowError, ", ""),
    _defect("config", "unlimited rule accepted", config._check_retention, "not 1 <= value <= _MAX_KEPT", "value < 1"),
    _defect(
        "config",
        "file treated as text",
        config_sources._from_file,
        "ValueError, RecursionError",
        "tomllib.TOMLDecodeError",
    ),
    _defect(
        "download",
        "more than the header announces",
        received.ReceivedPart.announce,
        "offset + size_bytes > self.info.size_bytes",
        "False",
    ),
    _defect("download", "end treated as finish", download.Download.receive, "if not is_finished", "if False"),
    _defect("download", "incomplete payload accepted", download.Download.receive, "or not self.is_whole", ""),
    _defect("failures", "details treated as readable", statuses._unpack, "except DecodeError", "except KeyError"),
    _defect("failures", "delay into the past", statuses._retry_after, "max(0.0, seconds)", "seconds"),
    _defect(
        "failures",
        "pushback of any script",
        statuses._retry_after,
        "_MILLISECONDS.fullmatch(pushback)",
        "pushback.isdigit()",
    ),
    _defect("answers", "any time accepted", messages.moment, "ValueError, OverflowError", "KeyError"),
    _defect("position", "any position accepted", payload._position, "found is None", "False"),
    _defect("position", "gap left open", payload.Outgoing.messages, "max(0, next_byte - offset)", "len(data)"),
    _defect(
        "records",
        "batch of another key accepted",
        records._read_batch,
        "not stamp <= MAX_STAMP or not is_in_place",
        "False",
    ),
    _defect(
        "ids",
        "index of other revisions accepted",
        marker.decode_index,
        "rest or body.first_revision < first or body.first_revision + count - 1 != last",
        "False",
    ),
    _defect(
        "ids",
        "index of another key accepted",
        frame._flaw,
        "header.checksum == _checksum(header.version, header.flags, stored, key)",
        "True",
    ),
    _defect("ids", "foreign id accepted", fresh_ids.find, "found.is_save_of(checkpoint_id)", "True"),
    _defect("ids", "unknown id passed over", id_index.places, "if digest != UNKNOWN else ()", "if False else ()"),
    _defect(
        "ids",
        "damaged index taken for an empty one",
        fresh_ids._candidates,
        "[each async for each in scan(log, keys, *revisions)]",
        "[]",
    ),
    _defect(
        "ids",
        "damaged index not named",
        fsck._Check._check_index,
        "self._found(key, error.message)",
        "pass",
    ),
    _defect("bucket", "foreign claim removed", gc._Collection._doomed, "if self._keys.is_claim(each.key)", "if True"),
    _defect("bucket", "foreign blob counted as an orphan", gc._Collection._orphans, "base is not None and ", ""),
    _defect("bucket", "links in circles", invariants._fields, "0 <= marker.previous_data_revision < revision", "True"),
    _defect("bucket", "stops at a foreign object", workflows.prefixes, "elif prefix != last", "else"),
    _defect("bucket", "foreign object not named", fsck._Check._name_foreign, "self._found(each.key, _FOREIGN)", "pass"),
    _defect(
        "bucket",
        "damaged head ends a listing",
        workflows._newest_readable,
        "not in (Reason.CHECKPOINT_CORRUPTED, Reason.LAYOUT_UNSUPPORTED)",
        "is not None",
    ),
    _defect("macs", "MAC not compared", macs.Macs.opened, "not hmac.compare_digest(mac, ", "not bool("),
    _defect("macs", "place not covered", macs.Macs.mac, "_LENGTH.pack(len(place)) + place + content", "content"),
    _defect("macs", "one key for all namespaces", macs.Macs.mac, "_namespace_of(path)", '""'),
    _defect("macs", "one key for all stores", macs.Macs._derive, "self._salt", 'b""'),
    _defect("macs", "any key known", macs.Macs.opened, "key_id not in self._secrets", "False"),
    _defect(
        "macs", "header passed over", macs.Macs.opened, "(magic, version, flags) != (MAGIC, KEYED_VERSION, 0)", "0"
    ),
    _defect("macs", "length of a header not checked", macs.Macs.opened, "len(data) < OVERHEAD_BYTES", "False"),
    _defect("macs", "range of the whole object", keyed_store.KeyedStore.get, "frame[offset :", "data[offset :"),
    _defect("macs", "MAC removed without a check", keyed_store.KeyedStore.get, "not has_mac(key)", "True"),
    _defect(
        "macs",
        "MAC of the manifest not compared",
        keyed_manifest.macs_of,
        "not hmac.compare_digest(right, found.mac)",
        "False",
    ),
    _defect("macs", "manifest of any key", keyed_manifest.macs_of, "not macs.knows(found.mac_key_id)", "False"),
]
