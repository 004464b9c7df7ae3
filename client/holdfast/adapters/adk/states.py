"""App and user state: what sessions share, each in a workflow of its own, of which the newest checkpoint counts."""

import json
from collections.abc import Mapping
from typing import Any

from google.adk.events import EventActions
from google.adk.sessions import Session, State

from holdfast.adapters.adk.checkpoints import Checkpoints
from holdfast.adapters.ids import joined
from holdfast.checkpoint import Format
from holdfast.errors import RevisionConflictError

FORMAT = Format("adk-state", 1)

_APP, _USER = "adk-app", "adk-user"

Delta = dict[str, Any]


class States:
    """The states of apps and users.

    Args:
        checkpoints: where they lie.

    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints

    async def merge(self, session: Session, known: dict[str, Delta] | None = None) -> Session:
        """A session with what it shares with others, of which `known` keeps what was loaded before."""
        known = {} if known is None else known
        for prefix, workflow in _places(session.app_name, session.user_id).items():
            if workflow not in known:
                known[workflow] = await self._load(workflow)
            session.state |= {prefix + key: value for key, value in known[workflow].items()}
        return session

    async def of_user(self, app_name: str, user_id: str) -> Delta:
        """A user's state, by keys without their prefix."""
        return await self._load(_places(app_name, user_id)[State.USER_PREFIX])

    async def update(self, deltas: Mapping[str, Delta]) -> None:
        """Update states, by their workflows, that other sessions update, too, without losing any update."""
        for workflow, delta in deltas.items():
            while True:
                found = await self._checkpoints.find(workflow, FORMAT)
                state = delta if found is None else json.loads(found.data) | delta
                head = 0 if found is None else found.head_revision or None
                try:
                    await self._checkpoints.save(workflow, json.dumps(state).encode(), FORMAT, expected_revision=head)
                    break
                except RevisionConflictError:
                    continue

    async def _load(self, workflow: str) -> Delta:
        found = await self._checkpoints.find(workflow, FORMAT)
        return {} if found is None else json.loads(found.data)


def split(actions: EventActions, app_name: str, user_id: str) -> tuple[dict[str, Delta], Delta]:
    """What actions change in shared states, by their workflows, and in the session's own, as ADK's JSON has it."""
    delta = actions.model_dump(mode="json", include={"state_delta"})["state_delta"]
    places = _places(app_name, user_id)
    shared: dict[str, Delta] = {}
    own = {}
    for key, value in delta.items():
        prefix = next((each for each in places if key.startswith(each)), None)
        if prefix is not None:
            shared.setdefault(places[prefix], {})[key.removeprefix(prefix)] = value
        elif not key.startswith(State.TEMP_PREFIX):
            own[key] = value
    return shared, own


def _places(app_name: str, user_id: str) -> dict[str, str]:
    """The workflows of a session's shared states, by their keys' prefix."""
    return {State.APP_PREFIX: joined(_APP, app_name), State.USER_PREFIX: joined(_USER, app_name, user_id)}
