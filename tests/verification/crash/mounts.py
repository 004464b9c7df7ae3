"""Mounts that only one process and its children see, and that end with it."""

import shutil
import subprocess
from collections.abc import Sequence


def missing() -> str:
    """Return why nothing can be mounted here; "" if it can."""
    absent = [program for program in ("unshare", "nsenter", "mount") if shutil.which(program) is None]
    if absent:
        return f"{', '.join(absent)} not found"
    probe = subprocess.run([*on_mounts(("-t", "tmpfs", "none", "/proc")), "true"], capture_output=True, check=False)
    return "" if probe.returncode == 0 else "this user may not mount"


def on_mounts(*mounts: Sequence[str]) -> list[str]:
    """Return a command that mounts, each with the arguments of `mount`, and then executes the command after it."""
    script = " && ".join(f"mount {' '.join(mount)}" for mount in mounts)
    return ["unshare", "--mount", "sh", "-c", f'{script} && exec "$@"', "sh"]
