"""The keys of layout 1: one place in the store for every object.

Names are percent-encoded. A long name is replaced by its digest, and the marker holds the name itself. The revisions in
the keys of markers are inverted, so that the newest one is listed first, and divided by slashes, so that no folder of a
file system has more than 4096 members.

An object counts as Holdfast's only if its key is exactly one that this module makes. All others are foreign objects.
"""

import re
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import quote, unquote

LAYOUT_VERSION = 1
MANIFEST_KEY = "holdfast.json"
# The reports of the last collection and of the last check. No walk over the workflows of a store meets them.
COLLECTION_REPORT = "report/gc"
CHECK_REPORT = "report/fsck"
REPORTS = (COLLECTION_REPORT, CHECK_REPORT)
MAX_REVISION = 16**9 - 1

_LONGEST_NAME = 200
_BLOBS = "blob/"
# What a step begins with that holds a digest in place of a name.
DIGEST = "~"
_NAME = rf"(?:[A-Za-z0-9_%-]{{1,{_LONGEST_NAME}}}|{DIGEST}[0-9a-f]{{64}})"
_REVISION = r"[0-9a-f]{3}/[0-9a-f]{3}/[0-9a-f]{3}"
_MARKER = re.compile(_REVISION)
_BLOB = re.compile(rf"blob/({_REVISION})-[0-9a-f]{{32}}")
_CLAIM = re.compile(rf"({_REVISION})/{_NAME}")
_INDEX = re.compile(rf"idx/({_REVISION})-([0-9a-f]{{9}})")
_BATCH = re.compile(rf"rec/[0-9a-f]{{2}}/{_NAME}\.([0-9a-f]{{16}})-([0-9a-f]{{32}})")
_KINDS = (re.compile(rf"log/{_REVISION}"), re.compile(rf"id/{_REVISION}/{_NAME}"), _BLOB, _INDEX, _BATCH)
_WORKFLOW = re.compile(rf"ns/({_NAME})/wf/({_NAME})/")
# The prefix of a workflow without that of its namespace.
_STEP = re.compile(rf"{_NAME}/")
# Sorts after every key of a workflow, since all of them continue its prefix with a letter.
AFTER_ALL = "~"


@dataclass(frozen=True, slots=True)
class WorkflowKeys:
    """The keys of one workflow.

    Attributes:
        namespace: the namespace.
        workflow_id: the workflow.
        prefix: what all keys of the workflow begin with.
        log: what the keys of its commit markers begin with; the newest one is listed first.

    """

    namespace: str
    workflow_id: str
    prefix: str = field(init=False, compare=False)
    log: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Encode the names once, since every key contains them."""
        object.__setattr__(self, "prefix", f"{namespace_prefix(self.namespace)}{encode_name(self.workflow_id)}/")
        object.__setattr__(self, "log", f"{self.prefix}log/")

    def marker(self, revision: int) -> str:
        """Return the key of the commit marker of a revision."""
        return f"{self.log}{_cut(MAX_REVISION - revision)}"

    def revision(self, key: str) -> int | None:
        """Return the revision of a commit marker's key; None if the key is not that of a commit marker."""
        return revision_of(key.removeprefix(self.log)) if key.startswith(self.log) else None

    def blob(self, relative: str) -> str:
        """Return the key of a blob from its key relative to the workflow's prefix."""
        return f"{self.prefix}{relative}"

    @property
    def blobs(self) -> str:
        """What the keys of its blobs begin with; those of the oldest uploads are listed first."""
        return f"{self.prefix}{_BLOBS}"

    def blobs_from(self, base_revision: int) -> str:
        """Return a key between the blobs of uploads that began before a revision and all later ones."""
        return f"{self.blobs}{_cut(base_revision)}"

    @property
    def claims(self) -> str:
        """What the keys of its claims begin with; those of the oldest generation are listed first."""
        return f"{self.prefix}id/"

    def claims_of(self, generation: int) -> str:
        """Return what the keys of the claims of a generation begin with."""
        return f"{self.claims}{_cut(generation)}/"

    def claim(self, generation: int, checkpoint_id: str) -> str:
        """Return the key of the claim of a checkpoint id that a caller chose."""
        return f"{self.claims_of(generation)}{encode_name(checkpoint_id)}"

    def is_claim(self, key: str) -> bool:
        """Return whether a key is that of a claim."""
        return self.generation(key) is not None

    def generation(self, key: str) -> int | None:
        """Return the generation of a claim's key; None if the key is not that of a claim."""
        found = _CLAIM.fullmatch(key, len(self.claims)) if key.startswith(self.claims) else None
        return int(found[1].replace("/", ""), 16) if found else None

    @property
    def indexes(self) -> str:
        """What the keys of its index of ids begin with; the objects with the oldest ends are listed first."""
        return f"{self.prefix}idx/"

    def index(self, first: int, last: int) -> str:
        """Return the key of the object that indexes the ids of a range of revisions."""
        return f"{self.indexes}{_cut(last)}-{first:09x}"

    @property
    def records(self) -> str:
        """What the keys of its batches of records begin with."""
        return f"{self.prefix}rec/"

    def batches(self, checkpoint_id: str) -> str:
        """Return what the keys of a checkpoint's batches of records begin with; the oldest is listed first."""
        return f"{self.records}{records_of(checkpoint_id)}."

    def batch(self, checkpoint_id: str, stamp: int, request: str) -> str:
        """Return the key of a batch of records. The request is the result of `request_digest`."""
        return f"{self.batches(checkpoint_id)}{stamp:016x}-{request}"


def namespace_prefix(namespace: str) -> str:
    """Return what the prefixes of the workflows of a namespace begin with."""
    return f"ns/{encode_name(namespace)}/wf/"


def namespace_of_prefix(prefix: str) -> str:
    """Return the prefix of the namespace of a workflow, by the workflow's prefix."""
    return "".join(f"{step}/" for step in prefix.split("/")[:3])


def place_of_namespace(namespace: str) -> str:
    """Return what all keys of a namespace begin with."""
    return f"ns/{encode_name(namespace)}/"


def places_of_namespaces(beginning: str) -> tuple[str, ...]:
    """Return the key prefixes, in key order, that cover the namespaces that begin with a text.

    The last one covers all namespaces that are replaced by digests, since those do not show how a name begins.
    """
    return (f"ns/{_escape(beginning)}", f"ns/{DIGEST}") if beginning else ("ns/",)


def namespace_step(key: str) -> str:
    """Return the step that stands for the namespace in a key of a workflow; "" in any other key."""
    found = _WORKFLOW.match(key)
    return found[1] if found else ""


def namespace_named(step: str) -> str | None:
    """Return the namespace of a step; None if no namespace has this step, or if it is a digest."""
    name = unquote(step)
    return name if encode_name(name) == step else None


def prefixes_of(namespace: str, id_prefix: str) -> tuple[str, ...]:
    """Return the key prefixes, in key order, that cover the workflows whose ids begin with a text.

    The last one covers all workflows whose ids are replaced by digests, since those do not show how an id begins.
    """
    below = namespace_prefix(namespace)
    return (f"{below}{_escape(id_prefix)}", f"{below}{DIGEST}") if id_prefix else (below,)


def revision_of(relative: str) -> int | None:
    """Return the revision of a commit marker from its key relative to the log; None if it is not that of a marker."""
    revision = MAX_REVISION - int(relative.replace("/", ""), 16) if _MARKER.fullmatch(relative) else 0
    return revision or None


def workflow_prefix(key: str) -> str | None:
    """Return the prefix of the workflow that a key belongs to; None if it belongs to none."""
    found = _WORKFLOW.match(key)
    return found and found[0]


def has_mac(key: str) -> bool:
    """Return whether an object with a key has a MAC in a store with keys.

    All objects of a workflow but its blobs have one, and so have the reports.
    """
    prefix = workflow_prefix(key)
    return key in REPORTS if prefix is None else not key.startswith(_BLOBS, len(prefix))


def is_ours(key: str) -> bool:
    """Return whether a key is exactly one of an object of a workflow."""
    prefix = workflow_prefix(key)
    relative = "" if prefix is None else key.removeprefix(prefix)
    return any(kind.fullmatch(relative) is not None for kind in _KINDS)


def is_workflow_step(step: str) -> bool:
    """Return whether a namespace's prefix and this step form the prefix of a workflow."""
    return _STEP.fullmatch(step) is not None


def workflow_of(prefix: str) -> WorkflowKeys | None:
    """Return the workflow with a prefix; None if the prefix has a digest in place of a name."""
    found = _WORKFLOW.fullmatch(prefix)
    keys = WorkflowKeys(unquote(found[1]), unquote(found[2])) if found else None
    return keys if keys is not None and keys.prefix == prefix else None


def blob_base(relative: str) -> int | None:
    """Return the revision of the head when a blob's upload began; None if the key is not that of a blob."""
    found = _BLOB.fullmatch(relative)
    return int(found[1].replace("/", ""), 16) if found else None


def index_range(relative: str) -> tuple[int, int] | None:
    """Return the first and last revision of an object of the index of ids; None if the key is not that of one."""
    found = _INDEX.fullmatch(relative)
    if found is None:
        return None
    first, last = int(found[2], 16), int(found[1].replace("/", ""), 16)
    return (first, last) if 0 < first <= last else None


def new_blob(base_revision: int, upload_id: str) -> str:
    """Return the key of a new blob, relative to its workflow's prefix."""
    return f"blob/{_cut(base_revision)}-{upload_id}"


def records_of(checkpoint_id: str) -> str:
    """Return what identifies a checkpoint in the keys of its records, spread over folders by a digest."""
    return f"{sha256(checkpoint_id.encode()).hexdigest()[:2]}/{encode_name(checkpoint_id)}"


def request_digest(request_id: str) -> str:
    """Return what identifies a request in the key of its batch of records."""
    return sha256(request_id.encode()).hexdigest()[:32]


def batch_request(relative: str) -> str:
    """Return the result of `request_digest` for the request of a batch; "" if the key is not that of a batch."""
    found = _BATCH.fullmatch(relative)
    return found[2] if found else ""


def batch_stamp(relative: str) -> int | None:
    """Return the stamp of a batch of records; None if the key is not that of a batch."""
    found = _BATCH.fullmatch(relative)
    return int(found[1], 16) if found else None


def batch_owner(relative: str) -> str:
    """Return the result of `records_of` for the checkpoint of a batch."""
    return relative.removeprefix("rec/").partition(".")[0]


def encode_name(name: str) -> str:
    """Return a name as one step of a key."""
    encoded = _escape(name)
    if len(encoded) <= _LONGEST_NAME:
        return encoded
    return f"{DIGEST}{sha256(name.encode()).hexdigest()}"


def _escape(text: str) -> str:
    return quote(text, safe="").replace(".", "%2E").replace("~", "%7E")


def _cut(revision: int) -> str:
    digits = f"{revision:09x}"
    return f"{digits[:3]}/{digits[3:6]}/{digits[6:]}"
