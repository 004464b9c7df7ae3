"""A module that creates a file when it is imported. Naming it in a checkpoint must not import it."""

import os
from dataclasses import dataclass
from pathlib import Path

Path(os.environ["RAN"]).touch()


@dataclass
class Model:
    """An ordinary data type."""

    path: str
