"""Defects of MACs to plant in the real code."""

from holdfast_server.protocol.format import macs
from holdfast_server.protocol.format.keyed_store import KeyedStore
from holdfast_server.protocol.format.keys import has_mac
from holdfast_server.protocol.format.macs import Macs
from holdfast_server.protocol.log import next_marker
from holdfast_server.protocol.maintenance.fsck import _Check

from tests.support.planted import Mutant

MUTANTS = [
    Mutant("MAC not compared", Macs.opened, "if not hmac.compare_digest(mac, self.mac(path, frame, key_id)):", "if 0:"),
    Mutant("MAC without the key path", Macs.mac, "_LENGTH.pack(len(place)) + place + content", "content"),
    Mutant(
        "object without a MAC accepted",
        Macs.opened,
        "if (magic, version, flags) != (MAGIC, KEYED_VERSION, 0):\n            raise flawed(path, Flaw.MISSING)",
        "if (magic, version, flags) != (MAGIC, KEYED_VERSION, 0):\n            return data, ''",
    ),
    Mutant("one key for all namespaces", macs._namespace_of, 'steps[1] if len(steps) == 3 else ""', "'n'"),
    Mutant("store not in the key", Macs._derive, "self._salt", "b''"),
    Mutant(
        "marker without the digest before it", next_marker.successor, "marker.previous_digest = head.digest", "pass"
    ),
    Mutant("claims without MACs", has_mac, "_BLOBS", "('blob/', 'id/')"),
    Mutant("records without MACs", has_mac, "_BLOBS", "('blob/', 'rec/')"),
    Mutant("claims not checked", _Check._check_small, "await claims.check_claim(self._log, key)", "pass"),
    Mutant(
        "MAC of the requested part only",
        KeyedStore.get,
        "self._macs.opened(key, data)\n        self",
        "(data[44:], '')\n        self",
    ),
]
