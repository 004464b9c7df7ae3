"""Where things lie in the store: the keys of layout 1.

Names are percent-encoded; a long one is replaced by its digest, and the marker holds the true name.
Revisions in the log are inverted, so that the newest lists first, and cut by slashes, so that on a
filesystem no folder grows past 4096 entries.
"""

from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote, unquote

LAYOUT_VERSION = 1
MANIFEST_KEY = "holdfast.json"
MAX_REVISION = 16**9 - 1

_LONGEST_NAME = 200
# Sorts behind every key below a workflow, since those begin with a letter.
BEHIND_ALL = "~"


@dataclass(frozen=True, slots=True)
class WorkflowKeys:
    """The keys of one workflow."""

    namespace: str
    workflow_id: str

    @property
    def prefix(self) -> str:
        """Where everything of the workflow lies."""
        return f"{namespace_prefix(self.namespace)}{encode_name(self.workflow_id)}/"

    @property
    def log(self) -> str:
        """Where its commit markers lie, newest first."""
        return f"{self.prefix}log/"

    def marker(self, revision: int) -> str:
        """The commit marker of a revision."""
        return f"{self.log}{_cut(MAX_REVISION - revision)}"

    def revision(self, key: str) -> int:
        """The revision of a commit marker's key.

        Raises:
            ValueError: the key is no commit marker's.

        """
        digits = key.removeprefix(self.log).replace("/", "")
        if len(digits) != 9:
            raise ValueError("not the key of a commit marker")
        return MAX_REVISION - int(digits, 16)

    def blob(self, relative: str) -> str:
        """A blob, by its key below the workflow's prefix."""
        return f"{self.prefix}{relative}"

    @property
    def blobs(self) -> str:
        """Where its blobs lie, those of the oldest uploads first."""
        return f"{self.prefix}blob/"

    def blobs_from(self, base_revision: int) -> str:
        """A key before those of the uploads that began at a revision or later, behind all others."""
        return f"{self.blobs}{_cut(base_revision)}"

    @property
    def claims(self) -> str:
        """Where its claims of chosen ids lie, those of the oldest generation first."""
        return f"{self.prefix}id/"

    def claims_of(self, generation: int) -> str:
        """Where the claims of a generation lie."""
        return f"{self.claims}{_cut(generation)}/"

    def claim(self, generation: int, checkpoint_id: str) -> str:
        """The prepare marker of a checkpoint id that a caller chose."""
        return f"{self.claims_of(generation)}{encode_name(checkpoint_id)}"


def namespace_prefix(namespace: str) -> str:
    """Where the workflows of a namespace lie."""
    return f"ns/{encode_name(namespace)}/wf/"


def behind_workflow(key: str, prefix: str) -> str:
    """A key behind all those of the workflow that `key` belongs to, before those of the next one."""
    return f"{prefix}{key.removeprefix(prefix).split('/', 1)[0]}/{BEHIND_ALL}"


def workflow_prefix(key: str) -> str:
    """The prefix of the workflow that a key below `ns/` belongs to."""
    return "/".join(key.split("/", 4)[:4]) + "/"


def workflow_of(prefix: str) -> WorkflowKeys | None:
    """The workflow whose prefix this is; None where a long name hides behind its digest."""
    namespace, workflow_id = (unquote(each) for each in prefix.split("/")[1:4:2])
    keys = WorkflowKeys(namespace, workflow_id)
    return keys if keys.prefix == prefix else None


def blob_base(relative: str) -> int:
    """The revision that the head had when a blob's upload began.

    Raises:
        ValueError: the key is no blob's.

    """
    digits = relative.removeprefix("blob/").partition("-")[0].replace("/", "")
    if len(digits) != 9:
        raise ValueError("not the key of a blob")
    return int(digits, 16)


def new_blob(base_revision: int, upload_id: str) -> str:
    """A fresh blob's key below its workflow's prefix."""
    return f"blob/{_cut(base_revision)}-{upload_id}"


def encode_name(name: str) -> str:
    """A name as one step of a key."""
    encoded = quote(name, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(encoded) <= _LONGEST_NAME:
        return encoded
    return f"~{sha256(name.encode()).hexdigest()}"


def _cut(revision: int) -> str:
    digits = f"{revision:09x}"
    return f"{digits[:3]}/{digits[3:6]}/{digits[6:]}"
