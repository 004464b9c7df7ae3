"""What the users of a soak know: which saves were acknowledged, which were sent, and what was let go since."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from hashlib import sha256

import holdfast

# What a call may end with while servers and stores are killed: it may be tried again, or its outcome is unknown.
PASSING = frozenset(
    {"STORE_UNAVAILABLE", "COMMIT_UNKNOWN", "DEADLINE_EXCEEDED", "SHUTTING_DOWN", "OVERLOADED", "SERVER_UNAVAILABLE"}
)


@dataclass(frozen=True)
class Acknowledged:
    """A save that was acknowledged: where it is, and what must be read there."""

    revision: int
    digest: bytes
    expires: bool


@dataclass
class Workflow:
    """What is known of a workflow.

    Attributes:
        acknowledged: by checkpoint id.
        sent: digests of everything that was sent, acknowledged or not.
        let_go: ids whose deletion was asked for.
        newest: the highest revision that was acknowledged.
        unknown: how many saves ended with nobody knowing whether they were committed.
        is_over: whether the deletion of the workflow was acknowledged.

    """

    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    sent: set[bytes] = field(default_factory=set)
    let_go: set[str] = field(default_factory=set)
    newest: int = 0
    unknown: int = 0
    is_over: bool = False


@dataclass
class Ledger:
    """All workflows by namespace and name, what calls ended with, and what broke a promise."""

    workflows: defaultdict[tuple[str, str], Workflow] = field(default_factory=lambda: defaultdict(Workflow))
    calls: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def send(self, where: tuple[str, str], data: bytes) -> bytes:
        """Note what is about to be sent; its digest."""
        digest = digest_of(data)
        self.workflows[where].sent.add(digest)
        return digest

    def acknowledge(self, where: tuple[str, str], saved: holdfast.Checkpoint, digest: bytes, *, expires: bool) -> None:
        """Note a save that was acknowledged."""
        workflow = self.workflows[where]
        earlier = workflow.acknowledged.get(saved.checkpoint_id)
        if earlier is not None:
            self.broken.append(f"{where}: {saved.checkpoint_id} was acknowledged twice: {earlier}, {saved}")
        workflow.acknowledged[saved.checkpoint_id] = Acknowledged(saved.revision, digest, expires)
        workflow.newest = max(workflow.newest, saved.revision)

    def fail(self, call: str, error: holdfast.HoldfastError, allowed: frozenset[str]) -> None:
        """Note a call that failed; what it must not fail with breaks a promise."""
        self.failures[error.reason] += 1
        if error.reason not in PASSING | allowed:
            self.broken.append(f"{call}: {error} {error.metadata}")


def digest_of(data: bytes) -> bytes:
    return sha256(data).digest()
