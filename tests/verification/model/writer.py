"""A writer: appends checkpoints, fences and deletions, one call after the other, each as `Log.append` does.

Each step is one store request and the decisions after its answer, so a writer can only be paused before a request. A
lost answer, a late request and an abandoned attempt are steps too, limited by a budget.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tests.verification.model import ids
from tests.verification.model.calls import allows, marker_of
from tests.verification.model.state import (
    DATA,
    DELETED,
    MOST_BASES,
    Bare,
    Blob,
    Claim,
    Index,
    Marker,
    State,
    ViolationError,
    bared,
    base_of,
    bases_of,
    claimed,
    failing,
    head_of,
    indexed,
    is_damage,
    is_live,
    is_whole,
    land,
    lies_at,
    meets,
    newest,
    possible_bases,
    revision_of,
    rewritten,
    visible,
    without_blob,
    without_marker,
)

Step = tuple["Writer", State]


class Writer(NamedTuple):
    calls: tuple
    losses: int = 1  # how many more requests or answers can be lost or late
    retries: int = 1  # how many more attempts can be given up and retried
    at: str = "begin"
    view: int = 0
    is_recent: bool = False  # whether the view was read within this tick
    is_fresh: bool = False  # whether it was read since this attempt arrived
    came_in: int = 0  # the head when this attempt arrived
    began_at: int = -1  # when the first attempt arrived
    is_retry: bool = False
    blob: Blob | None = None
    bases: tuple = ()  # what its bytes were encoded with
    uploads: int = 0
    generation: int = -1  # of the claim that was made
    base: int = 0  # of the claim that is in place
    indexed: int = 0  # how far its server has written the index of ids
    searched: int = 0  # the revisions up to here do not have the chosen id
    sent: Marker | None = None
    target: int = 0  # its own revision, after which it writes the index

    def steps(self, state: State, rules: frozenset) -> Iterator[tuple[str, "Writer", State]]:
        if self.calls:
            yield from getattr(self, f"_{self.at}")(state, self.calls[0], rules)

    def later(self) -> "Writer":
        return self._replace(is_recent=False)

    # Prepare: a blob, a claim

    def _begin(self, state, call, rules):
        if call.target and not revision_of(state, call.target):
            return  # its id is not known yet
        began_at = state.time if self.retries or call.has_blob else -1
        began = self._replace(
            began_at=self.began_at if self.is_retry else began_at,
            is_fresh=False,
            came_in=len(state.log) if call.can_be_refused else 0,
        )
        if self.view and self.is_recent:
            yield "uses its cached head", *began._prepare(state, call, rules)
        if is_damage(state, newest(state), rules):
            yield "meets a damaged head", *self._unknown(state)
        else:
            is_append = not (call.has_blob or call.chosen)
            yield "reads the head", *began._looking(state, is_fresh=is_append)._prepare(state, call, rules)

    def _looking(self, state, *, is_fresh=True):
        return self._replace(view=newest(state), is_recent=True, is_fresh=is_fresh)

    def _prepare(self, state, call, rules) -> Step:
        writer = self._encoding(state, call, rules)
        if call.has_blob:
            return writer._replace(at="upload"), state
        if call.chosen and not call.is_fresh:
            return writer._replace(at="claim"), state
        return writer._append(state, call, rules)

    def _encoding(self, state, call, rules):
        """Choose the bases by the head that is known: another one more, or the same ones once there are enough."""
        if not call.has_bases:
            return self
        possible = possible_bases(state, self.view, rules)
        most = MOST_BASES + 1 if "one base too many" in rules else MOST_BASES
        return self._replace(bases=possible[:most])

    def _upload(self, state, call, rules):
        writer, state = self._uploading(state, call)
        is_claimed = call.chosen and not call.is_fresh
        writer, state = (writer._replace(at="claim"), state) if is_claimed else writer._append(state, call, rules)
        yield "uploads", writer, state

    def _uploading(self, state, call) -> Step:
        blob = Blob(call.request, self.uploads, self.view, state.time)
        return self._replace(blob=blob, uploads=self.uploads + 1), state._replace(blobs=state.blobs | {blob})

    def _claim(self, state, call, rules):
        claiming, after = self._claiming(state, call), claimed(state, self._claim_of(state, call))
        yield "claims its id", *claiming._append(after, call, rules)
        yield from self._claiming_late(state, call)

    def _reclaim(self, state, call, rules):
        claiming, after = self._claiming(state, call), claimed(state, self._claim_of(state, call))
        yield "claims its id again", *claiming._identify(after, call, rules)
        yield from self._claiming_late(state, call)

    def _claim_of(self, state, call):
        return Claim(head_of(state, self.view).generation, call.chosen, self.view, state.time)

    def _claiming(self, state, call):
        generation = head_of(state, self.view).generation
        base = base_of(state, generation, call.chosen)
        return self._replace(generation=generation, base=self.view if base is None else base)

    def _claiming_late(self, state, call):
        if self.losses:
            late = state._replace(flight=state.flight | {self._claim_of(state, call)._replace(stamp=0)})
            yield "claims its id, the request is late", self._replace(losses=self.losses - 1), late
            if self.retries:
                yield "claims its id, late, and is retried", self._replace(losses=self.losses - 1)._again(), late

    # Commit

    def _append(self, state, call, rules) -> Step:
        if self.view and self.is_recent:
            return self._build(state, call, rules)
        return self._replace(at="head"), state

    def _head(self, state, call, rules):
        if is_damage(state, newest(state), rules):
            yield "meets a damaged head", *self._unknown(state)
        else:
            yield "reads the head", *self._looking(state)._build(state, call, rules)

    def _build(self, state, call, rules) -> Step:
        """Decide by the head: replay, refuse, or send the next request on the way to the marker."""
        recent = head_of(state, self.view).recent
        # The digest of each of these is that of the request. Only a read of the entry shows its request.
        similar = [each for each in recent if call.collides or state.log[each - 1].request == call.request]
        sound = [each for each in similar if each not in state.rotten]
        if "digest of a request hides another one" in rules:
            sound = sound[:1]
        is_believed = "digest of a request believed" in rules
        done = next((each for each in sound if is_believed or state.log[each - 1].request == call.request), 0)
        if similar and "no replay" not in rules:
            if done:
                return self._acknowledged(state, call, done)
            if any(each in state.rotten for each in similar):
                return self._unknown(state)
        may_be_retry = self.is_retry and "retry treated as a first attempt" not in rules
        if call.is_silent:
            may_be_retry = "unnumbered retry treated as a first attempt" not in rules
        if self.view and may_be_retry:
            return self._replace(at="search"), state
        return self._judge(state, call, rules)

    def _search(self, state, call, rules):
        """Search for the first attempt of a retry below the entries that the head remembers, and below the floor."""
        head = head_of(state, self.view)
        if not call.is_silent and self.began_at != state.time and head.floor and "late retry accepted" not in rules:
            yield "does not know, for good", *self._unknown(state)
            return
        first = self._last_before(state) + 1
        if "retry's search ends at the floor" in rules:
            first = max(first, head.floor + 1)
        revisions = range(first, min(head.recent, default=self.view + 1))
        done = next(
            (each for each in revisions if lies_at(state, each) == call.request and each not in state.rotten), 0
        )
        is_damaged = not done and any(each in state.rotten for each in revisions)
        if is_damaged and not call.is_silent and "retry passes over damage" not in rules:
            yield "finds damage where its first attempt may lie", *self._unknown(state)
        elif done and "no replay" not in rules:
            yield "finds its first attempt", *self._acknowledged(state, call, done)
        else:
            yield "finds no first attempt", *self._judge(state, call, rules)

    def _last_before(self, state):
        """Return the newest entry of before the first attempt began, by the store's own clock."""
        before = head_of(state, newest(state)).stamp - (state.time - self.began_at)
        older = (each.revision for each in state.log if each.stamp < before)
        return max((each for each in older if lies_at(state, each)), default=0)

    def _judge(self, state, call, rules) -> Step:
        head = head_of(state, self.view)
        if call.epoch is not None and call.epoch < head.epoch and "epoch not compared" not in rules:
            return self._refuse(state, call, rules, lambda view: call.epoch < head_of(state, view).epoch)
        if call.epoch is not None and call.epoch > head.epoch and "epoch never given accepted" not in rules:
            return self._refuse(state, call, rules, lambda view: call.epoch > head_of(state, view).epoch)
        if call.is_fresh and ids.has_room(head, self.indexed):
            return self._require_new(state, call, rules)
        if call.is_fresh and self.generation == -1:
            return self._replace(at="reclaim"), state
        if not (call.chosen and self.view):
            return self._require(state, call, rules)
        if self.generation != head.generation and "claim's generation ignored" not in rules:
            return self._replace(at="reclaim"), state
        return self._identify(state, call, rules)

    def _require_new(self, state, call, rules) -> Step:
        """Believe that an id is new, unless the head remembers it."""
        known = self._known(state, call)
        if known and "new id not compared" not in rules:
            return self._found(state, call, rules, known)
        return self._require(state, call, rules)

    def _known(self, state, call):
        """Return the revision with its id among those that the head remembers; 0 if there is none."""
        head = head_of(state, self.view)
        revisions = (each for each in head.recent if each > head.floor)
        return next((each for each in revisions if state.log[each - 1].chosen == call.chosen), 0)

    def _identify(self, state, call, rules) -> Step:
        head = head_of(state, self.view)
        known = self._known(state, call)
        if known:
            return self._found(state, call, rules, known)
        is_first = self.searched == 0 and ids.has_fresh(head) and "claimed id ignores new ones" not in rules
        is_known = not is_first and head.recent[-1] <= (self.searched or self.base) + 1
        if is_known or "id not searched after the claim's base" in rules:
            return self._replace(searched=self.view)._require(state, call, rules)
        return self._replace(at="seek"), state

    def _seek(self, state, call, rules):
        if self.searched == 0 and "claimed id ignores new ones" not in rules:
            found, damaged = ids.find_chosen(state, self.view, call.chosen, self.base, rules)
        else:
            found, damaged = ids.walk(state, self.view, call.chosen, self.searched or self.base)
        if found:
            yield "finds its id", *self._found(state, call, rules, found)
        elif damaged and "search for an id passes over damage" not in rules:
            yield "finds damage where its id may lie", *self._unknown(state)
        else:
            yield "does not find its id", *self._replace(searched=self.view)._require(state, call, rules)

    def _found(self, state, call, rules, revision) -> Step:
        if revision in state.rotten:
            return self._unknown(state)
        if state.log[revision - 1].request == call.request and is_live(state, self.view, revision):
            return self._acknowledged(state, call, revision)

        def is_used(view):
            revisions = state.log[head_of(state, view).floor : view]
            return any(each.chosen == call.chosen for each in revisions)

        return self._refuse(state, call, rules, is_used)

    def _require(self, state, call, rules) -> Step:
        if not allows(head_of(state, self.view), call.expected, call.epoch, rules):
            return self._refuse(state, call, rules, lambda view: not meets(state, view, call.expected, call.epoch))
        if call.target:
            target = revision_of(state, call.target)
            if not is_live(state, self.view, target):
                return self._refuse(state, call, rules, lambda view: not is_live(state, view, target))
            if target in state.rotten:
                return self._unknown(state)
        if call.kind == DELETED and not self.view:
            return self._refuse(state, call, rules, lambda view: not view)
        if (
            not {*self.bases} <= {*possible_bases(state, self.view, rules)}
            and "bases of an older head kept" not in rules
        ):
            writer = self._encoding(state, call, rules)
            return (writer._replace(at="upload"), state) if call.has_blob else writer._marked(state, call, rules)
        low_water = head_of(state, self.view).low_water
        if self.blob is not None and self.blob.base < low_water and "low-water mark ignored" not in rules:
            return self._replace(at="copy"), state
        return self._marked(state, call, rules)

    def _copy(self, state, call, rules):
        if self.blob in state.blobs and self.blob not in state.rotten:
            writer, copied = self._uploading(state, call)
            yield "copies its blob", *writer._marked(copied, call, rules)
        else:
            yield "must send its payload again", self._again(), state

    def _marked(self, state, call, rules) -> Step:
        marker = marker_of(call, state, self.view, self.blob, self.bases, rules)
        if call.kind == DATA:
            is_fresh = call.is_fresh and ids.has_room(head_of(state, self.view), self.indexed)
            marker = ids.entered(marker, self.indexed, is_fresh=is_fresh)
            if is_fresh and "index before the commit" in rules:
                state = indexed(state, Index(marker.revision, marker.chosen))
        if "purge before the commit" in rules and call.purges:
            state = bared(state, revision_of(state, call.target))
        if "dependents rewritten before the commit" in rules and call.purges:
            for each in self._dependents(state, revision_of(state, call.target)):
                state = rewritten(state, each)
        if "revision skipped" in rules and self.view:
            marker = marker._replace(revision=marker.revision + 1)
        return self._replace(at="put", sent=marker), state

    def _put(self, state, call, rules):
        landed = land(state, self.sent, rules)
        if landed is None:
            yield "is refused", self._replace(at="look"), state
        else:
            yield "puts and wins", *self._won(landed, call, rules)
            if self.is_recent and state.time < state.until:
                yield "puts and wins, its answer is slow", self._replace(at="verify"), landed
        if not self.losses:
            return
        lost = self._replace(at="look", losses=self.losses - 1)
        if landed is not None and "own 412 treated as a loss" in rules:
            yield "puts, is sent twice and refused, and gives up", *self._failed(landed, call)
        elif landed is not None:
            yield "puts, its answer is lost or a refusal", lost, landed
        yield "puts, the request is late", lost, state._replace(flight=state.flight | {self.sent})

    def _look(self, state, call, rules):
        """Read the marker's key after a refusal or a lost answer."""
        revision = self.sent.revision
        lies = lies_at(state, revision)
        if self.retries:
            cleans = "cleans up after an unknown outcome" in rules and self.blob is not None
            kept = without_blob(state, self.blob) if cleans else state
            yield "does not know; is retried", self._replace(retries=self.retries - 1)._again(), kept
        if is_damage(state, revision, rules):
            yield "finds damage at its revision", *self._unknown(state)
        elif lies == call.request:
            yield "finds its own marker", *self._won(state, call, rules)
        elif lies is not None and self._may_be_collected(state, revision, rules):
            yield "finds another's marker where its own may have been", *self._unknown(state)
        elif lies is not None:
            is_head = revision <= len(state.log) and state.log[revision - 1].request == lies
            lost = self._replace(view=revision if is_head else self.view, sent=None)
            if "lost revision treated as the head" in rules and is_head:
                lost = lost._replace(is_recent=True)
            if not is_head:
                lost = lost._replace(is_recent=False)
            yield "finds another's marker", *lost._append(state, call, rules)
        elif "unknown outcome treated as a failure" in rules:
            yield "gives up", *self._failed(state, call)
        else:
            yield "finds nothing", self._replace(at="put"), state

    def _may_be_collected(self, state, revision, rules):
        """Return whether the revision may have been committed and collected since the head was read."""
        broken = {"collected revision treated as lost", "lost revision treated as the head"}
        if self.is_recent or rules & broken:
            return False
        return newest(state) in state.rotten or revision <= head_of(state, newest(state)).floor

    def _won(self, state, call, rules) -> Step:
        if self.is_recent or "acknowledges without recency" in rules:
            return self._acknowledged(state, call, self.sent.revision)
        return self._replace(at="verify"), state

    def _verify(self, state, call, rules):
        if self.is_recent:
            return  # it was acknowledged in the same step
        if "acknowledges without recency" in rules:
            yield "acknowledges", *self._acknowledged(state, call, self.sent.revision)
            return
        head = newest(state)
        floor = 0 if "floor ignored" in rules else head_of(state, head).floor
        if head not in state.rotten and floor < self.sent.revision <= head:
            yield "verifies and acknowledges", *self._acknowledged(state, call, self.sent.revision)
        elif "appends again where it was collected" in rules:
            yield "sees that its revision is collected", *self._looking(state)._build(state, call, rules)
        else:
            yield "does not know, for good", *self._unknown(state)

    # The end of a call

    def _refuse(self, state, call, rules, is_right) -> Step:
        """Refuse by a head that was read since the attempt arrived; read it first if it was not."""
        if not self.is_fresh and "refuses by an old head" not in rules:
            return self._replace(at="head"), state
        if not any(is_right(view) for view in range(self.came_in, len(state.log) + 1)):
            raise ViolationError(f"{call.request} was refused for a condition that never held during the call")
        return self._failed(state, call)

    def _failed(self, state, call) -> Step:
        return self._next(), failing(state, call.request)

    def _acknowledged(self, state, call, revision) -> Step:
        if revision > len(state.log) or state.log[revision - 1].request != call.request:
            raise ViolationError(f"{call.request} was acknowledged as revision {revision}, where it is not")
        view = revision if self.sent is not None and self.sent.revision == revision else self.view
        writer = self._replace(view=max(self.view, view))
        if call.purges:
            return writer._replace(at="purge", sent=None, blob=None), state
        if ids.is_due(state.log[revision - 1], self.indexed):
            return writer._replace(at="index", target=revision, sent=None, blob=None), state
        return writer._next(), state

    def _index(self, state, call, rules):
        """Write objects of the index after the answer. They may also be lost, or land late."""
        marker = state.log[self.target - 1]
        yield "leaves the index as it is", self._next(), state
        index = ids.object_of(state, marker, self.indexed)
        writer = self._replace(indexed=index.revision)
        rest = writer if ids.is_due(marker, index.revision) else writer._next()
        yield "writes an object of the index", rest, indexed(state, index)
        if self.losses:
            late = state._replace(flight=state.flight | {index})
            yield "writes an object of the index, late", self._replace(losses=self.losses - 1)._next(), late

    def _purge(self, state, call, rules):
        """Remove the deleted content, the marker's own last. An attempt that ends before is retried."""
        target = revision_of(state, call.target)
        if "purge removes the newest" in rules:
            target = head_of(state, len(state.log)).last or target
        blob = state.log[target - 1].blob
        if self.retries:
            yield "ends before all is purged; is retried", self._replace(retries=self.retries - 1)._again(), state
        deletion = state.log[revision_of(state, call.request) - 1]
        dependents = self._dependents(state, target)
        if "dependents rewritten oldest first" in rules:
            dependents = dependents[::-1]
        if dependents and "dependents not rewritten" not in rules:
            yield "stores a checkpoint again", self, rewritten(state, dependents[0])
            return
        others = [each for each in range(1, deletion.revision) if each != target and lies_at(state, each) is not None]
        named = {state.log[each - 1].blob for each in others}
        if "purge forgets bases" not in rules:
            named |= {state.log[base - 1].blob for each in others for base in bases_of(state, each)}
        dead = sorted(each for each in state.blobs if each.base < deletion.revision and each not in named)
        if blob in state.blobs:
            yield "purges a blob", self, without_blob(state, blob)
        elif dead:
            yield "purges a blob that no marker names", self, without_blob(state, dead[0])
        elif lies_at(state, target) == state.log[target - 1].request and target not in state.purged:
            if "purge leaves a hole" in rules:
                yield "removes a marker", self, without_marker(state, target)
                return
            yield "purges a marker", self, bared(state, target)
            if self.losses:
                late = state._replace(flight=state.flight | {Bare(target)})
                yield "purges a marker, the request is late", self._replace(losses=self.losses - 1), late
        else:
            yield "has purged", self._next(), state

    def _dependents(self, state, target):
        """Return the checkpoints that rest on another one, newest first. What is damaged cannot be rebuilt."""
        resting = [each for each in visible(state, len(state.log)) if target in bases_of(state, each)]
        return [each for each in reversed(resting) if is_whole(state, each, bases_of(state, each))]

    def _unknown(self, state) -> Step:
        return self._next(), state

    def _again(self):
        """Begin the next attempt on another server, with every upload sent again."""
        return Writer(
            self.calls,
            self.losses,
            self.retries,
            began_at=self.began_at,
            is_retry=True,
            uploads=self.uploads,
        )

    def _next(self):
        if len(self.calls) == 1:
            return Writer((), 0, 0)
        return Writer(
            self.calls[1:],
            self.losses,
            self.retries,
            view=self.view,
            is_recent=self.is_recent,
            indexed=self.indexed,
        )
