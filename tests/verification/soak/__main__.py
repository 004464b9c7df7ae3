"""`make soak`: five minutes on each store, or `--seconds`."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.verification.soak.soak import Result, soak
from tests.verification.soak.world import bucket, folder

_STORES = {"file": folder, "s3": bucket}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="how long on each store (300)")
    parser.add_argument("--store", choices=_STORES, action="append", help="on which store (both)")
    arguments = parser.parse_args()
    failed = False
    for name in arguments.store or _STORES:
        with tempfile.TemporaryDirectory() as path, _STORES[name](Path(path)) as store:
            result = asyncio.run(soak(store, arguments.seconds, pause_seconds=max(2.0, arguments.seconds / 60)))
        _tell(name, result)
        failed = failed or bool(result.wrong)
    sys.exit(1 if failed else 0)


def _tell(name: str, result: Result) -> None:
    memory = [round(each.memory_mib) for each in result.samples]
    files = [each.open_files for each in result.samples]
    checkpoints = sum(len(each.acknowledged) for each in result.ledger.workflows.values())
    print(f"{name}: {checkpoints} checkpoints acknowledged in {len(result.ledger.workflows)} workflows")
    print(f"  calls: {dict(result.ledger.calls)}")
    print(f"  failures, each allowed: {dict(result.ledger.failures)}")
    print(f"  befell: {result.events}")
    print(f"  memory of the steady server: {memory[0]} MiB at first, {memory[-1]} at last, {max(memory)} at most")
    print(f"  open files: {files[0]} at first, {files[-1]} at last, {max(files)} at most")
    print(f"  the check at the end: {result.checked}")
    print("  wrong: " + ("nothing" if not result.wrong else "\n    ".join(["", *result.wrong[:50]])))


if __name__ == "__main__":
    main()
