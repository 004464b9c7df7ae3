"""Defects of deltas to plant in the real code, with the seeds that notice each."""

from holdfast_server.protocol.checkpoints import copy, dependents, load, purge, retention, save
from holdfast_server.protocol.checkpoints.retention import Ledger
from holdfast_server.protocol.payload import policy
from holdfast_server.protocol.payload.bases import Bases
from holdfast_server.protocol.payload.encoding import PartEncoder, Payload

from tests.verification.simulation.directed import purged_below_others, rests_on_what_was_deleted
from tests.verification.simulation.mutants import Mutant
from tests.verification.simulation.plans import resting

RESTING = [
    Mutant(
        "bases of an older head kept",
        Payload.stored,
        "depends_on != self._depends_on",
        "self._depends_on is None",
        first=186,
        plan=resting,
    ),
    Mutant("base floor ignored", save._predecessor, "head.marker.base_floor)", "0)", plan=purged_below_others),
    Mutant(
        "deleted checkpoint as a base",
        save._predecessor,
        "revision = head.marker.last_data_revision",
        "revision = head.marker.last_save_revision",
        plan=rests_on_what_was_deleted,
    ),
    Mutant("bases not named", retention.blobs_of, "if base.blob:", "if False:", first=1, plan=resting),
    Mutant(
        "floor above a base",
        Ledger.enter,
        "min((base.revision for base in bases), default=entry.revision)",
        "entry.revision",
        first=1,
        plan=resting,
    ),
    Mutant(
        "one base too many",
        policy.chain_of,
        "len(bases) < MAX_BASES",
        "len(bases) <= MAX_BASES",
        first=1,
        plan=resting,
    ),
    Mutant(
        "dictionary of another revision",
        PartEncoder.choose,
        "chain[:depth])",
        "chain[: max(1, depth - 1)])",
        plan=resting,
    ),
    Mutant(
        "digest not checked after rebuilding",
        Bases._rebuild,
        "await _sha256(data) != part.sha256",
        "False",
        first=15,
        plan=resting,
    ),
    Mutant(
        "dependents not rewritten",
        purge._finish,
        "await dependents.rewrite(log, keys, deletion)",
        "[]",
        plan=purged_below_others,
    ),
    Mutant(
        "dependents rewritten oldest first",
        dependents.rewrite,
        "in reversed(await _dependents(log, keys, deletion, goes))",
        "in await _dependents(log, keys, deletion, goes)",
        first=1,
        plan=purged_below_others,
    ),
    Mutant(
        "dependents rewritten before the commit",
        purge.purge,
        "        return marker",
        "        from holdfast_server.protocol.log.entry import entry_of\n"
        "        await dependents.rewrite(log, keys, entry_of(marker, b''))\n"
        "        return marker",
        first=1,
        plan=purged_below_others,
    ),
    Mutant(
        "later saves rest on what is purged",
        purge.purge,
        "        marker.base_floor = marker.revision\n",
        "",
        first=3,
        plan=purged_below_others,
    ),
    Mutant(
        "marker not read again",
        load.as_of_now,
        "await is_rewritten(log, keys, entry)",
        "False",
        first=161,
        plan=purged_below_others,
    ),
    Mutant(
        "base in another workflow",
        copy._Copy._copied,
        "        if part.blob and",
        "        if is_encoded(part) and not part.blob:\n            return part\n        if part.blob and",
        first=39,
        plan=resting,
    ),
]
