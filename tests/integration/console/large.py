"""A large store, written in seconds: many workflows, and one with a long history.

Usage, for a look at it: python -m tests.integration.console.large FOLDER
"""

import sys
from pathlib import Path

from holdfast_server.layout.v1.marker_pb2 import Marker
from holdfast_server.protocol.format.keys import WorkflowKeys

from tests.verification.scale.fake import Fake, writing

NAMESPACE = "large"
LONG = "long-history"
WORKFLOWS = 10_000
REVISIONS = 100_000


class _Run(Fake):
    """A workflow whose checkpoints form a chain."""

    def commit(self, marker: Marker) -> None:
        if self.head is not None:
            marker.parent_id = self.head.marker.checkpoint_id
        marker.labels["step"] = str(marker.revision)
        super().commit(marker)


def name_of(number: int) -> str:
    """Return the name of one of the many workflows."""
    return f"run-{number:05d}"


def fill(folder: Path, *, workflows: int = WORKFLOWS, revisions: int = REVISIONS) -> None:
    """Write the store into a folder that does not exist."""
    with writing(folder) as rows:
        for number in range(workflows):
            run = _Run(rows, WorkflowKeys(NAMESPACE, name_of(number)))
            run.save()
        run = _Run(rows, WorkflowKeys(NAMESPACE, LONG))
        for _ in range(revisions):
            run.save()


if __name__ == "__main__":
    fill(Path(sys.argv[1]).absolute())
