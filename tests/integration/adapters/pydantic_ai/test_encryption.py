"""The step store with a keyring: nothing of runs, events, snapshots and tool effects is readable in the store."""

import holdfast
import pytest
from holdfast.encryption import LocalKey

from tests.support.required import require_engine
from tests.support.visible import SECRET, require_sealed

require_engine("pydantic_ai_harness")

from holdfast.adapters.pydantic_ai import HoldfastStepStore  # noqa: E402
from pydantic_ai.messages import ModelRequest, UserPromptPart  # noqa: E402
from pydantic_ai_harness.step_persistence import (  # noqa: E402
    ContinuableSnapshot,
    RunRecord,
    StepEvent,
    ToolEffectRecord,
)


async def test_everything_of_a_run_is_encrypted_and_comes_back(target, namespace):
    keyring = holdfast.Keyring(LocalKey.generate())
    run = RunRecord(run_id="r", conversation_id=SECRET, agent_name=SECRET)
    event = StepEvent(run_id="r", kind="model_request_started", step_index=0, idempotency_key="k", agent_name=SECRET)
    snapshot = ContinuableSnapshot(
        run_id="r", step_index=1, messages=[ModelRequest(parts=[UserPromptPart(content=SECRET)])]
    )
    effect = ToolEffectRecord(tool_call_id="call", tool_name=SECRET, run_id="r", status="started")
    async with HoldfastStepStore.from_target(target, namespace=namespace, encryption=keyring) as store:
        await store.register_run(run)
        for _ in range(2):
            await store.append_event(event)
        await store.save_snapshot(snapshot)
        await store.record_tool_effect(effect)
        assert await store.list_runs(conversation_id=SECRET) == [run]
        assert len(await store.list_events(run_id="r")) == 1
        found = await store.latest_snapshot(run_id="r", include_interrupted=True)
        assert found.messages[0].parts[0].content == SECRET
        assert (await store.list_unresolved_tool_effects(run_id="r"))[0].tool_name == SECRET
    await require_sealed(target, namespace)
    async with HoldfastStepStore.from_target(target, namespace=namespace) as store:
        with pytest.raises(holdfast.KeyringRequiredError):
            await store.get_run(run_id="r")
