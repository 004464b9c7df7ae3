"""File systems of a process of its own: mounts that only it and its children see, and that end with it."""

import shutil
import subprocess
from collections.abc import Sequence

# Files that have no name are linked by their names in /proc, so without it the store must give them temporary ones.
WITHOUT_PROC = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")


def missing() -> str:
    """Why nothing can be mounted here; "" where it can."""
    absent = [program for program in ("unshare", "nsenter", "mount") if shutil.which(program) is None]
    if absent:
        return f"{', '.join(absent)} not found"
    tried = subprocess.run([*WITHOUT_PROC, "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "this user may not mount"


def on_mounts(*mounts: Sequence[str]) -> list[str]:
    """A command that mounts, each with the arguments of `mount`, and then becomes the command that follows it."""
    script = " && ".join(f"mount {' '.join(mount)}" for mount in mounts)
    return ["unshare", "--mount", "sh", "-c", f'{script} && exec "$@"', "sh"]
