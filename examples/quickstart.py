"""A job that saves its state after every step. Stop it (Ctrl-C, kill -9), run it again, and it continues.

Usage: python -m examples.quickstart [TARGET]
"""

import json
import sys
import time

import holdfast

STEPS = 10
FORMAT = holdfast.Format("quickstart", 1)


def main(target: str = "file:///tmp/holdfast-examples") -> None:
    """Run the job from its last saved step."""
    with holdfast.Client(target) as client:
        job = client.workflow("examples", "quickstart")
        job.acquire_writer()  # from now on an older process of this job cannot save
        try:
            state = json.loads(job.resume(format=FORMAT).data)
            print(f"continued after step {state['step']}", flush=True)
        except holdfast.CheckpointNotFoundError:
            state = {"step": 0, "sum": 0}
        while state["step"] < STEPS:
            time.sleep(0.3)  # the work of one step
            step = state["step"] + 1
            state = {"step": step, "sum": state["sum"] + step}
            job.save(json.dumps(state).encode(), format=FORMAT)
            print(f"saved step {step}", flush=True)
        print(f"the sum is {state['sum']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
