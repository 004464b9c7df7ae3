"""The drivers that the kit knows, from `drivers.toml`: how each is built and started, and the tools that it needs."""

import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).parent / "drivers.toml"
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Known:
    """A driver.

    Attributes:
        name: its name.
        command: the command line that starts it.
        folder: where it is built and started.
        needs: the programs that it takes.
        build: the command line that builds it; empty if there is nothing to build.

    """

    name: str
    command: Sequence[str]
    folder: Path = ROOT
    needs: Sequence[str] = ()
    build: Sequence[str] = ()

    @property
    def missing(self) -> list[str]:
        """The programs that this machine lacks."""
        return [program for program in self.needs if shutil.which(program) is None]

    def make(self) -> None:
        """Build it.

        Raises:
            CalledProcessError: the build failed.

        """
        if self.build:
            subprocess.run(self.build, cwd=self.folder, check=True, stdout=sys.stderr)


def known_drivers() -> dict[str, Known]:
    """Return the drivers of the file by name."""
    return {
        name: Known(
            name,
            [sys.executable if word == "{python}" else word for word in given["command"]],
            ROOT / given.get("folder", "."),
            given.get("needs", ()),
            given.get("build", ()),
        )
        for name, given in tomllib.loads(_FILE.read_text()).items()
    }


def driver_of(text: str) -> Known:
    """Return the driver of a name, or of a command line."""
    return known_drivers().get(text) or Known(text, shlex.split(text))
