"""A process that has imported modules, and forks for each run of a program. `tests.support.forked` starts it.

Each request is JSON with the descriptors of the standard streams, and of a pipe for the process's id and wait status.
"""

import gc
import importlib
import json
import os
import runpy
import selectors
import socket
import sys
from dataclasses import dataclass

_MAX_REQUEST_BYTES = 1 << 20
_STREAMS = 3


@dataclass(frozen=True)
class _Run:
    program: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    streams: list[int]


def main(modules: list[str], requests: socket.socket) -> None:
    """Serve until the last sender of requests has gone. In a forked process, run a program."""
    for module in modules:
        importlib.import_module(module)
    gc.freeze()
    run = _forked(requests)
    if run is not None:
        _become(run)
        # The program itself runs from its source, as with `python -m`.
        sys.modules.pop(run.program, None)
        sys.argv = [run.program, *run.arguments]
        runpy.run_module(run.program, run_name="__main__", alter_sys=True)


def _forked(requests: socket.socket) -> _Run | None:
    """Fork for each request. Return the request in a forked process, and None in this one at its end."""
    with selectors.DefaultSelector() as events, requests:
        events.register(requests, selectors.EVENT_READ)
        while True:
            for event, _ in events.select():
                if event.data is not None:
                    events.unregister(event.fd)
                    _report(event.fd, *event.data)
                    continue
                request, descriptors, _, _ = socket.recv_fds(requests, _MAX_REQUEST_BYTES, _STREAMS + 1)
                if not request:
                    return None
                *streams, status = descriptors
                pid = os.fork()
                if pid == 0:
                    for other in events.get_map().values():
                        if other.data is not None:
                            os.close(other.fd)
                            os.close(other.data[1])
                    os.close(status)
                    return _Run(**json.loads(request), streams=streams)
                for stream in streams:
                    os.close(stream)
                os.write(status, f"{pid}\n".encode())
                events.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))


def _report(ended: int, pid: int, status: int) -> None:
    os.close(ended)
    _, code = os.waitpid(pid, 0)
    with open(status, "w") as pipe:
        pipe.write(f"{code}\n")


def _become(run: _Run) -> None:
    """Take the streams, environment and working folder of a run."""
    for number, stream in enumerate(run.streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(run.folder)
    os.environ.clear()
    os.environ.update(run.environment)
    # Those of the server are made for its own descriptors, which may be seekable or terminals.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        own = getattr(sys, name)
        made = os.fdopen(own.fileno(), mode, encoding=own.encoding, errors=own.errors, closefd=False)
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)


if __name__ == "__main__":
    main(sys.argv[2:], socket.socket(fileno=int(sys.argv[1])))
