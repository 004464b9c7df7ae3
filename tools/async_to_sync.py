"""Generate the synchronous client from the asynchronous one.

Usage: async_to_sync.py [--check]; with --check it writes nothing and fails if a file is stale.
"""

import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).resolve().parent.parent / "client" / "holdfast"
MODULES = (
    "calls",
    "client",
    "download",
    "lists",
    "loads",
    "opening",
    "part_reads",
    "records",
    "repeats",
    "rewrapping",
    "saves",
    "surface/__init__",
    "surface/base",
    "surface/deleting",
    "surface/listing",
    "surface/loading",
    "surface/observing",
    "surface/saving",
    "transport",
    "watch_connections",
    "watching",
    "workflow",
)
# Source to twin, both without ".py".
TWINS = {f"_async/{name}": f"_sync/{name}" for name in MODULES} | {
    f"adapters/langgraph/{name}": f"adapters/langgraph/sync/{name}" for name in ("guard", "lists", "lookups", "threads")
}
TWINS["adapters/burr/steps"] = "adapters/burr/sync/steps"
HEADER = "# Generated from holdfast/{name}.py by tools/async_to_sync.py; do not edit.\n"
REPLACEMENTS = (
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAwaitable\[([\w.]+)\]", r"\1"),
    (r"\bAwaitable, ", ""),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\bAsyncGenerator\[(\w+), None\]", r"Generator[\1, None, None]"),
    (r"\bAsyncGenerator\b", "Generator"),
    (r"\bAsync(Client|Guard|Lists|Lookups|Steps|Threads|Workflow)\b", r"\1"),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\bfrom holdfast\._async\b", "from holdfast._sync"),
    (
        r"\bfrom holdfast\.adapters\.langgraph\.(guard|lists|lookups) import\b",
        r"from holdfast.adapters.langgraph.sync.\1 import",
    ),
)


def main() -> None:
    """Write the twins, or check them."""
    stale = []
    for name, twin in TWINS.items():
        target = CLIENT / f"{twin}.py"
        expected = synchronous(name)
        if "--check" not in sys.argv:
            target.parent.mkdir(exist_ok=True)
            target.write_text(expected)
        elif not target.exists() or target.read_text() != expected:
            stale.append(f"{twin}.py")
    if stale:
        sys.exit(f"stale in client/holdfast: {', '.join(stale)}; run tools/async_to_sync.py")


def synchronous(name: str) -> str:
    """Return the text of the synchronous twin of a module."""
    text = HEADER.format(name=name) + (CLIENT / f"{name}.py").read_text()
    for pattern, replacement in REPLACEMENTS:
        text = re.sub(pattern, replacement, text)
    ruff = [str(Path(sys.executable).parent / "ruff")]
    path = ["--stdin-filename", str(CLIENT / f"{TWINS[name]}.py")]
    text = _piped([*ruff, "check", "--select", "I", "--fix", "--quiet", *path, "-"], text)
    return _piped([*ruff, "format", "--quiet", *path, "-"], text)


def _piped(command: list[str], text: str) -> str:
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
