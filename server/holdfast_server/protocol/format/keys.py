"""Where things lie in the store: the keys of layout 1.

Names are percent-encoded; a long one is replaced by its digest, and the marker holds the true name.
Revisions in the log are inverted, so that the newest lists first, and cut by slashes, so that on a
filesystem no folder grows past 4096 entries.

Whatever else lies there is somebody else's: a key counts as Holdfast's only where it is exactly what Holdfast makes.
"""

import re
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import quote, unquote

LAYOUT_VERSION = 1
MANIFEST_KEY = "holdfast.json"
MAX_REVISION = 16**9 - 1

_LONGEST_NAME = 200
_DIGEST = "~"
_NAME = rf"(?:[A-Za-z0-9_%-]{{1,{_LONGEST_NAME}}}|{_DIGEST}[0-9a-f]{{64}})"
_REVISION = r"[0-9a-f]{3}/[0-9a-f]{3}/[0-9a-f]{3}"
_SLOT = re.compile(_REVISION)
_BLOB = re.compile(rf"blob/({_REVISION})-[0-9a-f]{{32}}")
_CLAIM = re.compile(rf"{_REVISION}/{_NAME}")
_BATCH = re.compile(rf"rec/[0-9a-f]{{2}}/{_NAME}\.([0-9a-f]{{16}})-[0-9a-f]{{32}}")
_WORKFLOW = re.compile(rf"ns/({_NAME})/wf/({_NAME})/")
# What stands behind the prefix of a namespace.
_STEP = re.compile(rf"{_NAME}/")
# Sorts behind every key below a workflow, since those begin with a letter.
BEHIND_ALL = "~"


@dataclass(frozen=True, slots=True)
class WorkflowKeys:
    """The keys of one workflow.

    Attributes:
        namespace: the namespace.
        workflow_id: the workflow.
        prefix: where everything of it lies.
        log: where its commit markers lie, newest first.

    """

    namespace: str
    workflow_id: str
    prefix: str = field(init=False, compare=False)
    log: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Encode the names once: they go into every key."""
        object.__setattr__(self, "prefix", f"{namespace_prefix(self.namespace)}{encode_name(self.workflow_id)}/")
        object.__setattr__(self, "log", f"{self.prefix}log/")

    def marker(self, revision: int) -> str:
        """The commit marker of a revision."""
        return f"{self.log}{_cut(MAX_REVISION - revision)}"

    def revision(self, key: str) -> int | None:
        """The revision of a commit marker's key; None where the key is no commit marker's."""
        return slot(key.removeprefix(self.log)) if key.startswith(self.log) else None

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
        """The claim of a checkpoint id that a caller chose."""
        return f"{self.claims_of(generation)}{encode_name(checkpoint_id)}"

    def is_claim(self, key: str) -> bool:
        """Whether a key is that of a claim."""
        return key.startswith(self.claims) and _CLAIM.fullmatch(key, len(self.claims)) is not None

    @property
    def records(self) -> str:
        """Where its batches of records lie."""
        return f"{self.prefix}rec/"

    def batches(self, checkpoint_id: str) -> str:
        """What the keys of a checkpoint's batches of records begin with, the oldest batches first."""
        return f"{self.records}{records_of(checkpoint_id)}."

    def batch(self, checkpoint_id: str, stamp: int, request_id: str) -> str:
        """A batch of records."""
        return f"{self.batches(checkpoint_id)}{stamp:016x}-{sha256(request_id.encode()).hexdigest()[:32]}"


def namespace_prefix(namespace: str) -> str:
    """Where the workflows of a namespace lie."""
    return f"ns/{encode_name(namespace)}/wf/"


def prefixes_of(namespace: str, id_prefix: str) -> tuple[str, ...]:
    """Where those workflows lie whose ids begin with a text, in key order; those behind digests, all of them, last."""
    below = namespace_prefix(namespace)
    return (f"{below}{_escape(id_prefix)}", f"{below}{_DIGEST}") if id_prefix else (below,)


def slot(relative: str) -> int | None:
    """The revision of a commit marker's key below its log; None where the key is no commit marker's."""
    revision = MAX_REVISION - int(relative.replace("/", ""), 16) if _SLOT.fullmatch(relative) else 0
    return revision or None


def workflow_prefix(key: str) -> str | None:
    """The prefix of the workflow that a key belongs to; None where it belongs to none."""
    found = _WORKFLOW.match(key)
    return found and found[0]


def is_workflow_step(step: str) -> bool:
    """Whether this, behind the prefix of a namespace, is the prefix of a workflow."""
    return _STEP.fullmatch(step) is not None


def workflow_of(prefix: str) -> WorkflowKeys | None:
    """The workflow whose prefix this is; None where a long name hides behind its digest."""
    found = _WORKFLOW.fullmatch(prefix)
    keys = WorkflowKeys(unquote(found[1]), unquote(found[2])) if found else None
    return keys if keys is not None and keys.prefix == prefix else None


def blob_base(relative: str) -> int | None:
    """The revision that the head had when a blob's upload began; None where the key is no blob's."""
    found = _BLOB.fullmatch(relative)
    return int(found[1].replace("/", ""), 16) if found else None


def new_blob(base_revision: int, upload_id: str) -> str:
    """A fresh blob's key below its workflow's prefix."""
    return f"blob/{_cut(base_revision)}-{upload_id}"


def records_of(checkpoint_id: str) -> str:
    """What stands for a checkpoint in the keys of its records: spread by a digest, for the sake of folders."""
    return f"{sha256(checkpoint_id.encode()).hexdigest()[:2]}/{encode_name(checkpoint_id)}"


def batch_stamp(relative: str) -> int | None:
    """The stamp of a batch of records; None where the key is no batch's."""
    found = _BATCH.fullmatch(relative)
    return int(found[1], 16) if found else None


def batch_owner(relative: str) -> str:
    """What `records_of` makes of the checkpoint of a batch."""
    return relative.removeprefix("rec/").partition(".")[0]


def encode_name(name: str) -> str:
    """A name as one step of a key."""
    encoded = _escape(name)
    if len(encoded) <= _LONGEST_NAME:
        return encoded
    return f"{_DIGEST}{sha256(name.encode()).hexdigest()}"


def _escape(text: str) -> str:
    return quote(text, safe="").replace(".", "%2E").replace("~", "%7E")


def _cut(revision: int) -> str:
    digits = f"{revision:09x}"
    return f"{digits[:3]}/{digits[3:6]}/{digits[6:]}"
