"""The difference between two checkpoints of a workflow: what is known of them, their parts, and inside a part."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast import Checkpoint
from starlette.exceptions import HTTPException
from starlette.responses import Response

from holdfast_server.console.decoding import in_worker
from holdfast_server.console.difference import difference_of, part_changes
from holdfast_server.console.difference.contents import Side
from holdfast_server.console.found import Found, beginning, find, previous_id
from holdfast_server.console.resuming import words_of
from holdfast_server.console.together import both
from holdfast_server.console.visit import Paths, Visit

_PATH = "/n/{namespace:name}/w/{workflow:name}/diff"
_PARTS = 100


@dataclass(frozen=True, slots=True)
class Fact:
    """A property of both checkpoints.

    Attributes:
        name: its name.
        before: the older checkpoint's, as text.
        after: the newer one's.

    """

    name: str
    before: str
    after: str


async def show(visit: Visit) -> Response:
    """Show the difference of two checkpoints; without `a` to the one before `b`."""
    namespace, workflow_id = visit.name("namespace"), visit.name("workflow")
    a, b = visit.query("a"), visit.query("b")
    if b and not a:
        a = await previous_id(visit.client, namespace, workflow_id, b)
    found: dict[str, Found] = {}
    if a and b:
        before, after = await both(
            find(visit.client, namespace, workflow_id, a), find(visit.client, namespace, workflow_id, b)
        )
        found = {a: before, b: after}
    pair = [each.checkpoint for each in found.values() if each.checkpoint is not None] if a != b else []
    parts = part_changes(pair[0].parts, pair[1].parts) if len(pair) == 2 else ()
    return visit.render(
        "difference.html",
        namespace=namespace,
        workflow_id=workflow_id,
        a=a,
        b=b,
        pair=pair,
        facts=_facts(pair[0], pair[1]) if parts else (),
        parts=[each for each in parts if each.kind != "same"][:_PARTS],
        same=[each for each in parts if each.kind == "same"][:_PARTS],
        problems=[(name, words_of(finding.reason)) for name, each in found.items() for finding in each.findings],
    )


async def part(visit: Visit) -> Response:
    """Show the difference inside a part."""
    namespace, workflow_id = visit.name("namespace"), visit.name("workflow")
    name = visit.query("part")
    sides = await both(_side(visit, visit.query("a"), name), _side(visit, visit.query("b"), name))
    difference = await in_worker(difference_of, name, *sides)
    return await in_worker(
        visit.render,
        "difference_part.html" if visit.is_fragment else "difference_detail.html",
        namespace=namespace,
        workflow_id=workflow_id,
        a=visit.query("a"),
        b=visit.query("b"),
        part=name,
        difference=difference,
    )


async def _side(visit: Visit, checkpoint_id: str, part_name: str) -> Side:
    found = await find(visit.client, visit.name("namespace"), visit.name("workflow"), checkpoint_id)
    checkpoint = found.checkpoint
    info = next((each for each in checkpoint.parts if each.name == part_name), None) if checkpoint else None
    if checkpoint is None or info is None:
        raise HTTPException(404, "A checkpoint has no such part.")
    return Side(await beginning(visit.client, checkpoint, part_name), info.size_bytes, checkpoint.format.name)


def _facts(before: Checkpoint, after: Checkpoint) -> Sequence[Fact]:
    """Return the properties in which two checkpoints differ, but for those in which all differ."""
    names = [*before.labels, *(name for name in after.labels if name not in before.labels)]
    facts = [
        Fact("Format", _format(before), _format(after)),
        Fact("Producer", " ".join(before.producer).strip(), " ".join(after.producer).strip()),
        Fact("Epoch", str(before.epoch or ""), str(after.epoch or "")),
        Fact("Principal", before.principal, after.principal),
        *(Fact(f"Label {name}", before.labels.get(name, ""), after.labels.get(name, "")) for name in names),
    ]
    return [fact for fact in facts if fact.before != fact.after]


def _format(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.format.name} version {checkpoint.format.version}"


PATHS: Paths = {f"GET {_PATH}": show, f"GET {_PATH}/part": part}
