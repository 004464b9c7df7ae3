"""The default name of a lease's holder."""

import os
import socket

_MAX_HOST = 100


def this_process() -> str:
    """Return this host's name and this process's id, such as "worker-7:4711", within the limits of a name."""
    host = socket.gethostname().encode("ascii", "replace").decode()
    plain = "".join(character if character.isalnum() or character in "-._" else "-" for character in host)
    return f"{plain[:_MAX_HOST]}:{os.getpid()}"
