"""Run a server with the interpreter that HOLDFAST_SERVER_PYTHON names, in whose environment the server is installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import server


@dataclass
class Served:
    target: str
    folder: Path


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    # Its tests damage large parts, which would be small deltas otherwise.
    with server(folder.as_uri(), "--deltas", "off") as target:
        yield Served(target, folder)
