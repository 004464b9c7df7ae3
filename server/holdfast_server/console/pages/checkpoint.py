"""The page of a checkpoint: everything that is known of it, its parts, its records, and its validation."""

from holdfast import HoldfastError, KeyringRequiredError, PayloadTooLargeError, Record
from starlette.responses import Response

from holdfast_server.console.decoding import in_worker
from holdfast_server.console.found import CHILDREN_WITHIN, Found, children_of, find, previous_id
from holdfast_server.console.pages.resume import Asked
from holdfast_server.console.preview import READ_BYTES, Preview
from holdfast_server.console.preview.records import preview_of_record
from holdfast_server.console.resuming import words_of
from holdfast_server.console.together import both
from holdfast_server.console.visit import Paths, Visit

_PATH = "/n/{namespace:name}/w/{workflow:name}/c/{checkpoint:name}"
_VALIDATION_SECONDS = 50.0
# The most bytes of records that a page reads, and the most records that it shows.
_RECORDS_BYTES = 4 << 20
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
    namespace, workflow_id, checkpoint_id = (visit.name(name) for name in ("namespace", "workflow", "checkpoint"))
    listed: tuple[Record, ...] = ()
    problem: HoldfastError | None = None
    try:
        listed = await visit.client.records(namespace, workflow_id, checkpoint_id, max_bytes=_RECORDS_BYTES)
    except (KeyringRequiredError, PayloadTooLargeError) as error:
        problem = error
    key = visit.request.query_params.get("key")
    shown = [record for record in listed if key is None or record.key == key][:_RECORDS]
    previews: list[tuple[Record, Preview]] = [(record, await _preview(record)) for record in shown]
    return await in_worker(
        visit.render,
        "checkpoint_records.html" if visit.is_fragment else "checkpoint_detail.html",
        fragment="checkpoint_records.html",
        heading="Records",
        namespace=namespace,
        workflow_id=workflow_id,
        checkpoint_id=checkpoint_id,
        previews=previews,
        count=len(listed),
        problem=problem,
        is_encrypted=isinstance(problem, KeyringRequiredError),
    )


async def _preview(record: Record) -> Preview:
    return await in_worker(preview_of_record, record.data[:READ_BYTES], len(record.data))


PATHS: Paths = {f"GET {_PATH}": show, f"GET {_PATH}/validate": validate, f"GET {_PATH}/records": records}
