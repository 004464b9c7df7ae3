"""Silent connections do not use up what callers need."""

import resource
import socket
import sys
from contextlib import ExitStack

import holdfast

from tests.support import servers

FORMAT = holdfast.Format("f", 1)
# Runs the rest of its command line with at most 512 descriptors.
FEW_DESCRIPTORS = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (512, 1024)); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


def test_more_silent_connections_than_descriptors_do_not_keep_callers_out(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    process, target = servers.start(
        (tmp_path / "store").as_uri(), "--keepalive-seconds=2", within=[sys.executable, "-c", FEW_DESCRIPTORS]
    )
    host, _, port = target.rpartition(":")
    try:
        with ExitStack() as silent, holdfast.Client(target) as before:
            before.save("n", "w", b"x" * 200_000, format=FORMAT)
            for _ in range(1100):
                silent.enter_context(socket.create_connection((host, int(port)), timeout=5))
            for _ in range(20):
                before.save("n", "w", b"y" * 200_000, format=FORMAT)
                assert before.load("n", "w").data == b"y" * 200_000
            # The server closes the silent connections, so new ones are accepted.
            with holdfast.Client(target, timeout=60) as after:
                assert after.load("n", "w").data == b"y" * 200_000
    finally:
        process.terminate()
        assert process.wait(30) == 0
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
