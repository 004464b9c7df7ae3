"""Start processes of one program after importing it once, because importing an engine takes seconds.

Each line of input is JSON with the arguments and additional environment of a process. Each line of output is the exit
code of that process, or the signal that killed it as a negative number, as in `subprocess`.
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
        # Only the launcher writes to its standard output.
        os.dup2(2, 1)
        sys.argv = [program, *arguments]
        runpy.run_module(program, run_name="__main__", alter_sys=True)
        code = 0
    except BaseException:  # noqa: BLE001 - any error ends the process here
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
            raise TimeoutError(f"the program ran for more than {_LONGEST_SECONDS} s")
        time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1])
