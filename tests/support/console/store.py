"""A store with everything that a page of the console can show, made through the SDK, the commands and real damage.

Usage, for a look at it: python -m tests.support.console.store FOLDER
"""

import json
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import holdfast
from holdfast.encryption import LocalKey

from tests.support import damage, folder_objects, servers
from tests.support.console import engines, hostile

# The namespaces.
BILLING = "billing"
AGENTS = "agents"
PAYLOADS = "payloads"
RETAINED = "retained"
VAULT = "vault"
# A reader of the other namespaces must not learn of this one.
PRIVATE = "team-b"

# The workflows that pages are tested with.
RICH = "invoice-run-2026-11"
PRUNED = "pruned-run"
COLLECTED = "collected-run"
DELETED = "deleted-run"
EXPIRED = "expired-run"
OLD_FORMAT = "old-format-run"
FENCED_ONLY = "waiting-run"
LEASED = "leased-run"
BY_SERVICE = "by-service-run"
DAMAGED_BLOB = "damaged-blob"
DAMAGED_MARKER = "damaged-marker"
DAMAGED_HEAD = "damaged-head"
ENCRYPTED = "patient-4711"
SECRET = b"blood group 0 negative"

STATE = holdfast.Format("invoice-state", 3)
OLD_STATE = holdfast.Format("invoice-state", 1)
LARGE_BYTES = 5 << 20
_LEASE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Filled:
    """A store, and what its servers need.

    Attributes:
        folder: the store.
        tokens_file: the file of tokens for a server.
        policy_file: a policy: the reader may read every namespace but `PRIVATE`, the operator everything.
        reader: the token of the reader.
        operator: the token of the operator.
        key: the key of the encrypted namespace.

    """

    folder: Path
    tokens_file: Path
    policy_file: Path
    reader: str
    operator: str
    key: Path

    @property
    def url(self) -> str:
        """The URL of the store."""
        return self.folder.as_uri()

    @property
    def trust_flags(self) -> tuple[str, ...]:
        """The flags of a server that requires tokens."""
        return ("--tokens-file", str(self.tokens_file), "--policy-file", str(self.policy_file))


_POLICY = f"""
[[policy]]
principals = ["token:operator"]
namespaces = ["*"]
verbs = ["read", "write", "fence", "delete", "admin"]

[[policy]]
principals = ["token:reader"]
namespaces = ["{BILLING}", "{AGENTS}", "{PAYLOADS}", "{RETAINED}", "{VAULT}"]
verbs = ["read"]
"""


def fill(folder: Path) -> Filled:
    """Make a store in a folder that does not exist, and the files of its servers beside it."""
    beside = folder.parent
    filled = Filled(
        folder,
        beside / "tokens",
        beside / "policy.toml",
        _token(beside / "tokens", "reader"),
        _token(beside / "tokens", "operator"),
        beside / "vault.key",
    )
    filled.policy_file.write_text(_POLICY)
    LocalKey.generate().write(str(filled.key))
    with holdfast.Client(filled.url, producer=("billing-worker", "4.2.0")) as client:
        _billing(client)
        _payloads(client)
        _hostile(client)
        client.save(PRIVATE, "payroll", b"{}", format=STATE)
    engines.run(filled.url, AGENTS)
    _vault(filled)
    _by_service(filled)
    servers.run("gc", "--store", filled.url, "--retention", json.dumps({RETAINED: {"keep_last": 2}}), check=True)
    with holdfast.Client(filled.url) as client:
        client.save(BILLING, EXPIRED, _state(1), format=STATE, checkpoint_id="brief", ttl=timedelta(milliseconds=1))
    _damage(folder)
    assert servers.run("fsck", "--store", filled.url).returncode == 1
    return filled


def _token(tokens_file: Path, name: str) -> str:
    return servers.run("token", "create", name, "--tokens-file", str(tokens_file), check=True).stdout.strip()


def _billing(client: holdfast.Client) -> None:
    _rich(client)
    for step in range(1, 9):
        _save(client, PRUNED, step)
        client.save(RETAINED, COLLECTED, _state(step), format=STATE, checkpoint_id=f"step-{step}")
    client.prune(BILLING, PRUNED, keep_last=3)
    client.save(RETAINED, "pinned-run", _state(1), format=STATE, checkpoint_id="kept", pinned=True)
    for step in range(1, 4):
        _save(client, DELETED, step)
        client.save(BILLING, OLD_FORMAT, b'{"total": 17}', format=OLD_STATE, checkpoint_id=f"step-{step}")
        for name in (DAMAGED_BLOB, DAMAGED_MARKER, DAMAGED_HEAD):
            client.save(BILLING, name, damage.long_text().encode(), format=STATE, checkpoint_id=f"step-{step}")
    client.delete_workflow(BILLING, DELETED)
    client.acquire_writer(BILLING, FENCED_ONLY)
    client.acquire_writer(BILLING, LEASED, holder="worker-7@host-b", lease=timedelta(days=30))
    for number in range(1, 26):
        client.save(BILLING, f"nightly-{number:02d}", _state(number), format=STATE, labels={"night": str(number)})


def _rich(client: holdfast.Client) -> None:
    """A run of three workers: the second forks from the middle, and one of its checkpoints is deleted."""
    worker = client.workflow(BILLING, RICH)
    worker.acquire_writer(holder="worker-1@host-a", lease=_LEASE)
    for step in range(1, 6):
        pinned = step == 1
        worker.save(_state(step), format=STATE, checkpoint_id=f"step-{step}", labels=_labels(step), pinned=pinned)
    worker.acquire_writer(holder="worker-2@host-b", lease=_LEASE, force=True)
    for attempt, parent in enumerate(["step-3", "fork-1", "fork-2"], 1):
        worker.save(_state(attempt + 3, "fork"), format=STATE, checkpoint_id=f"fork-{attempt}", parent_id=parent)
    worker.save(_state(9, "abandoned"), format=STATE, checkpoint_id="abandoned", parent_id="fork-1")
    client.delete(BILLING, RICH, "abandoned", epoch=worker.epoch)
    worker.acquire_writer(holder="worker-3@host-a", lease=_LEASE, force=True)
    worker.save(_state(7), format=STATE, checkpoint_id="step-7", parent_id="fork-3", labels=_labels(7))
    records = [holdfast.Record("task/charge", b'{"charged": true}'), holdfast.Record("task/mail", bytes(range(200)))]
    client.attach(BILLING, RICH, "step-7", records, epoch=worker.epoch)
    worker.save(_state(8), format=STATE, checkpoint_id="step-8", parent_id="step-7", labels=_labels(8))


def _save(client: holdfast.Client, workflow_id: str, step: int) -> None:
    parent = f"step-{step - 1}" if step > 1 else ""
    checkpoint_id = f"step-{step}"
    client.save(BILLING, workflow_id, _state(step), format=STATE, checkpoint_id=checkpoint_id, parent_id=parent)


def _state(step: int, branch: str = "main") -> bytes:
    lines = [{"customer": f"C-{number:04d}", "cents": number * 731 % 9000} for number in range(step * 4)]
    return json.dumps({"step": step, "branch": branch, "invoices": lines, "done": step > 7}).encode()


def _labels(step: int) -> dict[str, str]:
    return {"step": str(step), "region": "eu-central"}


def _payloads(client: holdfast.Client) -> None:
    for name, (format_name, data) in _bytes_of_each_kind().items():
        client.save(PAYLOADS, name, data, format=holdfast.Format(format_name, 1), checkpoint_id="only")
    client.save(PAYLOADS, "twice", b'{"a": 1, "gone": [1, 2]}', format=STATE, checkpoint_id="first")
    client.save(PAYLOADS, "twice", b'{"a": 2, "new": "<b>"}', format=STATE, checkpoint_id="second", parent_id="first")


def _bytes_of_each_kind() -> dict[str, tuple[str, bytes | Mapping[str, bytes]]]:
    noise = random.Random(17)
    rows = [{"row": number, "noise": noise.randbytes(20).hex()} for number in range(LARGE_BYTES // 65)]
    return {
        "json": ("json", json.dumps({"text": "ü", "null": None, "numbers": [1, 2.5, -3e100], "yes": True}).encode()),
        "json-hostile": ("json", json.dumps({hostile.SCRIPT: list(hostile.VALUES.values())}).encode()),
        "json-broken": ("json", b'{"cut": [1, 2'),
        "json-deep": ("json", b"[" * 5000 + b"]" * 5000),
        "json-large": ("json", json.dumps(rows).encode()),
        "msgpack": ("msgpack", b"\x83\xa4name\xa5order\xa5count\x11\xa4data\xc4\x04\x00\x01\x02\x03"),
        "msgpack-deep": ("msgpack", b"\x91" * 5000 + b"\xc0"),
        "msgpack-lying": ("msgpack", b"\xdd\xff\xff\xff\xff\x01"),
        "text": ("text", "Plain text, ünïcödé.\nA second line.\n".encode()),
        "text-hostile": ("text", "\n".join([*hostile.WORKFLOWS, *hostile.VALUES.values()]).encode()),
        "text-one-long-line": ("text", b"word " * 100_000),
        "binary": ("weights", noise.randbytes(3000)),
        "binary-large": ("weights", noise.randbytes(LARGE_BYTES)),
        "empty": ("nothing", b""),
        "parts": ("model", {"config.json": b'{"layers": 12}', "weights": noise.randbytes(100_000), "notes.txt": b"hm"}),
        "many-parts": ("model", {f"part-{number:03d}": b"x" * number for number in range(120)}),
        "hostile-parts": ("model", {hostile.MARKUP: b"1", hostile.TEMPLATE: b"2", hostile.EMOJI: b"3"}),
    }


def _hostile(client: holdfast.Client) -> None:
    for name in hostile.WORKFLOWS:
        short = name if len(name.encode()) <= 128 else name[:40]
        client.acquire_writer(hostile.NAMESPACE, name, holder=short, lease=_LEASE)
        epoch = client.acquire_writer(hostile.NAMESPACE, name, holder=hostile.MARKUP, lease=_LEASE, force=True).epoch
        for checkpoint_id, parent_id in ((short, ""), (f"{short}2", short)):
            client.save(
                hostile.NAMESPACE,
                name,
                b"<b>bold</b>",
                format=holdfast.Format(short[:60], 1),
                checkpoint_id=checkpoint_id,
                parent_id=parent_id,
                labels=hostile.VALUES,
                epoch=epoch,
            )
        records = [holdfast.Record(hostile.SCRIPT, hostile.VALUES["closing"].encode())]
        client.attach(hostile.NAMESPACE, name, short, records, epoch=epoch)


def _vault(filled: Filled) -> None:
    keyring = holdfast.Keyring(LocalKey.read(str(filled.key)))
    with holdfast.Client(filled.url, encryption=keyring) as client:
        run = client.workflow(VAULT, ENCRYPTED)
        for number in range(1, 4):
            run.save(SECRET, format=STATE, checkpoint_id=f"visit-{number}", labels={"visit": str(number)})


def _by_service(filled: Filled) -> None:
    """Save as a principal, through a server."""
    with (
        servers.server(filled.url, *filled.trust_flags) as target,
        holdfast.Client(target, token=filled.operator) as client,
    ):
        for step in range(1, 4):
            _save(client, BY_SERVICE, step)


def _damage(folder: Path) -> None:
    damage.damage(folder, folder_objects.keys(folder, f"ns/*/wf/{DAMAGED_BLOB}/blob/*")[-1])
    damage.damage(folder, folder_objects.keys(folder, f"ns/*/wf/{DAMAGED_MARKER}/log/*")[1])
    damage.damage_newest_marker(folder, DAMAGED_HEAD)


def main(folder: str) -> None:
    """Make the store, and print what a server needs."""
    filled = fill(Path(folder).absolute())
    sys.stdout.write(f"{filled.url} {' '.join(filled.trust_flags)}\nreader {filled.reader}\n")
    sys.stdout.write(f"operator {filled.operator}\n")


if __name__ == "__main__":
    main(sys.argv[1])
