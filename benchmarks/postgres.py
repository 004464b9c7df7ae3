"""A temporary Postgres server, if Postgres is installed."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.support.ports import free_port


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server that runs.

    Attributes:
        url: its default database.
        pid: its process, whose children serve the connections.

    """

    url: str
    pid: int

    def create_database(self) -> str:
        """Create an empty database. Return its URL."""
        name = f"bench_{uuid.uuid4().hex}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        return f"{self.url.rpartition('/')[0]}/{name}"


@contextmanager
def running(folder: Path) -> Iterator[Postgres | None]:
    """Run a server. Yield it, or None if Postgres is not installed."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path(shutil.which("initdb") or "/-").parent]
    if not (programs[-1] / "initdb").exists():
        print("\nskipped the Postgres saver: no Postgres server found")
        yield None
        return
    data = folder / "postgres"
    data.mkdir()
    as_user: list[str] = []
    if os.geteuid() == 0:
        # Postgres refuses to run as root.
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        shutil.chown(data, "postgres", "postgres")
        for parent in data.parents:
            if not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
    quiet = {"stdout": subprocess.DEVNULL, "cwd": "/"}
    control = [*as_user, str(programs[-1] / "pg_ctl"), "-D", str(data), "-w"]
    subprocess.run(
        [*as_user, str(programs[-1] / "initdb"), "-D", str(data), "-U", "bench", "-A", "trust"], check=True, **quiet
    )  # type: ignore[call-overload]
    port = free_port()
    options = f"-p {port} -k '' -c listen_addresses=127.0.0.1 -c max_connections=64"
    subprocess.run([*control, "-o", options, "-l", str(data / "log"), "start"], check=True, **quiet)  # type: ignore[call-overload]
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
        yield Postgres(f"postgresql://bench@127.0.0.1:{port}/postgres", pid)
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, **quiet)  # type: ignore[call-overload]


def stored_bytes(url: str) -> int:
    """Return the bytes of the tables of a database, their indexes included. Its log (WAL) is left out."""
    with psycopg.connect(url) as connection:
        statement = (
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c JOIN pg_namespace n "
            "ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname = 'public'"
        )
        row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0])
