"""What a resume would do, from the findings of a validation."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast import AcceptedFormat, Checkpoint, Skipped, Validation

from holdfast_server.console.resuming.words import words_of

_DAMAGED = "CHECKPOINT_CORRUPTED"
_DEPTHS = {
    "marker": "Only the markers were checked: parts may still be damaged.",
    "presence": "Markers were checked, and that every part exists with its size. Bytes were not read.",
    "checksum": "Every byte was checked.",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one way to resume would do.

    Attributes:
        how: the way, such as "with fallback".
        checkpoint: the checkpoint that it would load; None if it fails.
        reason: the reason for which it fails; "" if it does not.
        text: the outcome as a sentence.

    """

    how: str
    checkpoint: Checkpoint | None
    reason: str
    text: str

    @property
    def exception(self) -> str:
        """The exception that it raises in Python; "" if it does not fail."""
        return words_of(self.reason).exception if self.reason else ""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a resume would do.

    Attributes:
        is_resumable: whether it loads the newest checkpoint.
        headline: the result as a sentence.
        outcomes: the ways to resume.
        last_good: the newest checkpoint that can be loaded; None if there is none.
        depth: what was checked, as a sentence.

    """

    is_resumable: bool
    headline: str
    outcomes: Sequence[Outcome]
    last_good: Checkpoint | None
    depth: str


def outlook_of(validation: Validation, accepted: AcceptedFormat | None, depth: str) -> Outlook:
    """Return what a resume of a workflow would do.

    Args:
        validation: the validation of its newest checkpoint.
        accepted: the formats that the engine reads; None for any.
        depth: how much the validation has checked.

    """
    checked = _DEPTHS.get(depth, "")
    if validation.resumable and validation.checkpoint is not None:
        found = validation.checkpoint
        text = f"Loads the newest checkpoint, revision {found.revision}{_migrated(found, accepted)}."
        headline = f"Can be resumed, from revision {found.revision}."
        return Outlook(True, headline, (Outcome("resume", found, "", text),), found, checked)
    first = validation.findings[0] if validation.findings else Skipped("", 0, "INTERNAL", "")
    outcomes = [_failing("without fallback", first)]
    if first.reason == _DAMAGED:
        outcomes.append(_with_fallback(validation, accepted))
    last_good = validation.last_good
    if last_good is not None:
        outcomes.append(
            Outcome(
                "by id",
                last_good,
                "",
                f"Loads the last good checkpoint, revision {last_good.revision}{_migrated(last_good, accepted)}. "
                "Everything newer is ignored.",
            )
        )
    headline = f"Cannot be resumed as it is: {words_of(first.reason).title}."
    if last_good is None and first.reason in (_DAMAGED, "FORMAT_INCOMPATIBLE"):
        headline += " No checkpoint of it can be loaded."
    return Outlook(False, headline, tuple(outcomes), last_good, checked)


def _with_fallback(validation: Validation, accepted: AcceptedFormat | None) -> Outcome:
    """Return what a fallback does: it passes over damage only, and ends at anything else that it cannot load."""
    how = "with fallback"
    other = next((finding for finding in validation.findings if finding.reason != _DAMAGED), None)
    if other is not None:
        return _failing(how, other)
    found = validation.last_good
    if found is None:
        return Outcome(how, None, _DAMAGED, "Fails: every checkpoint is damaged.")
    passed_over = len(validation.findings)
    return Outcome(
        how,
        found,
        "",
        f"Loads revision {found.revision}{_migrated(found, accepted)}, and reports that it skipped {passed_over} "
        f"damaged {'entry' if passed_over == 1 else 'entries'}.",
    )


def _failing(how: str, finding: Skipped) -> Outcome:
    words = words_of(finding.reason)
    where = f" at revision {finding.revision}" if finding.revision else ""
    return Outcome(how, None, finding.reason, f"Fails{where} with {words.exception}: {words.title}.")


def _migrated(found: Checkpoint, accepted: AcceptedFormat | None) -> str:
    if accepted is None or found.format.version == accepted.max_version:
        return ""
    return f", migrated from version {found.format.version} to {accepted.max_version} of its format"
