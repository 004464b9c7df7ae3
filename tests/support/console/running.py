"""The console as a process."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support import servers


@dataclass(frozen=True, slots=True)
class Console:
    """A running console.

    Attributes:
        address: host:port of its pages.

    """

    address: str

    @property
    def url(self) -> str:
        """The URL of its first page, without the slash at the end."""
        return f"http://{self.address}"


@contextmanager
def console(target: str, *flags: str) -> Iterator[Console]:
    """Run the console of a server or of a store while the block lasts."""
    command = [*servers.EXECUTABLE, "console", "--target", target, "--listen", "127.0.0.1:0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Console(json.loads(process.stdout.readline())["address"])
        finally:
            process.terminate()
            assert process.wait(30) == 0
