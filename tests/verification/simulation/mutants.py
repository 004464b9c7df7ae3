"""Defects of the protocol to plant in the real code, with the seeds that notice each."""

from collections.abc import Callable
from dataclasses import dataclass

from holdfast._core import seen_heads
from holdfast_server.protocol.checkpoints import (
    copy,
    delete,
    fence,
    heads,
    live,
    load,
    lookup,
    prune,
    purge,
    records,
    save,
    window,
)
from holdfast_server.protocol.checkpoints.retention import Ledger
from holdfast_server.protocol.format.macs import Macs
from holdfast_server.protocol.log import (
    append_once,
    claims,
    compare_and_set,
    fresh_ids,
    leases,
    log,
    next_marker,
    put_if_absent,
    recent,
    replays,
)
from holdfast_server.protocol.log.claims import ChosenId
from holdfast_server.protocol.maintenance import gc, repair
from holdfast_server.stores.memory import Objects

from tests.support import planted
from tests.verification.simulation.directed import (
    claimed_after_a_new_one,
    contested,
    damaged_index,
    deleted_during_a_pause,
    indexed_after_damage,
    overtaken,
    promised_twice,
    purged_before_its_retry,
    purged_during_a_load,
    repaired_during_a_load,
)
from tests.verification.simulation.plans import (
    Plan,
    colliding,
    comparing,
    copying,
    freshening,
    planned,
    purging,
    recording,
    replacing,
    tampering,
)

_GIVE_UP = 'raise HoldfastError(Reason.REVISION_CONFLICT, "gave up")'


@dataclass(frozen=True)
class Mutant(planted.Mutant):
    """A broken rule, and the seeds that notice it.

    Attributes:
        first: the seed where the search begins, which has noticed it; every fourth seed is of its kind.
        plan: makes the plan of a seed.

    """

    first: int = 0
    plan: Callable[[int], Plan] = planned

    @property
    def seeds(self) -> range:
        """The seeds of which one must notice it."""
        return range(self.first, self.first + 4000, 4)


MUTANTS = [
    Mutant(
        "own 412 treated as a loss",
        put_if_absent.put_if_absent,
        "                    may_land = True\n                except StoreUnavailableError as error:",
        f"                    {_GIVE_UP}\n                except StoreUnavailableError as error:",
    ),
    Mutant(
        "unknown outcome treated as a failure",
        put_if_absent.put_if_absent,
        "isinstance(error, NothingWrittenError) and not may_land:\n                        raise",
        f"True:\n                        {_GIVE_UP}",
        first=4,
    ),
    Mutant(
        "cleans up after an unknown outcome",
        save.save,
        "    saved = await append_once.append(log, spec.request, build, deadline)",
        "    try:\n"
        "        saved = await append_once.append(log, spec.request, build, deadline)\n"
        "    except HoldfastError:\n"
        "        for part in payload._stored:\n"
        "            await log.store.delete(spec.request.keys.blob(part.blob))\n"
        "        raise",
        first=15,
    ),
    Mutant("revision skipped", next_marker.successor, "before.revision + 1", "before.revision + 2"),
    Mutant("floor ignored", log.Log._require_counted, "head.marker.floor < revision", "0 < revision", first=1070),
    Mutant("low-water mark ignored", save._copy_old_blobs, "< head.marker.low_water_mark", "< 0", first=3058),
    Mutant(
        "reads references before its marker",
        gc._Collection.run,
        "        if plan.is_worth_a_marker(head) and not dry_run:",
        "        before = [each async for each in self._doomed(plan.low_water_mark, plan.claim_generation)]\n"
        "        if plan.is_worth_a_marker(head) and not dry_run:\n"
        "            await self._append(plan)\n"
        "        await self._delete([each.key for _, each in before])\n"
        "        return Collected()\n"
        "        if plan.is_worth_a_marker(head) and not dry_run:",
        first=94,
    ),
    Mutant("epoch not compared", append_once.refuse_epoch, "request.epoch < newest", "False", first=33),
    Mutant("epoch never given accepted", append_once.refuse_epoch, "request.epoch > newest", "False", plan=comparing),
    Mutant(
        "fence does not compare",
        fence.acquire_writer,
        "compare_and_set.require(head, expected_revision, None)",
        "pass",
        plan=comparing,
    ),
    Mutant("fence keeps the lease before it", leases.grant, "    clear(marker)\n", "", first=1312, plan=comparing),
    Mutant("acknowledges without recency", log.Log.append, "not self._is_recent(read_at)", "False", first=1070),
    Mutant(
        "newest marker removed on delete",
        gc._Collection._doomed,
        "self._settled.marker.floor + 1)",
        "self._settled.marker.floor + 2)",
        first=1,
    ),
    Mutant("no replay", append_once.refuse_or_replay, "earlier is not None", "False", first=1),
    Mutant(
        "lost revision treated as the head",
        log.Log.append,
        "self._decode(keys, revision, found), read_at)",
        "self._decode(keys, revision, found), now())",
        first=3690,
    ),
    Mutant(
        "appends again where it was collected",
        log.Log.append,
        "                    await self._require_counted(keys, revision)",
        "                    try:\n"
        "                        await self._require_counted(keys, revision)\n"
        "                    except HoldfastError:\n"
        "                        head, read_at = await self._known(keys)\n"
        "                        continue",
        first=1282,
    ),
    Mutant("late retry accepted", replays.find_request, "head.marker.floor and", "False and", first=1282),
    Mutant("no compare-and-set", compare_and_set.require, "expected in (None, revision)", "True"),
    Mutant(
        "compare-and-set with the head",
        compare_and_set.require,
        "not 0 < expected < revision",
        "True",
        first=164,
        plan=comparing,
    ),
    Mutant(
        "collection forgets the newest save",
        gc._Collection._append,
        "            marker.floor = plan.floor\n",
        "            marker.floor = plan.floor\n"
        "            marker.last_save_revision = marker.last_other_save_revision = 0\n",
        first=96,
        plan=comparing,
    ),
    Mutant(
        "deletion of the workflow does not conflict",
        delete.delete_workflow,
        "compare_and_set.enter_save(marker)",
        "pass",
        plan=comparing,
    ),
    Mutant(
        "saves of the same epoch do not conflict",
        compare_and_set.require,
        "    if marker.last_save_revision > expected:",
        "    if not (epoch and epoch == marker.last_save_epoch) and marker.last_save_revision > expected:",
        first=108,
        plan=comparing,
    ),
    Mutant(
        "fences do not conflict",
        compare_and_set.require,
        "if newest_foreign > expected",
        "if False",
        first=164,
        plan=comparing,
    ),
    Mutant(
        "fence before one's own ignored",
        compare_and_set.require,
        "marker.previous_fence_revision if",
        "0 if",
        first=168,
        plan=comparing,
    ),
    Mutant("put overwrites", Objects.create, "key in self.by_key", "False", first=2),
    Mutant("no grace", gc._Collection.__init__, "now - log.grace_seconds", "now", first=30),
    Mutant(
        "floor of now",
        gc._Collection._doomed,
        "self._settled.marker.floor + 1",
        "(await self._log.head(self._keys)).marker.floor + 1",
        plan=deleted_during_a_pause,
    ),
    Mutant("stale cache believed", log.Log._cached, "not self._is_recent(head.read_at)", "False", first=778),
    Mutant(
        "damage believed",
        load.as_of_now,
        "await next_marker.is_gone_by_now(log, keys, entry.revision)",
        "False",
        first=214,
    ),
    # Rules that the model does not have.
    Mutant("refuses by an old head", log.Log._built, "read_at >= came_in", "True", first=53),
    Mutant(
        "a head compared with what was seen since the call began",
        seen_heads.Watch._require,
        "_problem(head, before)",
        "_problem(head, self._seen.get(*workflow))",
        first=1,
    ),
    Mutant("recent ids not searched", ChosenId._find_recent, "entry.is_save_of(self._checkpoint_id)", "False", first=4),
    Mutant(
        "digest of a request believed",
        replays._find_recent,
        "entry is not None and entry.marker.request_id == request_id",
        "entry is not None",
        plan=colliding,
    ),
    Mutant(
        "digest of a request hides another one",
        replays._find_recent,
        "            return entry\n",
        "            return entry\n        break\n",
        first=99,
        plan=colliding,
    ),
    Mutant(
        "digest of an id believed by a save",
        ChosenId._find_recent,
        "entry is not None and entry.is_save_of(self._checkpoint_id)",
        "entry is not None",
        first=3,
        plan=colliding,
    ),
    Mutant(
        "digest of an id believed by a load",
        lookup._search_id,
        "entry is not None and entry.is_save_of(checkpoint_id)",
        "entry is not None",
        first=1,
        plan=colliding,
    ),
    Mutant(
        "log goes back to an older version",
        recent.version_after,
        "max(version, version_of(head))",
        "version",
        plan=colliding,
    ),
    Mutant(
        "claim's base ignored",
        ChosenId.claim,
        "self._base = await",
        "self._base = head.revision if head else 0\n        await",
        first=75,
    ),
    Mutant(
        "retry's search ends at the floor",
        replays.find_request,
        "scan(log, keys, first,",
        "scan(log, keys, max(first, head.marker.floor + 1),",
        first=7128,
    ),
    Mutant(
        "clocks of servers compared",
        replays._last_before,
        "newest_seconds - (now() - moment)",
        "__import__('holdfast_server.protocol.log.next_marker').protocol.log.next_marker.time.time()"
        " - (now() - moment)",
        first=2348,
    ),
    Mutant(
        "deletion of the newest leaves it the newest",
        delete.delete_checkpoint,
        "target.revision == head.marker.last_data_revision",
        "False",
        first=2852,
    ),
    Mutant(
        "collected revision treated as lost",
        log.Log.append,
        "                if not self._is_recent(read_at):\n",
        "                if found is None and not self._is_recent(read_at):\n",
        plan=contested,
    ),
    Mutant("retry treated as a first attempt", replays.find_request, "first_attempt_at is None", "True", first=784),
    Mutant("retry passes over damage", replays.find_request, "is_damaged = True", "pass", first=21367),
    Mutant(
        "claim's generation ignored",
        ChosenId.find_replaced,
        "self._generation != (0 if head is None else head.marker.claim_generation)",
        "self._generation is None",
        first=160,
    ),
    Mutant("claims not taken over", claims.take_over, "iter(revisions)", "iter(())", first=117),
    Mutant(
        "id not searched after the claim's base",
        claims.search,
        "walk_back(log, keys, head, base, start=start)",
        "walk_back(log, keys, head, head.revision)",
    ),
    Mutant("search for an id passes over damage", claims.search, "damage = entry", "pass", first=131),
    Mutant(
        "fallback starts at a slow store",
        load._find_whole,
        "except HoldfastError as error:\n            if",
        "except Exception as error:\n            if isinstance(error, HoldfastError) and",
        first=1719,
    ),
    Mutant("fallback skips a good one", live.live_below, "else below - 1", "else below - 2", first=99),
    Mutant(
        "fallback begins at the head", load.candidates, 'int(error.metadata["revision"])', "head.revision", first=351
    ),
    Mutant(
        "damaged head hides an id", load.candidates, "lost=[each.revision for each in skipped]", "lost=()", first=731
    ),
    Mutant(
        "newest marker not read again",
        heads.head_or_skip,
        "        try:\n            entry =",
        "        if not skipped:\n"
        "            skipped.append(Skipped(revision, '', HoldfastError(Reason.CHECKPOINT_CORRUPTED, '')))\n"
        "            continue\n"
        "        try:\n            entry =",
        plan=repaired_during_a_load,
        first=1,
    ),
    Mutant(
        "overtaken walk goes on",
        live.live_below,
        "error.reason is not Reason.CHECKPOINT_CORRUPTED",
        "error.reason is Reason.LAYOUT_UNSUPPORTED",
        plan=overtaken,
        first=68,
    ),
    # Rules about damage and repairs, of which the model has fewer.
    Mutant(
        "damage after a cached head ignored",
        log.Log.head,
        "await self._reader.is_absent(keys, cached.entry.revision + 1)",
        "await self._reader.read(keys, cached.entry.revision + 1) is None",
        first=679,
    ),
    Mutant(
        "repair decides by an old head",
        repair._repaired,
        "if is_lost(head.marker.last_data_revision):",
        "if True:",
        first=1459,
    ),
    Mutant(
        "repair after a lost fence keeps the epoch",
        repair.fence_off,
        "newest - head.revision + 1",
        "0",
        first=4331,
    ),
    Mutant(
        "repair gives the epoch of a lost fence",
        repair.fence_off,
        "newest - head.revision + 1",
        "newest - head.revision",
        first=91,
    ),
    Mutant("damaged claim treated as missing", claims._base_of_damaged, "return 0", "raise error", first=47),
    Mutant(
        "refused access treated as a failure",
        put_if_absent.put_if_absent,
        "denied = error\n",
        "denied = error\n                    raise\n",
        first=16,
    ),
    # Rules about ids that are not claimed.
    Mutant(
        "index before the commit",
        save.save,
        "        fresh_ids.enter(log, keys, marker, is_fresh=is_fresh)\n",
        "        fresh_ids.enter(log, keys, marker, is_fresh=is_fresh)\n"
        "        if is_fresh and head is not None and (marker.revision - marker.indexed_from) % 4 == 2:\n"
        "            both = (head.revision, marker.revision)\n"
        "            digests = await fresh_ids._read_log(log, keys, head, (head.revision, head.revision))\n"
        "            digests += fresh_ids.digest_of(spec.checkpoint_id)\n"
        "            frame = fresh_ids._frame(keys.index(*both), head.revision, digests)\n"
        "            await log.store.put_if_absent(keys.index(*both), frame)\n",
        plan=freshening,
    ),
    Mutant(
        "only the index searched",
        fresh_ids._newest_first,
        "head.marker.last_fresh_revision > end",
        "False",
        plan=freshening,
    ),
    Mutant("claims only searched", fresh_ids.find, "not has_any(head)", "True", plan=freshening),
    Mutant(
        "index off by one",
        fresh_ids._candidates,
        "revision = first + place",
        "revision = first + place + 1",
        plan=freshening,
    ),
    Mutant(
        "index forgotten by the next marker",
        next_marker.successor,
        "before.last_fresh_revision > before.floor",
        "False",
        plan=freshening,
    ),
    Mutant(
        "missing index believed empty",
        fresh_ids._candidates,
        "if piece is None:",
        "if piece is None:\n            continue\n        if piece is None:",
        plan=damaged_index,
    ),
    Mutant(
        "unknown ids passed over",
        fresh_ids._read_log,
        "UNKNOWN)",
        "bytes(DIGEST_BYTES))",
        plan=indexed_after_damage,
    ),
    Mutant(
        "claimed id ignores new ones",
        ChosenId._find,
        "fresh_ids.has_any(head)",
        "False",
        plan=claimed_after_a_new_one,
    ),
    Mutant(
        "new id not compared",
        ChosenId.find_replaced,
        "found = await self._find_recent(head)",
        "found = None if is_fresh else await self._find_recent(head)",
        plan=promised_twice,
    ),
    # Rules about replacements and prunes, which the model does not have.
    Mutant(
        "replaced checkpoint stays",
        save.save,
        "next_marker.mark_deleted(marker, [(replaced, replaced)])",
        "pass",
        plan=replacing,
    ),
    Mutant(
        "replacement looks for its id no further than its claim",
        ChosenId.find_replaced,
        "found = await self._find(head)",
        "found = None",
        plan=replacing,
    ),
    Mutant(
        "prune by an old head",
        prune.prune,
        "await log.head(request.keys)",
        "None",
        plan=replacing,
    ),
    Mutant(
        "prune forgets earlier deletions",
        next_marker.mark_deleted,
        "with_deleted(marker.deleted, more)",
        "with_deleted((), more)",
        plan=replacing,
    ),
    Mutant("pinned checkpoints judged", Ledger.enter, "marker.pinned", "False", plan=replacing),
    Mutant(
        "pinned checkpoints counted",
        Ledger._staying,
        "            if not self._is_pinned[index]:",
        "            kept += self._is_pinned[index]\n            if not self._is_pinned[index]:",
        plan=replacing,
    ),
    Mutant("copy unpins", copy._Copy._spec, "marker.pinned", "False", first=236, plan=copying),
    Mutant(
        "purge before the commit",
        purge.purge,
        "        live = {",
        "        some = [await log.read_unbounded(keys, each) for each in versions]\n"
        "        await _erase(log, keys, [each for each in some if each is not None and each.is_checkpoint])\n"
        "        live = {",
        first=308,
        plan=purging,
    ),
    Mutant(
        "purge removes all that is older",
        purge._finish,
        "scan(log, keys, each.first, each.last)",
        "scan(log, keys, 1, deletion.revision - 1)",
        first=76,
        plan=purging,
    ),
    Mutant(
        "purge leaves a hole",
        purge._erase,
        "log.store.replace(key, bare)",
        "log.store.delete(keys.marker(entry.revision))",
        first=896,
        plan=purging,
    ),
    Mutant("purge leaves the marker", purge._erase, "await log.store.replace(", "False and (", first=76, plan=purging),
    Mutant("purge leaves the blobs", purge._dead_blobs, "if base is None:", "if True:", first=856, plan=purging),
    Mutant(
        "purge lets older uploads commit",
        purge.purge,
        "marker.low_water_mark = marker.revision",
        "pass",
        first=2788,
        plan=purging,
    ),
    Mutant(
        "purge passes over earlier deletions",
        purge._versions,
        "above + 1",
        "max(above, head.revision - 1) + 1",
        first=492,
        plan=purging,
    ),
    Mutant(
        "purge ends with its first attempt",
        purge._finished,
        "await finish(",
        "done.replayed or await finish(",
        first=308,
        plan=purging,
    ),
    Mutant(
        "purged checkpoint loaded",
        lookup.find_requested,
        "if not entry.marker.purged_digest:",
        "if True:",
        plan=purged_during_a_load,
    ),
    Mutant(
        "purge unknown to the retry of the save",
        append_once.refuse_or_replay,
        "if earlier.marker.purged_digest:",
        "if False:",
        plan=purged_before_its_retry,
    ),
    Mutant(
        "records collected before their grace",
        gc._Collection._is_forgotten,
        "each.modified_seconds > self._cutoff",
        "False",
        first=45,
        plan=recording,
    ),
    Mutant(
        "records of live checkpoints collected", gc._Collection._is_forgotten, "not self", "True or self", 1, recording
    ),
    Mutant(
        "records of dead checkpoints kept", gc._Collection._is_forgotten, "not self", "False and self", 1, recording
    ),
    Mutant(
        "records unknown to the ledger",
        gc._Collection.run,
        "has_records=self._has_records",
        "has_records=False",
        first=1,
        plan=recording,
    ),
    Mutant(
        "stamp of the caller ignored",
        records.Stamps.next,
        "min(observed, clock + _FURTHEST_MICROSECONDS)",
        "0",
        first=38,
        plan=recording,
    ),
    Mutant(
        "insert replaces an existing record",
        window.Window.apply,
        "(record.replace or record.key not in self._kept)",
        "True",
        first=1,
        plan=recording,
    ),
    Mutant(
        "upsert keeps an existing record",
        window.Window.apply,
        "(record.replace or record.key not in self._kept)",
        "record.key not in self._kept",
        first=1,
        plan=recording,
    ),
    Mutant(
        "records acknowledged before they are written",
        records._write,
        "await put_if_absent(",
        "False and await put_if_absent(",
        plan=recording,
    ),
    Mutant(
        "copy treats collected checkpoints as damaged",
        copy._Copy.copy,
        "raise await as_of_now(self.log, self.source, entry, error) from None",
        "raise",
        first=866,
        plan=copying,
    ),
    Mutant(
        "copy without records",
        copy._Copy.copy,
        "await records.copy(",
        "False and await records.copy(",
        first=84,
        plan=copying,
    ),
    Mutant(
        "copy without the oldest",
        copy._copy_all,
        "if entry is None or not entry.is_checkpoint:",
        "if entry is None or index == 0:",
        first=180,
        plan=copying,
    ),
    Mutant(
        "MAC not compared",
        Macs.opened,
        "if not hmac.compare_digest(mac, self.mac(path, frame, key_id)):",
        "if 0:",
        first=104,
        plan=tampering,
    ),
    Mutant(
        "object without a MAC accepted",
        Macs.opened,
        "(MAGIC, KEYED_VERSION, 0):\n            raise flawed(path, Flaw.MISSING)",
        "(MAGIC, KEYED_VERSION, 0):\n            return data, ''",
        first=364,
        plan=tampering,
    ),
    Mutant(
        "unknown key accepted",
        Macs.opened,
        "raise flawed(path, Flaw.UNKNOWN_KEY, key_id.hex())",
        "return data[OVERHEAD_BYTES:], ''",
        first=44,
        plan=tampering,
    ),
]
