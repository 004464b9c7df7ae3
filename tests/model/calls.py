"""What a writer is asked for, and the marker that it makes of it, as `entries.py` and `ownership.py` have it."""

from typing import NamedTuple

from tests.model.state import DATA, DELETED, FENCE, Blob, Marker, State, following, head_of, revision_of


class Call(NamedTuple):
    request: str
    kind: str = DATA
    epoch: int | None = None
    expected: int | None = None
    has_blob: bool = False
    chosen: str = ""
    target: str = ""  # the request whose checkpoint is deleted; "" for the whole workflow

    @property
    def can_be_refused(self) -> bool:
        return (self.expected, self.epoch, self.chosen, self.target) != (None, None, "", "")


def marker_of(call: Call, state: State, view: int, blob: Blob | None, rules: frozenset) -> Marker:
    """The marker that a call appends behind a head."""
    head = head_of(state, view)
    matter = {"kind": call.kind, "request": call.request, "stamp": -1}
    if call.kind == FENCE:
        return following(head, **matter, epoch=head.epoch + 1)
    if call.kind == DELETED and not call.target:
        marker = following(
            head, **matter, floor=view, generation=view + 1, low_water=view + 1, last=0, deleted=frozenset()
        )
        return marker._replace(previous=0)
    if call.kind == DELETED:
        target = revision_of(state, call.target)
        marker = following(head, **matter, deleted=head.deleted | {target})
        if target != head.last or "deletion of the newest leaves it the newest" in rules:
            return marker
        newest_live = _newest_live(state, head, target)
        return marker._replace(last=newest_live, previous=newest_live)
    return following(head, **matter, last=head.revision + 1)._replace(
        blob=blob,
        chosen=call.chosen,
        expected=call.expected,
        writer_epoch=head.epoch if call.epoch is None else call.epoch,
    )


def _newest_live(state: State, head: Marker, target: int) -> int:
    revision = state.log[target - 1].previous
    while revision > head.floor and revision in head.deleted:
        revision = state.log[revision - 1].previous
    return revision if revision > head.floor else 0
