"""The requests of a writer and their markers, as `log/next_marker.py` and `checkpoints/` make them."""

from typing import NamedTuple

from tests.verification.model.state import DATA, DELETED, FENCE, Blob, Marker, State, following, head_of, revision_of


class Call(NamedTuple):
    request: str
    kind: str = DATA
    epoch: int | None = None
    expected: int | None = None
    has_blob: bool = False
    has_bases: bool = False  # whether it is stored as the difference to what it may rest on
    chosen: str = ""
    is_fresh: bool = False  # whether the caller promises that this id is new
    pinned: bool = False
    target: str = ""  # the request whose checkpoint is deleted; "": the whole workflow
    purges: bool = False  # whether the deletion also purges the target
    is_older: bool = False  # whether an older server runs it, which does not compare revisions
    is_silent: bool = False  # whether it does not say which attempt it is
    collides: bool = False  # whether its request has the digest of every recent one

    @property
    def can_be_refused(self) -> bool:
        return (self.expected, self.epoch, self.chosen, self.target) != (None, None, "", "")


def marker_of(call: Call, state: State, view: int, blob: Blob | None, bases: tuple, rules: frozenset) -> Marker:
    """Return the marker that a call appends after a head."""
    marker = _told(call, _appended(call, state, view, blob, rules), rules)._replace(bases=bases)
    if call.is_older:
        marker = marker._replace(is_older=True, saved=None)
        marker = marker._replace(saved_epoch=0, other_saved=0, fenced=0, previously_fenced=0)
    return marker


def allows(head: Marker, expected: int | None, epoch: int | None, rules: frozenset) -> bool:
    """Return whether a head allows a compare-and-set, as `log/compare_and_set.py` decides."""
    revision = head.revision
    if expected in (None, revision) or "no compare-and-set" in rules:
        return True
    if expected == 0:
        return head.last <= head.floor
    if expected > revision or (head.saved is None and "older marker treated as one without saves" not in rules):
        return False
    if "compare-and-set with the head" in rules:
        return False
    saved = head.saved or 0
    if "saves of the same epoch do not conflict" in rules and epoch and epoch == head.saved_epoch:
        saved = head.other_saved
    fenced = head.fenced
    if epoch == head.epoch:
        fenced = 0 if "fence before one's own ignored" in rules else head.previously_fenced
    return saved <= expected and (fenced <= expected or "fences do not conflict" in rules)


def _told(call: Call, marker: Marker, rules: frozenset) -> Marker:
    """Return the marker with itself as the newest save or fence."""
    if call.kind == FENCE:
        return marker._replace(fenced=marker.revision, previously_fenced=marker.fenced)
    if call.target or (call.kind == DELETED and "deletion of the workflow does not conflict" in rules):
        return marker
    epoch = call.epoch or 0
    other = marker.other_saved if epoch and epoch == marker.saved_epoch else marker.saved
    return marker._replace(saved=marker.revision, saved_epoch=epoch, other_saved=other)


def _appended(call: Call, state: State, view: int, blob: Blob | None, rules: frozenset) -> Marker:
    head = head_of(state, view)
    matter = {"kind": call.kind, "request": call.request, "stamp": -1}
    if call.kind == FENCE:
        return following(head, **matter, epoch=head.epoch + 1)._replace(expected=call.expected)
    if call.kind == DELETED and not call.target:
        marker = following(
            head, **matter, floor=view, generation=view + 1, low_water=view + 1, last=0, deleted=frozenset()
        )
        return marker._replace(previous=0)
    if call.kind == DELETED:
        target = revision_of(state, call.target)
        marker = following(head, **matter, deleted=head.deleted | {target})
        if call.purges and "purge lets older uploads commit" not in rules:
            marker = marker._replace(low_water=view + 1)
        if call.purges:
            marker = marker._replace(base_floor=view + 1)
        if target != head.last or "deletion of the newest leaves it the newest" in rules:
            return marker
        newest_live = _newest_live(state, head, target)
        return marker._replace(last=newest_live, previous=newest_live)
    return following(head, **matter, last=head.revision + 1)._replace(
        blob=blob,
        chosen=call.chosen,
        pinned=call.pinned,
        expected=call.expected,
        carried=call.epoch,
        writer_epoch=head.epoch if call.epoch is None else call.epoch,
    )


def _newest_live(state: State, head: Marker, target: int) -> int:
    revision = state.log[target - 1].previous
    while revision > head.floor and revision in head.deleted:
        revision = state.log[revision - 1].previous
    return revision if revision > head.floor else 0
