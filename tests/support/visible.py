"""What anybody sees of a namespace who reaches its store, but has no key."""

import holdfast

from tests.support.stored import blind

# A word that no name and no ciphertext contains.
SECRET = "xylophone"


async def visible(target: str, namespace: str) -> str:
    """Return all checkpoints of a namespace as text: names, labels, parts and records."""
    found = []
    async with blind(target) as client:
        async for workflow in client.list_workflows(namespace):
            found.append(workflow.workflow_id)
            async for loaded in client.history(namespace, workflow.workflow_id, records=True):
                found += [repr(loaded.info), repr(dict(loaded.parts)), repr(loaded.records)]
    assert found
    return "\n".join(found)


async def require_sealed(target: str, namespace: str) -> None:
    """Check that everything in a namespace is encrypted, and says nothing of the secret word."""
    assert SECRET not in await visible(target, namespace)
    async with holdfast.AsyncClient(target) as client:
        async for workflow in client.list_workflows(namespace):
            async for found in client.list(namespace, workflow.workflow_id):
                assert all(label.startswith("holdfast-") for label in found.labels), found
                try:
                    await client.load(namespace, workflow.workflow_id, found.checkpoint_id)
                except holdfast.KeyringRequiredError:
                    continue
                raise AssertionError(f"{found} is not encrypted")
