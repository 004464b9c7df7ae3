"""The page of a checkpoint: everything that is known of it, its parts, its records, and its validation."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast import HoldfastError, KeyringRequiredError, PayloadTooLargeError, Record
from starlette.responses import Response

from holdfast_server.console.decoding import in_worker
from holdfast_server.console.found import CHILDREN_WITHIN, Found, children_of, find, previous_id
from holdfast_server.console.pages.resume import Asked
from holdfast_server.console.preview import READ_BYTES
from holdfast_server.console.preview.records import preview_of_record
from holdfast_server.console.resuming import words_of
from holdfast_server.console.together import both
from holdfast_server.console.visit import Paths, Visit

_PATH = "/n/{namespace:name}/w/{workflow:name}/c/{checkpoint:name}"
_VALIDATION_SECONDS = 50.0
# The bytes of records that any page may read, and those that one page at a time may: more than the 64 MiB that servers
# let a checkpoint have. A client reads all records or none.
_RECORDS_BYTES = 4 << 20
_MANY_RECORDS_BYTES = 80 << 20
# The most records that a page shows.
_RECORDS = 100
_PARTS = 100


async def show(visit: Visit) -> Response:
    """Show a checkpoint."""
    found = await found_by(visit)
    previous, children = "", None
    if found.is_loadable and found.checkpoint is not None:
        previous, children = await both(
            previous_id(
                visit.client, found.checkpoint.namespace, found.checkpoint.workflow_id, visit.name("checkpoint")
            ),
            children_of(visit.client, found.checkpoint),
        )
    return visit.render(
        "checkpoint.html",
        status=200 if found.checkpoint is not None else 404,
        namespace=visit.name("namespace"),
        workflow_id=visit.name("workflow"),
        checkpoint_id=visit.name("checkpoint"),
        found=found,
        checkpoint=found.checkpoint,
        parts=found.checkpoint.parts[:_PARTS] if found.checkpoint else (),
        more_parts=len(found.checkpoint.parts[_PARTS:]) if found.checkpoint else 0,
        previous=previous,
        children=children,
        children_within=CHILDREN_WITHIN,
        findings=[(finding, words_of(finding.reason)) for finding in found.findings],
    )


async def found_by(visit: Visit) -> Found:
    """Return the checkpoint that a request names, by its id, and by its revision if it gives one."""
    revision = visit.query("revision")
    return await find(
        visit.client,
        visit.name("namespace"),
        visit.name("workflow"),
        visit.name("checkpoint"),
        int(revision) if revision.isdecimal() and revision.isascii() and len(revision) < 19 else None,
    )


async def validate(visit: Visit) -> Response:
    """Validate a checkpoint, as deep as the request says."""
    asked = Asked.of(visit)
    validation = await visit.client.validate(
        visit.name("namespace"),
        visit.name("workflow"),
        visit.name("checkpoint"),
        depth=asked.depth,
        timeout=_VALIDATION_SECONDS,
    )
    return visit.render(
        "checkpoint_validation.html" if visit.is_fragment else "checkpoint_detail.html",
        fragment="checkpoint_validation.html",
        heading="Validation",
        namespace=visit.name("namespace"),
        workflow_id=visit.name("workflow"),
        checkpoint_id=visit.name("checkpoint"),
        depth=asked.depth,
        validation=validation,
        findings=[(finding, words_of(finding.reason)) for finding in validation.findings[:20]],
    )


async def records(visit: Visit) -> Response:
    """Show the records of a checkpoint, or one of them."""
    listed = Listed((), 0)
    problem: HoldfastError | None = None
    try:
        listed = await _listed(visit)
    except (KeyringRequiredError, PayloadTooLargeError) as error:
        problem = error
    previews = [(key, await in_worker(preview_of_record, data, size)) for key, data, size in listed.shown]
    return await in_worker(
        visit.render,
        "checkpoint_records.html" if visit.is_fragment else "checkpoint_detail.html",
        fragment="checkpoint_records.html",
        heading="Records",
        namespace=visit.name("namespace"),
        workflow_id=visit.name("workflow"),
        checkpoint_id=visit.name("checkpoint"),
        previews=previews,
        count=listed.count,
        problem=problem,
        is_encrypted=isinstance(problem, KeyringRequiredError),
    )


@dataclass(frozen=True, slots=True)
class Listed:
    """The records of a checkpoint.

    Attributes:
        shown: those to show, each with its key, its first bytes and its size.
        count: how many the checkpoint has.

    """

    shown: Sequence[tuple[str, bytes, int]]
    count: int


async def _listed(visit: Visit) -> Listed:
    """Return the records of a checkpoint.

    Raises:
        HoldfastError: a subclass for each reason.

    """
    names = [visit.name(name) for name in ("namespace", "workflow", "checkpoint")]
    key = visit.request.query_params.get("key")
    try:
        return _first(await visit.client.records(*names, max_bytes=_RECORDS_BYTES), key)
    except PayloadTooLargeError:
        async with visit.console.large_reads:
            # Only what is shown is kept longer than the turn.
            return _first(await visit.client.records(*names, max_bytes=_MANY_RECORDS_BYTES), key)


def _first(records: Sequence[Record], key: str | None) -> Listed:
    shown = [record for record in records if key is None or record.key == key][:_RECORDS]
    return Listed([(each.key, each.data[:READ_BYTES], len(each.data)) for each in shown], len(records))


PATHS: Paths = {f"GET {_PATH}": show, f"GET {_PATH}/validate": validate, f"GET {_PATH}/records": records}
