"""Compare the protos with those of another commit: `python tools/check_breaking.py BUF REF`.

Fails on every breaking change that `proto/allowed_breaks.txt` does not list. A deliberate break is listed there in the
change that makes it, word for word as buf reports it, and stays listed: the text of one break permits no other one.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("proto", "server/proto")


def main(buf: str, ref: str) -> int:
    """Report breaking changes since a commit. Return the exit code.

    Args:
        buf: path of the buf command.
        ref: the commit to compare with, as a full git ref.

    """
    lines = (ROOT / "proto/allowed_breaks.txt").read_text().splitlines()
    allowed = {line for line in lines if line and not line.startswith("#")}
    breaks = [line for module in MODULES if exists(ref, module) for line in compare(buf, ref, module)]
    refused = [line for line in breaks if line not in allowed]
    for line in refused:
        print(line)
    print(f"{len(breaks)} breaking changes since {ref}, {len(refused)} of them not in proto/allowed_breaks.txt")
    return 1 if refused else 0


def exists(ref: str, module: str) -> bool:
    """Return whether a commit has a module."""
    command = ["git", "cat-file", "-e", f"{ref}:{module}"]
    return subprocess.run(command, cwd=ROOT, check=False, stderr=subprocess.DEVNULL).returncode == 0


def compare(buf: str, ref: str, module: str) -> list[str]:
    """Return the breaking changes of a module since a commit, as lines of `path: RULE: message`.

    Raises:
        RuntimeError: buf failed.

    """
    command = [buf, "breaking", module, "--against", f".git#ref={ref},subdir={module}", "--error-format", "json"]
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    if result.returncode and not found:
        raise RuntimeError(f"buf breaking failed for {module}: {result.stderr.strip()}")
    return [f"{each.get('path', module)}: {each['type']}: {each['message']}" for each in found]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
