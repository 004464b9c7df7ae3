"""The audit after a soak: the store has every acknowledged save that no rule removed, and nothing else."""

import holdfast
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.stores.base import ObjectStore

from tests.verification.soak.ledger import Ledger, Workflow, digest_of
from tests.verification.soak.users import FORMAT, KEEP_LAST


async def audit(client: holdfast.AsyncClient, ledger: Ledger) -> list[str]:
    """Return the differences between the store and the ledger of its users."""
    wrong = []
    for where, workflow in ledger.workflows.items():
        try:
            try:
                found = await _audit_one(client, where, workflow)
            except holdfast.CheckpointDeletedError:
                # A collection after the last save removed it since it was listed. There are no more saves.
                found = await _audit_one(client, where, workflow)
        except holdfast.HoldfastError as error:
            found = [f"{error} {error.metadata}"]
        wrong += [f"{'/'.join(where)}: {each}" for each in found]
    return wrong


async def left_behind(store: ObjectStore, ledger: Ledger) -> list[str]:
    """Return the objects of deleted workflows other than their last markers."""
    wrong = []
    for where in (where for where, workflow in ledger.workflows.items() if workflow.is_over):
        objects = [each.key for each in await store.list(WorkflowKeys(*where).prefix)]
        if len(objects) != 1 or "/log/" not in objects[0]:
            wrong.append(f"{'/'.join(where)} was deleted and left {objects}")
    return wrong


async def _audit_one(client: holdfast.AsyncClient, where: tuple[str, str], workflow: Workflow) -> list[str]:
    try:
        listed = [each async for each in client.list(*where, page_size=1000)]
    except (holdfast.WorkflowNotFoundError, holdfast.CheckpointNotFoundError):
        listed = []
    wrong = [*_missing(where[0], listed, workflow), *_epochs(listed)]
    if workflow.is_over and listed:
        wrong.append(f"the workflow was deleted, and has {len(listed)} checkpoints")
    for each in listed:
        loaded = await client.load(*where, each.checkpoint_id)
        known = workflow.acknowledged.get(each.checkpoint_id)
        if digest_of(loaded.data) not in ({known.digest} if known else workflow.sent):
            wrong.append(f"{each.checkpoint_id} has content that was not saved there")
        if known is not None and known.revision != each.revision:
            wrong.append(f"{each.checkpoint_id} is revision {each.revision}, acknowledged was {known.revision}")
    if len({each.checkpoint_id for each in listed}) != len(listed):
        wrong.append("an id is there twice")
    if listed:
        validation = await client.validate(*where)
        resumed = await client.resume(*where, format=FORMAT)
        if not validation.resumable or resumed.revision != listed[0].revision:
            wrong.append(f"cannot be resumed: {validation.findings}")
    return wrong


def _missing(namespace: str, listed: list[holdfast.Checkpoint], workflow: Workflow) -> list[str]:
    if workflow.is_over:
        return []
    there = {each.checkpoint_id for each in listed}
    wrong = []
    for checkpoint_id, known in workflow.acknowledged.items():
        if checkpoint_id in there or checkpoint_id in workflow.let_go or known.expires:
            continue
        # Count expired saves and those with an unknown outcome too: the rule counted them when it removed others.
        newer = sum(each.revision > known.revision for each in workflow.acknowledged.values()) + workflow.unknown
        if namespace == "trimmed" and newer >= KEEP_LAST:
            continue
        # A deletion with an unknown outcome may have removed the whole workflow.
        if namespace == "runs" and not listed:
            continue
        wrong.append(f"{checkpoint_id} of revision {known.revision} was acknowledged and is gone")
    return wrong


def _epochs(listed: list[holdfast.Checkpoint]) -> list[str]:
    """Return the places where epochs fall: a fenced writer has saved after the fence."""
    epochs = [each.epoch for each in reversed(listed) if each.epoch]
    return [] if epochs == sorted(epochs) else [f"epochs fall: {epochs}"]
