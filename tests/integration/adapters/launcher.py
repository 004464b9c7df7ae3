"""Starts processes of one program that have imported already what it imports: engines take seconds for that.

Reads a line of JSON for each process to start, with its arguments and what to add to its environment; answers with a
line that tells how it ended, as `subprocess` would: its exit code, or the signal that killed it as a negative number.
"""

import importlib
import json
import os
import runpy
import signal
import sys
import time
import traceback

_LONGEST_SECONDS = 120.0


def main(program: str) -> None:
    """Serve until the input ends."""
    importlib.import_module(program)
    for line in sys.stdin:
        wanted = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(program, wanted["arguments"], wanted["environment"])
        sys.stdout.write(f"{_ended(pid)}\n")
        sys.stdout.flush()


def _become(program: str, arguments: list[str], environment: dict[str, str]) -> None:
    code = 1
    try:
        os.environ.update(environment)
        # The answers go through the launcher's standard output alone.
        os.dup2(2, 1)
        sys.argv = [program, *arguments]
        runpy.run_module(program, run_name="__main__", alter_sys=True)
        code = 0
    except BaseException:  # noqa: BLE001 - the process ends here, whatever it was
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _ended(pid: int) -> int:
    deadline = time.monotonic() + _LONGEST_SECONDS
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TimeoutError(f"the program went on for {_LONGEST_SECONDS} s")
        time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1])
