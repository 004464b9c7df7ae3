"""A garbage collection, in the steps of `protocol/maintenance/gc.py`. One dead claim is enough for a new generation.

A DELETE that lands late equals a collection that is paused before it: its objects were settled long before.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tests.verification.model.state import (
    DELETED,
    GC,
    Blob,
    Claim,
    Index,
    State,
    ViolationError,
    base_of,
    bases_of,
    bytes_of,
    claimed,
    following,
    head_of,
    is_damage,
    land,
    lies_at,
    newest,
    visible,
    without_blob,
    without_marker,
)


class Collector(NamedTuple):
    runs: int = 1
    keep: int = 1  # how many checkpoints to keep
    at: str = "begin"
    now: int = 0
    settled: int = 0  # the head of a grace ago
    view: int = 0
    is_recent: bool = False
    doomed: tuple = ()

    def steps(self, state: State, rules: frozenset) -> Iterator[tuple[str, "Collector", State]]:
        if self.runs:
            yield from getattr(self, f"_{self.at}")(state, rules)

    def later(self) -> "Collector":
        return self._replace(is_recent=False)

    def _begin(self, state, rules):
        collector = self._replace(now=state.time, view=newest(state), is_recent=True, at="append")
        old = [each.revision for each in state.log if collector._is_old(each.stamp, rules)]
        settled = max((each for each in old if lies_at(state, each) and each not in state.rotten), default=0)
        is_damaged = is_damage(state, newest(state), rules)
        yield "looks", self._ended() if is_damaged else collector._replace(settled=settled), state

    def _is_old(self, stamp, rules):
        return stamp <= self.now - (0 if "no grace" in rules else 1)

    def _append(self, state, rules):
        if self._meets_damage(state):
            yield "meets damage", self._ended(), state
            return
        marker, taken_over = self._marker(state, rules)
        if marker is None:
            yield "needs no marker", self._removing(state, rules), state
        elif taken_over is not None:
            yield f"takes over the claim of {taken_over.chosen}", self, claimed(state, taken_over)
        elif "reads references before its marker" in rules:
            seen = self._removing(state, rules, marker.low_water)
            end = newest(state)
            marker = marker._replace(revision=end + 1, epoch=head_of(state, end).epoch)
            yield "appends its marker", seen, land(state, marker, rules)
        else:
            yield self._put(state, rules, marker)

    def _put(self, state, rules, marker):
        landed = land(state, marker, rules)
        if landed is None:
            if is_damage(state, newest(state), rules):
                return "meets damage", self._ended(), state
            return "lost its revision", self._replace(view=newest(state), is_recent=True), state
        if not self.is_recent and marker.revision <= head_of(landed, newest(landed)).floor:
            return "does not know whether its marker counts", self._ended(), landed
        return "appends its marker", self._replace(view=marker.revision)._removing(landed, rules), landed

    def _meets_damage(self, state):
        """Return whether a marker is missing or damaged although the current head has it as live."""
        end, head = newest(state), head_of(state, self.view)
        for each in range(head_of(state, self.settled).floor + 1, self.view + 1):
            is_sound = lies_at(state, each) is not None and each not in state.rotten
            if is_sound or each <= head.floor or each in head.deleted:
                continue
            if end in state.rotten:
                return True
            if each <= head_of(state, end).floor:
                continue
            if each not in state.rotten:
                raise ViolationError(f"a collection took revision {each}, which was collected, for damage")
            return True
        return False

    def _marker(self, state, rules):
        """Return the marker to append, if one is needed, and a claim that must be taken over first."""
        head = head_of(state, self.view)
        live = visible(state, self.view)
        retired = self._retired(state, live, rules)
        kept = [each for each in live if each not in retired]
        oldest = min(kept + self._inline_bases(state, rules, kept), default=self.view + 1)
        floor = max(head.floor, min(self.settled, oldest - 1))
        low_water = max([head.low_water, *(min(each.base + 1, self.view + 1) for each in self._orphans(state, rules))])
        begins = self._has_dead_claims(state, rules, kept)
        if not (retired or floor >= head.floor + 2 or low_water > head.low_water or begins):
            return None, None
        marker = following(
            head,
            kind=GC,
            request=f"gc{self.view}-{state.time}",
            stamp=-1,
            floor=floor,
            low_water=low_water,
            deleted=frozenset(each for each in (*head.deleted, *retired) if each > floor),
            last=kept[-1] if kept else 0,
        )._replace(previous=kept[-1] if kept else 0)
        if "collection forgets the newest save" in rules:
            marker = marker._replace(saved=0, other_saved=0)
        if not begins:
            return marker, None
        marker = marker._replace(generation=marker.revision)
        return marker, None if "claims not taken over" in rules else self._not_taken_over(state, kept)

    def _inline_bases(self, state, rules, kept):
        """Return the bases of checkpoints whose bytes are in their own markers."""
        bases = [base for each in kept for base in bases_of(state, each)]
        return [] if "floor above a base" in rules else [each for each in bases if bytes_of(state, each) == each]

    def _retired(self, state, live, rules):
        """Keep pinned checkpoints, and count the others as if these did not exist."""
        judged = live if "pinned checkpoints judged" in rules else self._not_pinned(state, live)
        if "pinned checkpoints counted" in rules:
            return self._not_pinned(state, live[: -self.keep])
        return judged[: -self.keep]

    def _not_pinned(self, state, revisions):
        return [each for each in revisions if not state.log[each - 1].pinned]

    def _has_dead_claims(self, state, rules, kept):
        generation = head_of(state, self.view).generation
        claims = [each for each in state.claims if each.generation == generation and self._is_old(each.stamp, rules)]
        living = sum(1 for each in kept if self._is_claimed(state, each))
        return len(claims) - living >= max(1, living)

    def _is_claimed(self, state, revision):
        return bool(state.log[revision - 1].chosen) and not state.log[revision - 1].fresh

    def _not_taken_over(self, state, kept):
        generation = self.view + 1
        for revision in kept:
            chosen = state.log[revision - 1].chosen
            if self._is_claimed(state, revision) and base_of(state, generation, chosen) is None:
                return Claim(generation, chosen, revision - 1, state.time)
        return None

    def _orphans(self, state, rules):
        """Return the blobs older than the grace that no checkpoint of a grace ago or later names, up to the view.

        One whose upload began from a younger entry is not old, whatever its time says.
        """
        settled = head_of(state, self.settled)
        naming = [
            marker.revision
            for marker in state.log[: self.view]
            if marker.revision > settled.floor and marker.revision not in settled.deleted
        ]
        named = {state.log[each - 1].blob for each in naming}
        if "bases not named" not in rules:
            named |= {state.log[base - 1].blob for each in naming for base in bases_of(state, each)}
        old = [each for each in state.blobs if self._is_old(each.stamp, rules) and each.base <= self.settled]
        return sorted(each for each in old if each not in named)

    def _removing(self, state, rules, low_water=None):
        settled, head = head_of(state, self.settled), head_of(state, self.view)
        low_water = head.low_water if low_water is None else low_water
        floor = head.floor if "floor of now" in rules else settled.floor
        if "newest marker removed on delete" in rules and settled.kind == DELETED and not settled.last:
            floor += 1
        markers = [
            each for each in range(floor, 0, -1) if lies_at(state, each) is not None
        ]  # in the order of the listing
        blobs = [each for each in self._orphans(state, rules) if each.base < low_water]
        claims = sorted(each for each in state.claims if each.generation < head.generation)
        indexes = sorted(each for each in state.indexes if each.revision <= settled.floor)
        return self._replace(at="remove", doomed=(*markers, *blobs, *claims, *indexes))._rest()

    def _remove(self, state, rules):
        first, *rest = self.doomed
        collector = self._replace(doomed=tuple(rest))._rest()
        if isinstance(first, Blob):
            yield "removes a blob", collector, without_blob(state, first)
        elif isinstance(first, Claim):
            yield "removes a claim", collector, state._replace(claims=state.claims - {first})
        elif isinstance(first, Index):
            yield "removes an object of the index", collector, state._replace(indexes=state.indexes - {first})
        else:
            yield "removes a marker", collector, without_marker(state, first)

    def _rest(self):
        """Forget everything but the objects that are still to be removed."""
        return Collector(self.runs, self.keep, at="remove", doomed=self.doomed) if self.doomed else self._ended()

    def _ended(self):
        return Collector(self.runs - 1, self.keep)
