"""CrewAI's persistence and checkpoints with a keyring: nothing of them is readable in the store."""

import json
import os

import holdfast
import pytest
from holdfast.encryption import LocalKey

from tests.support.required import require_engine
from tests.support.visible import SECRET, require_sealed

require_engine("crewai")

for _name in ("CREWAI_DISABLE_TELEMETRY", "CREWAI_DISABLE_TRACKING", "CREWAI_DISABLE_VERSION_CHECK", "CREWAI_TESTING"):
    os.environ[_name] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"

from crewai.flow.async_feedback.types import PendingFeedbackContext  # noqa: E402
from holdfast.adapters.crewai import HoldfastCheckpointProvider, HoldfastFlowPersistence  # noqa: E402


async def test_states_and_questions_of_flows_are_encrypted_and_come_back(target, namespace):
    keyring = holdfast.Keyring(LocalKey.generate())
    question = PendingFeedbackContext(
        flow_id="f", flow_class="app.Review", method_name=SECRET, method_output=SECRET, message=SECRET
    )
    with HoldfastFlowPersistence.from_target(target, namespace=namespace, encryption=keyring) as persistence:
        persistence.save_state("f", SECRET, {"id": "f", "text": SECRET})
        assert persistence.load_state("f") == {"id": "f", "text": SECRET}
        persistence.save_pending_feedback("f", question, {"id": "f", "text": SECRET})
        state, found = persistence.load_pending_feedback("f")
        assert (state["text"], found.message) == (SECRET, SECRET)
        persistence.clear_pending_feedback("f")
        assert persistence.load_pending_feedback("f") is None
    await require_sealed(target, namespace)
    with (
        HoldfastFlowPersistence.from_target(target, namespace=namespace) as persistence,
        pytest.raises(holdfast.KeyringRequiredError),
    ):
        persistence.load_state("f")


async def test_checkpoints_of_crews_are_encrypted_and_come_back(target, namespace):
    keyring = holdfast.Keyring(LocalKey.generate())
    with HoldfastCheckpointProvider.from_target(target, namespace=namespace, encryption=keyring) as provider:
        flow = {"entity_type": "flow", "checkpoint_completed_methods": [SECRET], "checkpoint_state": {"id": SECRET}}
        data = json.dumps({"crewai_version": "1.15.30", "branch": "main", "entities": [flow]})
        location = provider.checkpoint(data, "crew", branch="main")
        assert SECRET in provider.from_checkpoint(location)
    await require_sealed(target, namespace)
    with (
        HoldfastCheckpointProvider.from_target(target, namespace=namespace) as provider,
        pytest.raises(holdfast.KeyringRequiredError),
    ):
        provider.from_checkpoint(location)
