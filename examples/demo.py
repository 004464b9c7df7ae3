"""The demonstration: a workflow is killed twice, resumed, and ends with the very bytes of an undisturbed run.

Then its newest checkpoint is damaged on disk, and a checkpoint of an old format version is met.
"""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import holdfast

from examples.word_statistics import FORMAT, NAMESPACE, encode, migrations

INPUT = Path(__file__).resolve().parent.parent / "LICENSE"


def main() -> None:
    """Run the demonstration; exits with 1 where it does not come out right."""
    with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as name:
        folder = Path(name)
        with server(folder / "store") as target:
            kill_and_resume(target, folder)
        damage_newest(folder / "store")
        # A running server still has the marker in memory, which never changes; a fresh one reads it.
        with server(folder / "store") as target:
            fall_back(target)
            migrate(target)
    print("\nAll as promised.")


@contextmanager
def server(store: Path) -> Iterator[str]:
    """A server on a folder, in a process of its own."""
    command = [sys.executable, "-m", "holdfast_server.main", "serve", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen([*command, "--store", store.as_uri()], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit("the server did not start")
        told = json.loads(line)
        print(told["message"])
        yield told["address"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def kill_and_resume(target: str, folder: Path) -> None:
    """Kill the workflow with SIGKILL in mid-run, twice, and compare its result with that of a calm run."""
    print("\n1. An undisturbed run")
    run(target, "calm", folder / "calm.json")
    print("\n2. The same, killed with SIGKILL twice")
    for step in (17, 41):
        run(target, "killed", folder / "killed.json", kill_at=step)
    run(target, "killed", folder / "killed.json")
    same = (folder / "calm.json").read_bytes() == (folder / "killed.json").read_bytes()
    print(f"   the results are {'the same, byte for byte' if same else 'DIFFERENT'}")
    if not same:
        sys.exit(1)


def run(target: str, workflow_id: str, output: Path, kill_at: int | None = None) -> None:
    """Run the workflow in a process of its own, and kill it when it says that it has done a step."""
    command = [sys.executable, "-m", "examples.word_statistics", target, workflow_id, str(INPUT), str(output)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if not line.startswith("step"):
            print(f"   {line.strip()}")
        if line.strip() == f"step {kill_at}":
            process.kill()
            print(f"   killed at {line.strip()}")
            break
    process.wait()
    process.stdout.close()
    if kill_at is None and process.returncode != 0:
        sys.exit("the workflow failed")


def damage_newest(store: Path) -> None:
    """Flip a byte of the newest checkpoint on disk."""
    print("\n3. The newest checkpoint is damaged on disk")
    newest = min((store / "ns" / NAMESPACE / "wf" / "killed" / "log").rglob("*/*/*"))
    damaged = bytearray(newest.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    newest.write_bytes(damaged)


def fall_back(target: str) -> None:
    """Resume from the damaged checkpoint, without fallback and with it."""
    with holdfast.Client(target) as client:
        try:
            client.resume(NAMESPACE, "killed", format=FORMAT)
            sys.exit("the damage was not noticed")
        except holdfast.CheckpointCorruptedError as error:
            print(f"   without fallback: {error}")
        loaded = client.resume(NAMESPACE, "killed", format=FORMAT, fallback=True)
        step = json.loads(loaded.data)["step"]
        print(f"   with fallback: revision {loaded.revision}, step {step}, fell_back={loaded.fell_back}")
        for skipped in loaded.skipped:
            print(f"   passed over revision {skipped.revision}: {skipped.message}")
        if not loaded.fell_back:
            sys.exit(1)


def migrate(target: str) -> None:
    """Resume from a checkpoint of an old format version, without and with its migration."""
    print("\n4. A checkpoint of an old format version")
    old = {"step": 3, "hash": "abc", "words": {}, "pairs": {}}
    with holdfast.Client(target) as client:
        client.save(NAMESPACE, "old", encode(old), format=holdfast.Format("word-statistics", 1))
        try:
            client.resume(NAMESPACE, "old", format=FORMAT)
            sys.exit("the old format was not noticed")
        except holdfast.FormatIncompatibleError as error:
            print(f"   without a migration: {error}")
        loaded = client.resume(NAMESPACE, "old", format=FORMAT, migrations=migrations)
        print(f"   migrated from version {loaded.migrated_from.version} to {loaded.format.version}: {loaded.data!r}")
        if json.loads(loaded.data)["chain"] != "abc":
            sys.exit(1)


if __name__ == "__main__":
    main()
