"""A store to look at in the console: finished and damaged runs, a fork, a deletion, an old format.

The store is a temporary folder, which is removed when the console ends. Port 7434, or that of the first argument.
"""

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import holdfast

from examples.demo import flip_newest
from examples.word_statistics import FORMAT, NAMESPACE

_SERVER = [sys.executable, "-m", "holdfast_server.main"]
_STEPS = 12


def main() -> None:
    """Make the store, and serve its console until Ctrl-C."""
    # Both signals remove the folder.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    port = sys.argv[1] if len(sys.argv) > 1 else "7434"
    with tempfile.TemporaryDirectory(prefix="holdfast-console-") as name:
        store = Path(name) / "store"
        make(store)
        # They leave their reports in the store. The check exits with 1, since it finds the damage.
        for check in ("gc", "fsck"):
            subprocess.run([*_SERVER, check, "--store", store.as_uri()], capture_output=True, check=False)
        command = [*_SERVER, "console", "--target", store.as_uri()]
        command += ["--listen", f"127.0.0.1:{port}", "--allow-changes"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                if not line:
                    sys.exit(process.wait())
                print(f"Open {json.loads(line)['url']} in a browser. Ctrl-C ends it and removes the store.", flush=True)
                process.wait()
            except KeyboardInterrupt:
                process.terminate()


def make(store: Path) -> None:
    """Make the store."""
    with holdfast.Client(store.as_uri()) as client:
        for workflow_id in ("finished", "damaged", "forked"):
            run(client, workflow_id)
        half = client.load(NAMESPACE, "forked", checkpoint_id(_STEPS // 2))
        for step in range(_STEPS // 2 + 1, _STEPS + 1):
            client.save(
                NAMESPACE,
                "forked",
                state(step, words=7),
                format=FORMAT,
                checkpoint_id=f"other-{step:02}",
                parent_id=half.checkpoint_id if step == _STEPS // 2 + 1 else f"other-{step - 1:02}",
                labels={"branch": "other"},
            )
        run(client, "deleted")
        client.delete_workflow(NAMESPACE, "deleted")
        writer = client.acquire_writer(NAMESPACE, "finished")
        client.save(NAMESPACE, "finished", state(_STEPS + 1), format=FORMAT, epoch=writer.epoch)
        client.save(NAMESPACE, "old-format", state(3), format=holdfast.Format(FORMAT.name, 1))
    flip_newest(store, "damaged")


def run(client: holdfast.Client, workflow_id: str) -> None:
    """Save every step of a run."""
    for step in range(1, _STEPS + 1):
        client.save(
            NAMESPACE,
            workflow_id,
            state(step),
            format=FORMAT,
            checkpoint_id=checkpoint_id(step),
            parent_id=checkpoint_id(step - 1) if step > 1 else None,
            labels={"step": str(step)},
        )


def checkpoint_id(step: int) -> str:
    """Return the id of a step's checkpoint."""
    return f"step-{step:02}"


def state(step: int, words: int = 5) -> bytes:
    """Return the state after a step."""
    counts = {f"word-{number}": number * step for number in range(words * step)}
    return json.dumps({"step": step, "words": counts}, indent=1).encode()


if __name__ == "__main__":
    main()
