"""Processes of a program that start in milliseconds, because they are forks of one that has imported its modules.

Each is a process of its own: it can be killed, and has its own streams, environment and memory. What a test says about
the start of a process itself, its imports, its memory or a terminal needs `subprocess` instead.
"""

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

from tests.support.repository import ROOT


class Forked(subprocess.Popen):
    """A process of a program, as `subprocess.Popen` would have started `python -m program`.

    Args:
        program: the module.
        arguments: the arguments of the program.
        modules: modules that are imported once, before all forks; the program itself by default.
        python: the interpreter.
        options: those of `Popen` for the streams, the environment and the working folder.

    """

    def __init__(
        self,
        program: str,
        *arguments: str | bytes,
        modules: Sequence[str] = (),
        python: str = sys.executable,
        **options: Any,
    ) -> None:
        self._program = program
        self._requests = _server(tuple(modules) or (program,), python)
        super().__init__(arguments, **options)

    def _execute_child(
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *others,
    ):  # fmt: skip
        """Have the process forked, where `Popen` would fork and execute."""
        status, theirs = os.pipe()
        self._status = os.fdopen(status)
        request = {
            "program": self._program,
            "arguments": [os.fsdecode(each) for each in args],
            "environment": dict(os.environ if env is None else env),
            "folder": os.path.abspath(cwd or "."),
        }
        inherited = (number if given == -1 else given for number, given in enumerate((p2cread, c2pwrite, errwrite)))
        try:
            socket.send_fds(self._requests, [json.dumps(request).encode()], [*inherited, theirs])
        finally:
            os.close(theirs)
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)
        self.pid = int(self._status.readline())
        self._child_created = True

    def _internal_poll(self, _deadstate=None, *others):
        """Return the exit code, or None if the process has not ended."""
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):
            try:
                pid, status = self._try_wait(os.WNOHANG)
                if pid:
                    self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode

    def _try_wait(self, wait_flags):
        """Return the process's id and wait status, or zeros if it has not ended and shall not be waited for."""
        if wait_flags & os.WNOHANG and not select.select([self._status], [], [], 0)[0]:
            return 0, 0
        with self._status:
            return self.pid, int(self._status.readline())


def run(
    program: str,
    *arguments: str | bytes,
    input: str | bytes | None = None,  # noqa: A002 - the name is that of `subprocess.run`
    text: bool = True,
    timeout: float = 60,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a program to its end, as `subprocess.run` would, and capture its output."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Forked(program, *arguments, text=text, **pipes | options) as process:
        try:
            stdout, stderr = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@cache
def _server(modules: tuple[str, ...], python: str) -> socket.socket:
    """Start the process that forks. It ends when this one does, because the socket closes."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [python, "-m", "tests.support.fork_server", str(theirs.fileno()), *modules],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    return ours
