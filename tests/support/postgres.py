"""A temporary Postgres server for tests."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.ports import free_port
from tests.support.required import require


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server that runs.

    Attributes:
        programs: the folder of its programs.
        port: its port on 127.0.0.1, where anybody may connect as the user "test".

    """

    programs: Path
    port: int

    def create_database(self) -> str:
        """Create an empty database, and return its name."""
        name = f"test_{uuid.uuid4().hex}"
        command = [self.programs / "createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "test", name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return name

    def url(self, driver: str, database: str) -> str:
        """Return the URL of a database for a driver of SQLAlchemy."""
        return f"postgresql+{driver}://test@127.0.0.1:{self.port}/{database}"


@contextmanager
def running() -> Iterator[Postgres]:
    """Run a server. Without Postgres on this machine the test is skipped; in CI it fails."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path(shutil.which("initdb") or "/-").parent]
    require("" if (programs[-1] / "initdb").exists() else "no Postgres server is installed")
    # Not in the folders of pytest: each run of pytest closes them to other users again.
    with TemporaryDirectory(prefix="postgres-") as folder:
        yield from _running(programs[-1], Path(folder))


def _running(programs: Path, folder: Path) -> Iterator[Postgres]:
    data = folder / "data"
    data.mkdir()
    as_user: list[str] = []
    if os.geteuid() == 0:
        # Postgres refuses to run as root.
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        shutil.chown(data, "postgres", "postgres")
        folder.chmod(0o711)

    def run(*command: object) -> None:
        subprocess.run([*as_user, *map(str, command)], check=True, stdout=subprocess.DEVNULL, cwd="/")

    run(programs / "initdb", "-D", data, "-U", "test", "-A", "trust", "--no-sync")
    port = free_port()
    options = f"-p {port} -k '' -c listen_addresses=127.0.0.1 -c fsync=off"
    control = (programs / "pg_ctl", "-D", data, "-w")
    run(*control, "-o", options, "-l", data / "log", "start")
    try:
        yield Postgres(programs, port)
    finally:
        run(*control, "-m", "immediate", "stop")
