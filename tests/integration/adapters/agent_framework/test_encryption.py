"""The storage with a keyring: nothing that a workflow saves is readable in the store."""

import holdfast
import pytest
from holdfast.encryption import LocalKey

from tests.support.required import require_engine
from tests.support.visible import SECRET, require_sealed

require_engine("agent_framework")

from agent_framework import WorkflowCheckpoint  # noqa: E402
from holdfast.adapters.agent_framework import HoldfastCheckpointStorage  # noqa: E402


async def test_checkpoints_are_encrypted_and_come_back(target, namespace):
    keyring = holdfast.Keyring(LocalKey.generate())
    options = {"namespace": namespace, "workflow_id": "run"}
    made = [
        WorkflowCheckpoint(workflow_name=SECRET, graph_signature_hash=SECRET, state={"text": f"{SECRET} {number}"})
        for number in range(2)
    ]
    async with HoldfastCheckpointStorage.from_target(target, encryption=keyring, **options) as storage:
        for each in made:
            await storage.save(each)
        assert (await storage.load(made[0].checkpoint_id)).state == {"text": f"{SECRET} 0"}
        assert {each.checkpoint_id for each in await storage.list_checkpoints(workflow_name=SECRET)} == {
            each.checkpoint_id for each in made
        }
        assert (await storage.get_latest(workflow_name=SECRET)).state == {"text": f"{SECRET} 1"}
        assert await storage.list_checkpoints(workflow_name="other") == []
    await require_sealed(target, namespace)
    async with HoldfastCheckpointStorage.from_target(target, **options) as storage:
        with pytest.raises(holdfast.KeyringRequiredError):
            await storage.load(made[0].checkpoint_id)
