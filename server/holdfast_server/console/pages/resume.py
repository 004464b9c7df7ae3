"""Why a workflow can or cannot be resumed: the findings in words, what a resume would do, and how to do it."""

from dataclasses import dataclass
from typing import Literal, cast

from holdfast import AcceptedFormat, Checkpoint
from starlette.responses import Response

from holdfast_server.console.resuming import outlook_of, recipes, words_of
from holdfast_server.console.visit import Paths, Visit

_DEPTHS = ("marker", "presence", "checksum")
Depth = Literal["marker", "presence", "checksum"]
# Seconds for a validation, which may read every byte of a checkpoint.
_VALIDATION_SECONDS = 50.0
_MAX_VERSION = 2**31 - 1
_MAX_FINDINGS = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """What the form of the page asks for.

    Attributes:
        depth: how much to check.
        name: the name of the format that an engine reads; "" for any.
        min_version: the oldest version that it reads.
        max_version: the version that it works with.
        problem: what is wrong with the form; "" if nothing is.

    """

    depth: Depth
    name: str
    min_version: str
    max_version: str
    problem: str = ""

    @classmethod
    def of(cls, visit: Visit) -> "Asked":
        """Return what a request asks for."""
        given = visit.query("depth")
        depth = cast(Depth, given if given in _DEPTHS else "presence")
        name, low, high = visit.query("format"), visit.query("min"), visit.query("max")
        high = high or low or ("1" if name else "")
        low = low or high
        problem = ""
        if name and not (_is_version(low) and _is_version(high) and int(low) <= int(high)):
            problem = (
                f"Versions are numbers from 1 to {_MAX_VERSION}, the oldest one first: not {low:.40} to {high:.40}."
            )
        return cls(depth, name, low, high, problem)

    @property
    def accepted(self) -> AcceptedFormat | None:
        """The formats that are read; None for any."""
        if not self.name or self.problem:
            return None
        return AcceptedFormat(self.name, int(self.min_version), int(self.max_version))


def _is_version(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10 and 1 <= int(text) <= _MAX_VERSION


async def show(visit: Visit) -> Response:
    """Show what a resume would do; as a part of the workflow's page only the result."""
    namespace, workflow_id = visit.name("namespace"), visit.name("workflow")
    asked = Asked.of(visit)
    accepted = asked.accepted
    validation = await visit.client.validate(
        namespace,
        workflow_id,
        depth=asked.depth,
        accepted_formats=[accepted] if accepted else (),
        timeout=_VALIDATION_SECONDS,
    )
    outlook = outlook_of(validation, accepted, asked.depth)
    settings = visit.console.settings
    read = accepted or _own(validation.checkpoint or validation.last_good)
    return visit.render(
        "resume_result.html" if visit.is_fragment else "resume.html",
        namespace=namespace,
        workflow_id=workflow_id,
        asked=asked,
        accepted=read,
        depths=_DEPTHS,
        validation=validation,
        outlook=outlook,
        findings=[(finding, words_of(finding.reason)) for finding in validation.findings[:_MAX_FINDINGS]],
        more_findings=len(validation.findings[_MAX_FINDINGS:]),
        recipes=recipes(
            settings.shown_target or settings.target,
            namespace,
            workflow_id,
            read,
            last_good_id="" if outlook.is_resumable or outlook.last_good is None else outlook.last_good.checkpoint_id,
            fallback=any(each.how == "with fallback" and each.checkpoint for each in outlook.outcomes),
        ),
    )


def _own(checkpoint: Checkpoint | None) -> AcceptedFormat | None:
    """Return the format of a checkpoint as the one that an engine reads."""
    if checkpoint is None:
        return None
    version = checkpoint.format.version
    return AcceptedFormat(checkpoint.format.name, version, version)


PATHS: Paths = {"GET /n/{namespace:name}/w/{workflow:name}/resume": show}
