"""Two workers of one job. The first pauses, the second takes over, and the first can no longer save.

Usage: python -m examples.fencing [TARGET]
"""

import sys

import holdfast

FORMAT = holdfast.Format("counter", 1)


def main(target: str = "file:///tmp/holdfast-examples") -> None:
    """Let a second worker take over from a first."""
    with holdfast.Client(target) as client:
        first = client.workflow("examples", "fencing")
        print(f"the first worker has epoch {first.acquire_writer().epoch}")
        first.save(b"1", format=FORMAT)

        # Another process, on any machine, that believes the first worker to be dead.
        second = client.workflow("examples", "fencing")
        print(f"the second worker has epoch {second.acquire_writer().epoch}")
        count = int(second.resume(format=FORMAT).data)
        second.save(str(count + 1).encode(), format=FORMAT)

        # The first worker was only slow. Without the fence, it would now overwrite the state of the second.
        try:
            first.save(b"2, from the first worker", format=FORMAT)
        except holdfast.WriterFencedError as error:
            print(f"the first worker was refused: {error.reason}")
        print(f"the job is at {second.resume(format=FORMAT).data.decode()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
