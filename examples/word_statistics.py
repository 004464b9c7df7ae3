"""The workflow of the demonstration: word statistics of a text, with a checkpoint after every step.

A step counts the words and pairs of words of one passage, and extends a chain of digests, so that a step that is left
out or done twice changes the result. A new process continues from the last saved step.

Usage: python -m examples.word_statistics TARGET WORKFLOW INPUT OUTPUT
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
    """Make version 2 from version 1, which calls the chain of digests "hash"."""
    state = json.loads(parts[""])
    state["chain"] = state.pop("hash")
    return {"": encode(state)}


def main() -> None:
    """Run the workflow from its last saved step, and write its result."""
    target, workflow_id, source, output = sys.argv[1:]
    words = re.findall(r"[a-z']+", Path(source).read_text().lower())
    with holdfast.Client(target) as client:
        workflow = client.workflow(NAMESPACE, workflow_id)
        workflow.acquire_writer()
        try:
            state = json.loads(workflow.resume(format=FORMAT, migrations=migrations).data)
            print(f"continued after step {state['step']} of {STEPS}", flush=True)
        except holdfast.CheckpointNotFoundError:
            state = {"step": 0, "chain": "", "words": {}, "pairs": {}}
            print("started", flush=True)
        while state["step"] < STEPS:
            state = advance(state, words)
            workflow.save(encode(state), format=FORMAT, labels={"step": str(state["step"])})
            print(f"step {state['step']}", flush=True)
    Path(output).write_bytes(encode(state))


def advance(state: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """Return the state after the next step."""
    step = state["step"]
    passage = words[len(words) * step // STEPS : len(words) * (step + 1) // STEPS]
    pairs = Counter(f"{first} {second}" for first, second in itertools.pairwise(passage))
    # Slow on purpose: a real step takes time.
    chain = hashlib.pbkdf2_hmac("sha256", " ".join(passage).encode(), state["chain"].encode(), 60_000).hex()
    return {
        "step": step + 1,
        "chain": chain,
        "words": dict(Counter(state["words"]) + Counter(passage)),
        "pairs": dict(Counter(state["pairs"]) + pairs),
    }


def encode(state: dict[str, Any]) -> bytes:
    """Serialize a state; equal states have equal bytes."""
    return json.dumps(state, sort_keys=True, separators=(",", ":")).encode()


if __name__ == "__main__":
    main()
