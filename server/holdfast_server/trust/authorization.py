"""Authorization: lets a call run only if the policy gives its principal what the call needs in its namespace."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.trust import policy as policies
from holdfast_server.trust.patterns import ANYTHING
from holdfast_server.trust.policy import Policy
from holdfast_server.trust.principal import Principal
from holdfast_server.trust.verbs import Verb, needed
from holdfast_server.trust.watched_file import watched


class Current(Protocol):
    """The policy in effect, as the value of a watched file."""

    @property
    def value(self) -> Policy: ...

    def on_change(self, listener: Callable[[], None]) -> None: ...


class Authorization:
    """Decides what principals may do. Every decision is made by the policy that is in effect at that moment.

    Args:
        current: the policy; None if every principal has all rights.

    Attributes:
        is_on: whether there is a policy.

    """

    def __init__(self, current: Current | None = None) -> None:
        self._current = current
        self.is_on = current is not None

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a function whenever the policy has changed. It must not raise."""
        if self._current is not None:
            self._current.on_change(listener)

    def require(self, principal: Principal, method: str, request: Any, namespace: str) -> None:
        """Refuse a call that its principal may not make. Nothing of the store takes part in the decision.

        Args:
            principal: the caller.
            method: the method's name.
            request: the request, or the first message of a stream.
            namespace: the namespace, exactly as it becomes a part of keys.

        Raises:
            HoldfastError: PERMISSION_DENIED.

        """
        verbs = needed(method, request)
        if self._current is None or not verbs:
            return
        given = self._current.value.verbs_of(principal.identities, namespace)
        for verb in verbs:
            if verb is Verb.ADMIN:
                self.require_admin(principal)
            elif verb not in given:
                raise HoldfastError(
                    Reason.PERMISSION_DENIED,
                    f"{principal.name!r} has no right to {verb} in namespace {namespace!r}",
                    principal=principal.name,
                    verb=verb,
                    namespace=namespace,
                )

    def readable(self, principal: Principal) -> frozenset[str]:
        """Return the patterns of the namespaces that a principal may read."""
        if self._current is None:
            return frozenset({ANYTHING})
        return self._current.value.namespaces_of(principal.identities, Verb.READ)

    def require_admin(self, principal: Principal) -> None:
        """Refuse what concerns the whole server to a principal that is not an administrator.

        Raises:
            HoldfastError: PERMISSION_DENIED.

        """
        if self._current is not None and not self._current.value.is_admin(principal.identities):
            raise HoldfastError(
                Reason.PERMISSION_DENIED,
                f"{principal.name!r} has no right to {Verb.ADMIN}",
                principal=principal.name,
                verb=Verb.ADMIN,
            )


@asynccontextmanager
async def authorizing(policy_file: str) -> AsyncIterator[Authorization]:
    """Read the policy, and again whenever its file changes while the block runs.

    Args:
        policy_file: the file; "" if every principal has all rights.

    Raises:
        InvalidFileError: the file cannot be read or is not a policy.

    """
    if not policy_file:
        yield Authorization()
        return
    async with watched(policy_file, policies.parse, setting="policy_file") as file:
        yield Authorization(file)
