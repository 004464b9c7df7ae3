"""What a group of benchmarks runs with."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Effort
from benchmarks.postgres import Postgres
from benchmarks.servers import S3

# The subjects of several groups.
REMOTE = "Holdfast"
EMBEDDED = "Holdfast, embedded"
SQLITE = "sqlite saver"
POSTGRES = "Postgres saver"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a group runs with.

    Attributes:
        folder: where its files are; each group makes a folder of its own in it.
        effort: how much is measured.
        is_quick: whether the longest workloads are left out.
        postgres: a server of Postgres; None if it is not installed.
        s3: an S3 server; None if none is installed.

    """

    folder: Path
    effort: Effort
    is_quick: bool
    postgres: Postgres | None
    s3: S3 | None
