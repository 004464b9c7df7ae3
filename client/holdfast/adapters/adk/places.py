"""Workflows of sessions and of the states that they share, by ADK's names for them."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from google.adk.sessions import Session, State

from holdfast._core.checkpoint import WorkflowInfo
from holdfast._core.errors import of_reason
from holdfast.adapters.adk.values import Json, shown
from holdfast.adapters.ids import joined
from holdfast.adapters.ids import split as split_name

_SESSION, _APP, _USER = "adk-session", "adk-app", "adk-user"
# In the id of a session's workflow: what it is, the app, the user, the session.
_NAMES = 4


@dataclass(frozen=True, slots=True)
class Place:
    """The workflows of a session.

    Attributes:
        workflow: its own.
        shared: those of the states that it shares, by the prefix of their keys.

    """

    workflow: str
    shared: dict[str, str]

    def split(self, changes: Json) -> tuple[dict[str, Json], Json]:
        """Return changes of shared states, by their workflows, and those of the session's own."""
        shared: dict[str, Json] = {}
        own = {}
        for key, value in changes.items():
            prefix = next((each for each in self.shared if key.startswith(each)), None)
            if prefix is None:
                own[key] = value
            else:
                shared.setdefault(self.shared[prefix], {})[key.removeprefix(prefix)] = value
        return shared, own

    def change_id(self, checkpoint_id: str) -> str:
        """Return the id of the change that a checkpoint of the session makes to shared states."""
        return sha256(f"{self.workflow}\n{checkpoint_id}".encode()).hexdigest()


def place_of(app_name: Any, user_id: Any, session_id: Any) -> Place:
    """Return the place of a session.

    Raises:
        InvalidRequestError: a name is not a string, or not Unicode text.

    """
    app, user = required("app_name", app_name), required("user_id", user_id)
    return Place(joined(_SESSION, app, user, required("session_id", session_id)), shared_workflows(app, user))


def prefix_of(app_name: Any, user_id: Any) -> str:
    """Return the prefix of the sessions' workflows of an app, or of one of its users.

    Raises:
        InvalidRequestError: a name is not a string, or not Unicode text.

    """
    users = () if user_id is None else (required("user_id", user_id),)
    return joined(_SESSION, required("app_name", app_name), *users, "")


def shared_workflows(app_name: str, user_id: str) -> dict[str, str]:
    """Return the workflows of the states of an app and a user, by the prefix of their keys."""
    return {State.APP_PREFIX: joined(_APP, app_name), State.USER_PREFIX: joined(_USER, app_name, user_id)}


def listed(found: WorkflowInfo) -> tuple[Place, Session] | None:
    """Return the place of a session by its workflow, and as much of the session as the workflow's head says.

    None if the workflow is not one of a session, though its id begins like one.
    """
    names = split_name(found.workflow_id)
    if len(names) != _NAMES or joined(*names) != found.workflow_id:
        return None
    _, app_name, user_id, session_id = names
    session = Session(id=session_id, app_name=app_name, user_id=user_id, last_update_time=found.updated.timestamp())
    return Place(found.workflow_id, shared_workflows(app_name, user_id)), session


def required(field: str, name: Any) -> str:
    """Return a name.

    Raises:
        InvalidRequestError: it is not a string, or not Unicode text.

    """
    if not isinstance(name, str):
        problem = f"expected a string, not {type(name).__name__!r}"
    elif any("\ud800" <= each <= "\udfff" for each in name):
        problem = f"expected Unicode text, not {shown(name)}"
    else:
        return name
    raise of_reason("INVALID_REQUEST", f"{field}: {problem}", field_violations=[(field, problem)])
