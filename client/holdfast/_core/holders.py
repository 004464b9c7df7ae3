"""The name by which a lease's holder is known where its caller gives none."""

import os
import socket

_LONGEST_HOST = 100


def this_process() -> str:
    """Return this host's name and this process's id, such as "worker-7:4711", within the limits of a name."""
    host = socket.gethostname().encode("ascii", "replace").decode()
    plain = "".join(each if each.isalnum() or each in "-._" else "-" for each in host)
    return f"{plain[:_LONGEST_HOST]}:{os.getpid()}"
