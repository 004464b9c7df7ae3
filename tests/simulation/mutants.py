"""Broken rules, planted in the real code: each is a piece of a function's source and what takes its place."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from holdfast_server.protocol import (
    claim,
    entries,
    gc,
    load,
    log,
    lookup,
    ownership,
    put_if_absent,
    repair,
    retries,
    save,
)
from holdfast_server.protocol.claim import Claim
from holdfast_server.stores.memory import Objects

from tests.simulation.directed import contested, overtaken, repaired_meanwhile
from tests.simulation.plans import Plan, planned

_GIVE_UP = 'raise HoldfastError(Reason.REVISION_CONFLICT, "gave up")'


@dataclass(frozen=True)
class Mutant:
    """A rule that is broken, and where that is noticed.

    Attributes:
        rule: the rule.
        function: the one that holds it.
        old: a piece of its source.
        new: what takes its place.
        seeds: among which it must be noticed.
        plan: what a seed means.

    """

    rule: str
    function: Callable
    old: str
    new: str
    seeds: range = range(1000)
    plan: Callable[[int], Plan] = planned


# Of the plans, every fourth has many short faults.
_HURRIED = range(0, 4000, 4)
# Every fourth has writers, readers and collections that stand still.
_STALLED = range(2, 8000, 4)
# In every fourth something rots.
_DAMAGED = range(3, 8000, 4)


MUTANTS = [
    Mutant(
        "own 412 taken for a loss",
        put_if_absent.put_if_absent,
        "                    may_land = True\n                except StoreUnavailableError as error:",
        f"                    {_GIVE_UP}\n                except StoreUnavailableError as error:",
    ),
    Mutant(
        "doubt taken for a failure",
        put_if_absent.put_if_absent,
        "isinstance(error, NothingWrittenError) and not may_land:\n                        raise",
        f"True:\n                        {_GIVE_UP}",
    ),
    Mutant(
        "cleans up after an unknown outcome",
        save.save,
        "    except Replay as replay:",
        "    except HoldfastError as error:\n"
        "        for part in uploaded:\n"
        "            await log.store.delete(wanted.request.keys.blob(part.blob))\n"
        "        raise\n"
        "    except Replay as replay:",
    ),
    Mutant("slot skipped", entries.successor, "before.revision + 1", "before.revision + 2"),
    Mutant("floor ignored", log.Log._require_counted, "head.marker.floor < revision", "0 < revision", seeds=_STALLED),
    Mutant("low-water mark ignored", save._uploaded_anew, "< head.marker.low_water_mark", "< 0", seeds=_STALLED),
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
        seeds=_STALLED,
    ),
    Mutant("epoch not compared", entries.refuse_or_replay, "request.epoch < head.marker.epoch", "False"),
    Mutant("acknowledges without recency", log.Log.append, "not self._is_recent(read_at)", "False", seeds=_STALLED),
    Mutant(
        "newest marker removed on delete",
        gc._Collection._doomed,
        "self._settled.marker.floor + 1)",
        "self._settled.marker.floor + 2)",
    ),
    Mutant("no replay", entries.refuse_or_replay, "earlier is not None", "False"),
    Mutant(
        "slot that was lost taken for the head",
        log.Log.append,
        "self._decode(keys, revision, found), read_at)",
        "self._decode(keys, revision, found), now())",
        seeds=_STALLED,
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
        seeds=_STALLED,
    ),
    Mutant("late retry accepted", retries.find_request, "head.marker.floor and", "False and", seeds=_STALLED),
    Mutant("no compare-and-set", save._require_revision, "expected in (None, revision)", "True"),
    Mutant("put overwrites", Objects.create, "key in self.by_key", "False"),
    Mutant("no grace", gc._Collection.__init__, "now - log.grace_seconds", "now"),
    Mutant(
        "floor of now",
        gc._Collection._doomed,
        "self._settled.marker.floor + 1",
        "(await self._log.head(self._keys)).marker.floor + 1",
        seeds=_STALLED,
    ),
    Mutant("stale cache believed", log.Log._cached, "not self._is_recent(head.read_at)", "False", seeds=_STALLED),
    Mutant(
        "damage believed",
        load.as_of_now,
        "await entries.is_gone_by_now(log, keys, entry.revision)",
        "False",
        seeds=_STALLED,
    ),
    # Rules that the model does not know.
    Mutant("refuses by an old head", log.Log._built, "read_at >= came_in or", "True or"),
    Mutant("recent ids not searched", Claim._find, "entry.checkpoint_id == wanted_id", "False"),
    Mutant(
        "claim's base ignored",
        Claim.make,
        "self._searched_to = await",
        "self._searched_to = head.revision if head else 0\n        await",
    ),
    Mutant(
        "retry's search ends at the floor",
        retries.find_request,
        "log.scan(keys, first,",
        "log.scan(keys, max(first, head.marker.floor + 1),",
        seeds=_HURRIED,
    ),
    Mutant(
        "clocks of servers compared",
        retries._last_before,
        "newest_seconds - (now() - moment)",
        "__import__('holdfast_server.protocol.entries').protocol.entries.time.time() - (now() - moment)",
        seeds=_HURRIED,
    ),
    Mutant(
        "deletion of the newest leaves it the newest",
        ownership.delete,
        "target.revision == head.marker.last_data_revision",
        "False",
        seeds=_HURRIED,
    ),
    Mutant(
        "slot that was collected taken for lost",
        log.Log.append,
        "                if not self._is_recent(read_at):\n",
        "                if found is None and not self._is_recent(read_at):\n",
        plan=contested,
    ),
    Mutant("retry taken for a first try", retries.find_request, "first_tried is None", "True", seeds=_HURRIED),
    Mutant("retry passes over damage", retries.find_request, "is_damaged = True", "pass", seeds=_DAMAGED),
    Mutant(
        "claim's generation ignored",
        Claim.require_unused,
        "head.marker.claim_generation != self._generation",
        "False",
    ),
    Mutant("claims not taken over", claim.take_over, "iter(revisions)", "iter(())"),
    Mutant(
        "id not searched behind the claim's base",
        claim.search,
        "log.walk_back(keys, head, base)",
        "log.walk_back(keys, head, head.revision)",
    ),
    Mutant("search for an id passes over damage", claim.search, "damage = entry", "pass", seeds=_DAMAGED),
    Mutant(
        "fallback starts at a slow store",
        load._find_whole,
        "except HoldfastError as error:\n            if",
        "except Exception as error:\n            if isinstance(error, HoldfastError) and",
    ),
    Mutant("fallback skips a good one", lookup.live_below, "else below - 1", "else below - 2", seeds=_DAMAGED),
    Mutant(
        "fallback begins at the head",
        load.candidates,
        'int(error.metadata["revision"])',
        "head.revision",
        seeds=_DAMAGED,
    ),
    Mutant(
        "damaged head hides an id",
        load.candidates,
        "lost=[each.revision for each in skipped]",
        "lost=()",
        seeds=_DAMAGED,
    ),
    Mutant(
        "newest marker not read again",
        lookup.head_or_skip,
        "        try:\n            entry =",
        "        if not skipped:\n"
        "            skipped.append(Skipped(revision, '', HoldfastError(Reason.CHECKPOINT_CORRUPTED, '')))\n"
        "            continue\n"
        "        try:\n            entry =",
        plan=repaired_meanwhile,
    ),
    Mutant(
        "overtaken walk goes on",
        lookup.live_below,
        "error.reason is not Reason.CHECKPOINT_CORRUPTED",
        "error.reason is Reason.LAYOUT_UNSUPPORTED",
        plan=overtaken,
    ),
    # Of damage, and of what a repair does, the model knows less.
    Mutant(
        "damage behind a cached head taken for the head",
        log.Log.head,
        "isinstance(await self._read_or_damage(keys, cached.revision + 1), MarkerGoneError)",
        "await self._read(keys, cached.revision + 1) is None",
        seeds=_DAMAGED,
    ),
    Mutant(
        "repair sees the log as it was when it looked",
        repair._mended,
        "if _holds(lost, head.marker.last_data_revision):",
        "if True:",
        seeds=_DAMAGED,
    ),
    Mutant(
        "repair behind a lost fence leaves the epoch",
        repair.fence_off,
        "marker.epoch += newest - head.revision",
        "pass",
        seeds=_DAMAGED,
    ),
    Mutant("damaged claim believed to be none", claim._base, "return 0", "raise", seeds=_DAMAGED),
    Mutant(
        "refused access taken for a failure",
        put_if_absent.put_if_absent,
        "denied = error\n",
        "denied = error\n                    raise\n",
    ),
]


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The real code with a broken rule, while the block lasts."""
    source = inspect.getsource(mutant.function)
    assert source.count(mutant.old) == 1, f"{mutant.rule}: its place in {mutant.function.__qualname__} is gone"
    broken = source.replace(mutant.old, mutant.new)
    built: dict[str, Callable] = {}
    # A method's source is indented, which needs something to belong to.
    exec(
        compile(f"if True:\n{broken}" if source[0] == " " else broken, "mutant", "exec"),
        mutant.function.__globals__,
        built,
    )
    code, kept = built[mutant.function.__name__].__code__, mutant.function.__code__
    mutant.function.__code__ = code
    try:
        yield
    finally:
        mutant.function.__code__ = kept
