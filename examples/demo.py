"""The demonstration: a workflow whose process is killed twice ends with the same bytes as an undisturbed run.

Then its newest checkpoint is damaged on disk, and a checkpoint of an old format version is resumed.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

import holdfast

from examples.word_statistics import FORMAT, NAMESPACE, STEPS, encode, migrations

INPUT = Path(__file__).resolve().parent.parent / "LICENSE"
KILLED_AFTER = (17, 41)

_BOLD, _DIM, _RED, _GREEN, _PLAIN = "\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[0m"


class DemoError(Exception):
    """A result that is not the promised one."""


def main() -> None:
    """Run the demonstration. Exit with 1 if a result is not the promised one."""
    started = time.monotonic()
    descriptor, log_name = tempfile.mkstemp(prefix="holdfast-demo-", suffix=".log")
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as log:
            demonstrate(log)
        say(f"\nAll as promised, in {time.monotonic() - started:.0f} s. The log of the server: {log_name}")
        say("See such a store in a browser: make console")
    except (DemoError, holdfast.HoldfastError) as error:
        sys.exit(f"\n{styled(_RED, 'failed')}: {error}. The log of the server: {log_name}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        # Nobody reads on, so that Python must not try to write the rest at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def demonstrate(log: IO[bytes]) -> None:
    """Take all steps of the demonstration."""
    say(f"A workflow of {STEPS} steps saves its state after each, to a server on a folder.")
    with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as name:
        folder = Path(name)
        with server(folder / "store", log) as target:
            kill_and_resume(target, folder, log)
        damage_newest(folder / "store")
        # The first server would answer from its cache: a marker never changes. A new one reads it from the disk.
        with server(folder / "store", log) as target:
            fall_back(target)
            migrate(target)


def kill_and_resume(target: str, folder: Path, log: IO[bytes]) -> None:
    """Kill the workflow's process in mid-run, twice, and compare its result with that of an undisturbed run."""
    title("1. Run it undisturbed")
    run(target, "undisturbed", folder / "undisturbed.json", log)
    title("2. Run it again, and kill its process with SIGKILL twice")
    for step in KILLED_AFTER:
        run(target, "killed", folder / "killed.json", log, kill_after=step)
    run(target, "killed", folder / "killed.json", log)
    check(
        (folder / "undisturbed.json").read_bytes() == (folder / "killed.json").read_bytes(),
        "both runs have the same result, byte for byte",
    )


def run(target: str, workflow_id: str, output: Path, log: IO[bytes], kill_after: int | None = None) -> None:
    """Run the workflow in a process of its own, and kill it when it reports a step."""
    command = [sys.executable, "-m", "examples.word_statistics", target, workflow_id, str(INPUT), str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        try:
            assert process.stdout is not None
            for line in map(str.strip, process.stdout):
                if not line.startswith("step"):
                    say(f"   {line}")
                if line == f"step {kill_after}":
                    process.kill()
                    say(f"   killed after step {kill_after}")
                    return
        finally:
            process.kill()
    if process.returncode != 0:
        raise DemoError(f"the workflow ended with {process.returncode}")
    say(f"   finished step {STEPS} of {STEPS}")


def damage_newest(store: Path) -> None:
    """Flip bits of the newest checkpoint on disk."""
    title("3. Damage its newest checkpoint on disk")
    say(f"   flipped one of its {flip_newest(store, 'killed')} bytes")


def flip_newest(store: Path, workflow_id: str) -> int:
    """Flip bits of the newest checkpoint of a workflow, which is the newest entry of its log. Return its bytes."""
    with closing(sqlite3.connect(store / "holdfast.db")) as database, database:
        # The newest is listed first.
        prefix = f"ns/{NAMESPACE}/wf/{workflow_id}/log/"
        newest = "SELECT content FROM objects WHERE key > ? ORDER BY key LIMIT 1"
        query = f"SELECT id, value FROM contents WHERE id = ({newest})"  # noqa: S608 - a constant
        content, value = database.execute(query, (prefix,)).fetchone()
        damaged = bytearray(value)
        damaged[len(damaged) // 2] ^= 0xFF
        database.execute("UPDATE contents SET value = ? WHERE id = ?", (damaged, content))
    return len(damaged)


def fall_back(target: str) -> None:
    """Resume from the damaged checkpoint, without fallback and with it."""
    with holdfast.Client(target) as client:
        try:
            client.resume(NAMESPACE, "killed", format=FORMAT)
            raise DemoError("the damage was not noticed")
        except holdfast.CheckpointCorruptedError as error:
            check(True, f"resume() refuses: {error.reason}")
        loaded = client.resume(NAMESPACE, "killed", format=FORMAT, fallback=True)
    step = json.loads(loaded.data)["step"]
    check(
        loaded.fell_back and step == STEPS - 1,
        f"resume(fallback=True) returns the checkpoint before it, of step {step}",
    )
    for skipped in loaded.skipped:
        say(styled(_DIM, f"      and reports what it skipped: revision {skipped.revision}, {skipped.message}"))


def migrate(target: str) -> None:
    """Resume from a checkpoint of an old format version, without its migration and with it."""
    title("4. Resume from a checkpoint of format version 1 in a program of version 2")
    old = {"step": 3, "hash": "abc", "words": {}, "pairs": {}}
    with holdfast.Client(target) as client:
        client.save(NAMESPACE, "old", encode(old), format=holdfast.Format(FORMAT.name, 1))
        try:
            client.resume(NAMESPACE, "old", format=FORMAT)
            raise DemoError("the old format was not noticed")
        except holdfast.FormatIncompatibleError as error:
            check(True, f"resume() refuses: {error.reason}")
        loaded = client.resume(NAMESPACE, "old", format=FORMAT, migrations=migrations)
    check(json.loads(loaded.data)["chain"] == "abc", "resume(migrations=...) returns it in version 2")
    say(styled(_DIM, f"      before: {encode(old).decode()}"))
    say(styled(_DIM, f"      after:  {loaded.data.decode()}"))


@contextmanager
def server(store: Path, log: IO[bytes]) -> Iterator[str]:
    """Run a server on a folder in a process of its own, and return its address. Its output goes to the log."""
    command = [sys.executable, "-m", "holdfast_server.main", "serve", "--listen", "127.0.0.1:0"]
    command += ["--store", store.as_uri()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as process:
        copying = threading.Thread(target=shutil.copyfileobj, args=(process.stdout, log))
        try:
            assert process.stdout is not None
            first_line = process.stdout.readline()
            log.write(first_line)
            if not first_line:
                raise DemoError("the server did not start")
            copying.start()
            yield json.loads(first_line)["address"]
        finally:
            process.terminate()
            if copying.ident is not None:
                copying.join()


def title(text: str) -> None:
    """Print the title of a step."""
    say(f"\n{styled(_BOLD, text)}")


def check(holds: bool, promise: str) -> None:
    """Print a promise that holds.

    Raises:
        DemoError: it does not hold.

    """
    if not holds:
        raise DemoError(f"not so: {promise}")
    say(f"   {styled(_GREEN, 'ok')} {promise}")


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def styled(style: str, text: str) -> str:
    """Return a text in a style on a terminal, unless NO_COLOR is set."""
    in_colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"{style}{text}{_PLAIN}" if in_colour else text


if __name__ == "__main__":
    main()
