"""A reader: loads the newest checkpoint, or one by its id, with or without fallback.

It follows `protocol/checkpoints/load.py`.

An id that a server made contains its revision. An id that a caller chose is found by the head or after its claim's
base. The answer of a load must have been right at some time during the load: not an older checkpoint, not one deleted
before the load began, damage only if an object rotted, and by fallback the newest whole one at or below the request.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tests.verification.model import ids
from tests.verification.model.state import (
    DATA,
    State,
    ViolationError,
    base_of,
    bases_by_log,
    bases_of,
    head_of,
    is_damage,
    is_live,
    is_rotten,
    is_whole,
    lies_at,
    newest,
    revision_of,
    visible,
)

Step = tuple[str, "Reader", State]


class Reader(NamedTuple):
    loads: int = 1
    wants: str = ""  # the request whose checkpoint it loads by the server's id
    chosen: str = ""  # or an id that the saver chose; otherwise the newest
    falls_back: bool = False
    losses: int = 0  # how many more answers can be lost
    at: str = "begin"
    view: int = 0
    is_recent: bool = False
    began: int = 0  # the head when the load began
    target: int = 0
    bases: tuple = ()  # of the target, by the marker that was read
    skipped: frozenset = frozenset()

    def steps(self, state: State, rules: frozenset) -> Iterator[Step]:
        if self.loads:
            yield from getattr(self, f"_{self.at}")(state, rules)

    def later(self) -> "Reader":
        return self._replace(is_recent=False)

    # The head

    def _begin(self, state, rules):
        if self.wants and not revision_of(state, self.wants):
            return  # its id is not known yet
        is_recent = self.is_recent or "stale cache believed" in rules
        is_head = self.view and is_recent and lies_at(state, self.view + 1) is None
        reader = self._replace(began=len(state.log), is_recent=True)
        yield reader._with_head(state, rules, self.view if is_head else newest(state))

    def _with_head(self, state, rules, view) -> Step:
        if view != self.view and is_damage(state, view, rules):
            if self.falls_back:
                return "meets a damaged head", self._replace(at="older"), state
            return "meets a damaged head", self._ended(), state
        return "reads the head", *self._replace(view=view)._seek(state, rules)

    def _older(self, state, rules):
        """Find the newest readable marker if the head is unreadable."""
        revisions = [each for each in range(newest(state), 0, -1) if lies_at(state, each)]
        if "newest marker not read again" in rules:
            revisions = revisions[1:]
        view = next((each for each in revisions if each not in state.rotten), 0)
        skipped = frozenset(range(view + 1, newest(state) + 1))
        yield "reads an older head", *self._replace(view=view, skipped=self.skipped | skipped)._seek(state, rules)

    # The checkpoint to load

    def _seek(self, state, rules):
        head = head_of(state, self.view)
        if self.wants:
            revision = revision_of(state, self.wants)
            if revision > self.view and "damaged head hides an id" not in rules:
                return self._damage(state, rules, revision)
            return self._found(state, rules, revision if head.floor < revision <= self.view else 0)
        if self.chosen:
            known = [each for each in head.recent if each > head.floor and state.log[each - 1].chosen == self.chosen]
            return self._found(state, rules, known[0]) if known else (self._replace(at="claim"), state)
        return self._found(state, rules, head.last if head.last > head.floor else 0)

    def _claim(self, state, rules):
        """Read the claim and the index of ids, and the revisions that may have the id according to them."""
        head = head_of(state, self.view)
        base = base_of(state, head.generation, self.chosen)
        found, damaged = ids.find_chosen(state, self.view, self.chosen, base, rules)
        damaged += [each for each in self.skipped if each > self.view]  # above the older head
        if found:
            yield "finds the id", *self._found(state, rules, found)
        elif damaged:
            yield "finds damage where the id may be", *self._damage(state, rules, min(damaged))
        elif base is None:
            yield "finds no claim", self._replace(at="reread"), state
        else:
            yield "does not find the id", *self._found(state, rules, 0)

    def _reread(self, state, rules):
        view = newest(state)
        if view in state.rotten:
            yield "meets a damaged head", *self._damage(state, rules, view)
        elif head_of(state, view).generation == head_of(state, self.view).generation:
            yield "sees that there is no claim", *self._told(state, 0)
        else:
            yield "reads the head", *self._replace(view=view, is_recent=True)._seek(state, rules)

    def _found(self, state, rules, revision):
        # The head's own link to the newest checkpoint is trusted.
        if not revision or ((self.wants or self.chosen) and revision in head_of(state, self.view).deleted):
            return self._told(state, 0)
        return self._replace(at="fetch", target=revision, bases=()), state

    # Its bytes, and the answer to damage

    def _fetch(self, state, rules):
        """Read the marker, and check the payload against its digest."""
        if self.losses:
            lost = self._replace(losses=self.losses - 1)
            if "fallback starts at a slow store" in rules:
                yield "gets no answer", *lost._damage(state, rules, self.target)
            else:
                yield "gets no answer", lost._ended(), state
        committed = bases_by_log(state, self.target)
        # A cached head may be older than the stored marker.
        known = {bases_of(state, self.target), committed if self.target == self.view else ()}
        for bases in sorted(known - {()}):
            yield "reads the marker", self._replace(at="rebuild", bases=bases), state
        if () in known and (not committed or self.target in state.rewritten):
            yield self._got(state, rules)

    def _rebuild(self, state, rules):
        """Read the bases, and check the bytes that are rebuilt from them."""
        yield self._got(state, rules)

    def _got(self, state, rules):
        is_there = lies_at(state, self.target) is not None
        believes = "purged checkpoint loaded" in rules and self.target in state.purged
        bases = () if "digest checked before rebuilding" in rules else self.bases
        if is_whole(state, self.target, bases) or believes or ("digests not checked" in rules and is_there):
            return "loads", *self._told(state, self.target)
        if is_damage(state, self.target, rules) or "damage believed" in rules:
            return "finds damage", *self._damage(state, rules, self.target)
        return "finds damage or what is gone", self._replace(at="judge"), state

    def _judge(self, state, rules):
        """Report damage only if the current head has the checkpoint."""
        end = newest(state)
        bases = bases_of(state, self.target)
        if self.bases != bases and "marker not read again" not in rules:
            yield "sees that it was rewritten", self._replace(at="fetch", bases=()), state
        elif end in state.rotten or is_live(state, end, self.target):
            yield "sees that it is damaged", *self._damage(state, rules, self.target)
        elif (self.wants or self.chosen) and not self.skipped:
            yield "sees that it was deleted", *self._told(state, 0)
        else:
            yield "sees that it was deleted", *self._overtaken(state)

    def _overtaken(self, state):
        """Begin again: its head is older than a grace."""
        return self._replace(at="again", skipped=frozenset()), state

    def _again(self, state, rules):
        yield self._replace(is_recent=True)._with_head(state, rules, newest(state))

    def _damage(self, state, rules, revision):
        if not self.falls_back:
            is_damaged = revision > self.view or is_rotten(state, revision) or newest(state) in state.rotten
            if not is_damaged:
                raise ViolationError(f"a load took revision {revision} for damaged")
            return self._ended(), state
        below = self.view + 1 if "fallback begins at the head" in rules and not self.skipped else revision
        return self._replace(skipped=self.skipped | {revision})._fall(state, rules, below)

    def _fall(self, state, rules, below):
        """Go to the next older checkpoint, by the links while they can be read, otherwise revision by revision."""
        head = head_of(state, self.view)
        if below > head.last:
            revision = head.last
        elif lies_at(state, below) is not None and below not in state.rotten:
            revision = state.log[below - 1].previous
        else:
            revision = below - 1
        if "fallback skips a good one" in rules:
            revision = state.log[revision - 1].previous if revision else 0
        while revision > head.floor:
            if revision in self.skipped:
                revision -= 1
            elif lies_at(state, revision) is None and "overtaken walk goes on" not in rules:
                return self._overtaken(state)
            elif lies_at(state, revision) is None:
                revision -= 1
            elif revision in state.rotten:
                return self._replace(skipped=self.skipped | {revision})._fall(state, rules, revision)
            elif state.log[revision - 1].kind != DATA or revision in head.deleted:
                revision = state.log[revision - 1].previous
            else:
                return self._replace(at="fetch", target=revision, bases=()), state
        return self._told(state, 0)

    # The answer

    def _told(self, state, result):
        if result and result in state.purged:
            raise ViolationError(f"a load got revision {result}, whose content was purged")
        if result and is_rotten(state, result):
            raise ViolationError(f"a load got the damaged revision {result}")
        for each in self.skipped:
            if each not in state.rotten and not is_rotten(state, each) and is_live(state, len(state.log), each):
                raise ViolationError(f"a load took revision {each} for damaged")
        if not self._was_right(state, result):
            raise ViolationError(f"a load got revision {result}, passing over {set(self.skipped)}: never right")
        return self._ended(), state

    def _was_right(self, state, result):
        """Return whether an answer was right at some time during the load."""
        oldest = self.began
        while oldest in self.skipped and oldest in state.rotten and state.log[oldest - 1].request != self.wants:
            oldest -= 1  # an unreadable head says nothing about itself
        for view in range(oldest, len(state.log) + 1):
            for wanted in self._wanted(state, view):
                live = [each for each in visible(state, view) if each <= wanted and each not in self.skipped]
                if result == max(live, default=0):
                    return True
        return False

    def _wanted(self, state, view):
        """Return the revisions that a load may answer with, according to a head."""
        if not (self.wants or self.chosen):
            return [view]
        floor = head_of(state, view).floor
        # The newest one: if a promise was broken, several checkpoints have the id.
        meant = [each for each in range(floor + 1, view + 1) if self._is_meant(state.log[each - 1])][-1:]
        wanted = [each if is_live(state, view, each) else 0 for each in meant] or [0]
        # The id of an unreadable marker is unknown.
        return wanted + [each for each in self.skipped if each in state.rotten and self.chosen]

    def _is_meant(self, marker):
        return marker.request == self.wants if self.wants else marker.chosen == self.chosen

    def _ended(self):
        if self.loads == 1:
            return Reader(0)
        return Reader(
            self.loads - 1,
            self.wants,
            self.chosen,
            self.falls_back,
            self.losses,
            view=self.view,
            is_recent=self.is_recent,
        )
