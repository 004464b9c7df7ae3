"""A workflow of many steps that checkpoints after each: statistics of the words of a text.

Each step takes one passage of the input, counts its words and pairs of words and extends a chain of digests, so that a
step left out or done twice shows in the result. The state is saved to Holdfast, and a fresh process goes on from
the last step that was saved. Usage: word_statistics.py TARGET WORKFLOW INPUT OUTPUT
"""

import hashlib
import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import holdfast

NAMESPACE = "examples"
FORMAT = holdfast.Format("word-statistics", 2)
STEPS = 60

migrations = holdfast.Migrations()


@migrations.register("word-statistics", from_version=1)
def name_the_chain(parts: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Version 1 called the chain of digests "hash"."""
    state = json.loads(parts[""])
    state["chain"] = state.pop("hash")
    return {"": encode(state)}


def main() -> None:
    """Run the workflow from wherever it stands, and write its result."""
    target, workflow_id, source, output = sys.argv[1:]
    words = re.findall(r"[a-z']+", Path(source).read_text().lower())
    with holdfast.Client(target) as client:
        workflow = client.workflow(NAMESPACE, workflow_id)
        workflow.acquire_writer()
        try:
            state = json.loads(workflow.resume(format=FORMAT, migrations=migrations).data)
            print(f"resumed behind step {state['step']} of {STEPS}", flush=True)
        except holdfast.CheckpointNotFoundError:
            state = {"step": 0, "chain": "", "words": {}, "pairs": {}}
            print("started", flush=True)
        while state["step"] < STEPS:
            state = advance(state, words)
            workflow.save(encode(state), format=FORMAT, labels={"step": str(state["step"])})
            print(f"step {state['step']}", flush=True)
    Path(output).write_bytes(encode(state))


def advance(state: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """Do the next step."""
    step = state["step"]
    passage = words[len(words) * step // STEPS : len(words) * (step + 1) // STEPS]
    pairs = Counter(f"{first} {second}" for first, second in itertools.pairwise(passage))
    # A chain that takes some work, as real steps do.
    chain = hashlib.pbkdf2_hmac("sha256", " ".join(passage).encode(), state["chain"].encode(), 60_000).hex()
    return {
        "step": step + 1,
        "chain": chain,
        "words": dict(Counter(state["words"]) + Counter(passage)),
        "pairs": dict(Counter(state["pairs"]) + pairs),
    }


def encode(state: dict[str, Any]) -> bytes:
    """A state as bytes, the same for the same state."""
    return json.dumps(state, sort_keys=True, separators=(",", ":")).encode()


if __name__ == "__main__":
    main()
