"""The ledger of a soak's users: the saves that were sent, those that were acknowledged, and the deletions."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from hashlib import sha256

import holdfast

# Errors that are allowed while servers and stores are killed: the call can be retried, or its outcome is unknown.
PASSING = frozenset(
    {"STORE_UNAVAILABLE", "COMMIT_UNKNOWN", "DEADLINE_EXCEEDED", "SHUTTING_DOWN", "OVERLOADED", "SERVER_UNAVAILABLE"}
)


@dataclass(frozen=True)
class Acknowledged:
    """A save that was acknowledged: its revision and the digest of its payload."""

    revision: int
    digest: bytes
    expires: bool


@dataclass
class Workflow:
    """The known facts about a workflow.

    Attributes:
        acknowledged: the acknowledged saves, by checkpoint id.
        sent: the digests of all payloads that were sent.
        let_go: the ids whose deletion was requested.
        newest: the highest acknowledged revision.
        unknown: the number of saves with an unknown outcome.
        is_over: whether a deletion of the workflow was acknowledged.

    """

    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    sent: set[bytes] = field(default_factory=set)
    let_go: set[str] = field(default_factory=set)
    newest: int = 0
    unknown: int = 0
    is_over: bool = False


@dataclass
class Ledger:
    """All workflows by namespace and name, the errors of calls, and the broken promises."""

    workflows: defaultdict[tuple[str, str], Workflow] = field(default_factory=lambda: defaultdict(Workflow))
    calls: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def send(self, where: tuple[str, str], data: bytes) -> bytes:
        """Note a payload before it is sent. Return its digest."""
        digest = digest_of(data)
        self.workflows[where].sent.add(digest)
        return digest

    def acknowledge(self, where: tuple[str, str], saved: holdfast.Checkpoint, digest: bytes, *, expires: bool) -> None:
        """Note an acknowledged save."""
        workflow = self.workflows[where]
        earlier = workflow.acknowledged.get(saved.checkpoint_id)
        if earlier is not None:
            self.broken.append(f"{where}: {saved.checkpoint_id} was acknowledged twice: {earlier}, {saved}")
        workflow.acknowledged[saved.checkpoint_id] = Acknowledged(saved.revision, digest, expires)
        workflow.newest = max(workflow.newest, saved.revision)

    def fail(self, call: str, error: holdfast.HoldfastError, allowed: frozenset[str]) -> None:
        """Note a failed call. An error that is not allowed is a broken promise."""
        self.failures[error.reason] += 1
        if error.reason not in PASSING | allowed:
            self.broken.append(f"{call}: {error} {error.metadata}")


def digest_of(data: bytes) -> bytes:
    return sha256(data).digest()
