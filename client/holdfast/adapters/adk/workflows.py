"""The workflows of sessions and of the states that they share, named by ADK's names."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from google.adk.sessions import Session, State

from holdfast._core.checkpoint import WorkflowInfo
from holdfast._core.errors import of_reason
from holdfast.adapters.adk.values import Json, shown
from holdfast.adapters.ids import joined, split

_SESSION, _APP, _USER = "adk-session", "adk-app", "adk-user"
# The id of a session's workflow consists of "adk-session", the app, the user and the session.
_NAMES = 4


@dataclass(frozen=True, slots=True)
class SessionWorkflows:
    """The workflows of a session.

    Attributes:
        own: the workflow of its events and of its own state.
        shared: the workflows of the states that it shares, by the prefix of their keys.

    """

    own: str
    shared: dict[str, str]

    def split(self, changes: Json) -> tuple[dict[str, Json], Json]:
        """Return the changes of shared states, by their workflows, and those of the session's own state."""
        shared: dict[str, Json] = {}
        own = {}
        for key, value in changes.items():
            prefix = next((prefix for prefix in self.shared if key.startswith(prefix)), None)
            if prefix is None:
                own[key] = value
            else:
                shared.setdefault(self.shared[prefix], {})[key.removeprefix(prefix)] = value
        return shared, own

    def change_id(self, checkpoint_id: str) -> str:
        """Return the id of the change that a checkpoint of the session makes to shared states."""
        return sha256(f"{self.own}\n{checkpoint_id}".encode()).hexdigest()


def session_workflows(app_name: Any, user_id: Any, session_id: Any) -> SessionWorkflows:
    """Return the workflows of a session.

    Raises:
        InvalidRequestError: a name is not a string, or not Unicode text.

    """
    app, user = checked_name("app_name", app_name), checked_name("user_id", user_id)
    own = joined(_SESSION, app, user, checked_name("session_id", session_id))
    return SessionWorkflows(own, shared_workflows(app, user))


def session_prefix(app_name: Any, user_id: Any) -> str:
    """Return what the ids of the workflows of an app's sessions, or of one user's sessions, begin with.

    Args:
        app_name: the app.
        user_id: the user; None for all users.

    Raises:
        InvalidRequestError: a name is not a string, or not Unicode text.

    """
    users = () if user_id is None else (checked_name("user_id", user_id),)
    return joined(_SESSION, checked_name("app_name", app_name), *users, "")


def shared_workflows(app_name: str, user_id: str) -> dict[str, str]:
    """Return the workflows of the states of an app and of a user, by the prefix of their keys."""
    return {State.APP_PREFIX: joined(_APP, app_name), State.USER_PREFIX: joined(_USER, app_name, user_id)}


def listed_session(found: WorkflowInfo) -> tuple[SessionWorkflows, Session] | None:
    """Return the workflows of a listed session, and a session object with its ids and the time of its newest entry.

    Args:
        found: a workflow whose id begins like the id of a session's workflow.

    Returns:
        None if it is not the workflow of a session.

    """
    names = split(found.workflow_id)
    if len(names) != _NAMES or joined(*names) != found.workflow_id:
        return None
    _, app_name, user_id, session_id = names
    session = Session(id=session_id, app_name=app_name, user_id=user_id, last_update_time=found.updated.timestamp())
    return SessionWorkflows(found.workflow_id, shared_workflows(app_name, user_id)), session


def checked_name(field: str, name: Any) -> str:
    """Return a name if it is a valid one.

    Args:
        field: what the error calls it.
        name: the name.

    Raises:
        InvalidRequestError: it is not a string, or not Unicode text.

    """
    if not isinstance(name, str):
        problem = f"expected a string, not {type(name).__name__!r}"
    elif any("\ud800" <= character <= "\udfff" for character in name):
        problem = f"expected Unicode text, not {shown(name)}"
    else:
        return name
    raise of_reason("INVALID_REQUEST", f"{field}: {problem}", field_violations=[(field, problem)])
