"""Deleting a checkpoint or a workflow, and fencing a writer: a page that says what will happen, then a form.

A change fails closed. The form repeats the exact id and the revision that its page showed; if either differs from what
the server says now, nothing is changed. A form that is sent twice changes once, by its request id.
"""

import uuid

from holdfast import Checkpoint, HoldfastError, LeaseHeldError, UnimplementedError, WorkflowInfo
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.responses import Response

from holdfast_server.console import forms, links
from holdfast_server.console.visit import Paths, Visit

_CHANGED = "The {} has changed since the page was made. Nothing was done: look at it again."
_OTHER_ID = "This is not the id. Nothing was done."
_GONE = ("CHECKPOINT_NOT_FOUND", "CHECKPOINT_DELETED", "WORKFLOW_NOT_FOUND")


async def ask_workflow_deletion(visit: Visit) -> Response:
    """Show what the deletion of a workflow means."""
    _require_allowed(visit)
    return _workflow_deletion(visit, await _workflow(visit))


async def delete_workflow(visit: Visit) -> Response:
    """Delete a workflow that is as its page showed it."""
    form = await _form(visit)
    if await _is_done(visit, form):
        return _done(visit)
    found = await _workflow(visit)
    problem = _problem(form, found.workflow_id, found.head_revision, "workflow")
    if problem:
        return _workflow_deletion(visit, found, problem)
    # With the epoch that was just read the server refuses the deletion if another writer takes over before it.
    await visit.client.delete_workflow(
        found.namespace, found.workflow_id, epoch=found.epoch, request_id=forms.text(form, "request_id")
    )
    return _done(visit)


async def ask_checkpoint_deletion(visit: Visit) -> Response:
    """Show what the deletion of a checkpoint means."""
    _require_allowed(visit)
    return _checkpoint_deletion(visit, await _checkpoint(visit))


async def delete_checkpoint(visit: Visit) -> Response:
    """Delete a checkpoint that is the one that its page showed."""
    form = await _form(visit)
    if await _is_done(visit, form):
        return _done(visit)
    namespace, workflow_id = visit.name("namespace"), visit.name("workflow")
    checkpoint_id = visit.name("checkpoint")
    found = await _checkpoint(visit)
    problem = _problem(form, checkpoint_id, found.revision if found is not None else 0, "checkpoint")
    if problem:
        return _checkpoint_deletion(visit, found, problem)
    await visit.client.delete(namespace, workflow_id, checkpoint_id, request_id=forms.text(form, "request_id"))
    return _done(visit)


async def ask_fence(visit: Visit) -> Response:
    """Show what a fence means."""
    _require_allowed(visit)
    return _fence(visit, await _workflow(visit))


async def fence(visit: Visit) -> Response:
    """Acquire the next epoch of a workflow that is as its page showed it."""
    form = await _form(visit)
    if await _is_done(visit, form):
        return _done(visit)
    found = await _workflow(visit)
    problem = _problem(form, found.workflow_id, found.head_revision, "workflow")
    if problem:
        return _fence(visit, found, problem)
    try:
        await visit.client.acquire_writer(
            found.namespace,
            found.workflow_id,
            expected_revision=found.head_revision,
            force=forms.text(form, "force") == "on",
            request_id=forms.text(form, "request_id"),
        )
    except LeaseHeldError as error:
        return _fence(visit, found, error.message, lease=error)
    return _done(visit)


def _require_allowed(visit: Visit) -> None:
    if not visit.console.settings.allow_changes:
        raise HTTPException(403, "This console is read-only. It allows changes if it is started with --allow-changes.")


async def _form(visit: Visit) -> FormData:
    _require_allowed(visit)
    return await forms.read(visit.request, visit.caller, visit.console.sessions)


async def _is_done(visit: Visit, form: FormData) -> bool:
    """Return whether a form was sent before and has changed the workflow, such as by the first click of two."""
    try:
        page = await visit.client.log_page(visit.name("namespace"), visit.name("workflow"), page_size=1)
    except UnimplementedError:
        return False
    return bool(page.items) and page.items[0].request_id == forms.text(form, "request_id") != ""


def _done(visit: Visit) -> Response:
    return visit.redirect(links.workflow(visit.name("namespace"), visit.name("workflow")))


async def _workflow(visit: Visit) -> WorkflowInfo:
    """Return the workflow of the path as it is now.

    Raises:
        HTTPException: there is none.

    """
    namespace, workflow_id = visit.name("namespace"), visit.name("workflow")
    # The list has no particular order. Nearly always the id itself comes before those that it begins; all of these are
    # read only if the workflow exists.
    for page_size in (1, 1000):
        async for found in visit.client.list_workflows(namespace, prefix=workflow_id, page_size=page_size):
            if found.workflow_id == workflow_id:
                return found
            if page_size == 1:
                break
        validation = await visit.client.validate(namespace, workflow_id, depth="marker")
        if any(each.reason == "WORKFLOW_NOT_FOUND" for each in validation.findings):
            break
    raise HTTPException(404, f"The namespace has no workflow {workflow_id!r}.")


async def _checkpoint(visit: Visit) -> Checkpoint | None:
    """Return the checkpoint of the path as it is now; None if its marker cannot be read.

    Raises:
        HTTPException: there is none, or none any more.

    """
    found = await visit.client.validate(
        visit.name("namespace"), visit.name("workflow"), visit.name("checkpoint"), depth="marker"
    )
    gone = next((each for each in found.findings if each.reason in _GONE), None)
    if gone is not None:
        raise HTTPException(404, f"{gone.reason}: {gone.message}")
    return found.checkpoint


def _problem(form: FormData, expected_id: str, revision: int, kind: str) -> str:
    """Return why a form does not fit to what is there now; "" if it does."""
    if forms.text(form, "id") != expected_id:
        return _OTHER_ID
    if forms.text(form, "revision") != str(revision):
        return _CHANGED.format(kind)
    return ""


def _workflow_deletion(visit: Visit, found: WorkflowInfo, problem: str = "") -> Response:
    return visit.render(
        "delete_workflow.html",
        status=409 if problem else 200,
        found=found,
        problem=problem,
        request_id=str(uuid.uuid4()),
    )


def _checkpoint_deletion(visit: Visit, found: Checkpoint | None, problem: str = "") -> Response:
    return visit.render(
        "delete_checkpoint.html",
        status=409 if problem else 200,
        namespace=visit.name("namespace"),
        workflow_id=visit.name("workflow"),
        checkpoint_id=visit.name("checkpoint"),
        checkpoint=found,
        problem=problem,
        request_id=str(uuid.uuid4()),
    )


def _fence(visit: Visit, found: WorkflowInfo, problem: str = "", lease: HoldfastError | None = None) -> Response:
    return visit.render(
        "fence.html",
        status=409 if problem else 200,
        found=found,
        problem=problem,
        is_leased=lease is not None,
        request_id=str(uuid.uuid4()),
    )


_WORKFLOW = "/n/{namespace:name}/w/{workflow:name}"
_CHECKPOINT = f"{_WORKFLOW}/c/{{checkpoint:name}}"
PATHS: Paths = {
    f"GET {_WORKFLOW}/delete": ask_workflow_deletion,
    f"POST {_WORKFLOW}/delete": delete_workflow,
    f"GET {_WORKFLOW}/fence": ask_fence,
    f"POST {_WORKFLOW}/fence": fence,
    f"GET {_CHECKPOINT}/delete": ask_checkpoint_deletion,
    f"POST {_CHECKPOINT}/delete": delete_checkpoint,
}
