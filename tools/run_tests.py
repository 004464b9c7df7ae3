"""Run the tests in four processes, and those of Google ADK beside them in a fifth, in an environment of its own.

Usage: run_tests.py BUDGET [ARGUMENT…] passes the arguments to pytest. What the fifth process prints comes last.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ADK = "tests/integration/adapters/adk"
ADK_PYTHON = ROOT / ".venv" / "adk" / "bin" / "python"
# xdist waits for ever if a process was killed and has to be replaced.
IN_PARALLEL = ("-n", "4", "--max-worker-restart", "0", "--dist", "loadgroup")


def main() -> None:
    """Run both. Exit with 1 if a test fails, or if Google ADK is not installed in CI."""
    budget, *arguments = sys.argv[1:]
    os.environ |= {"HOLDFAST_TEST_BUDGET": budget, "HOLDFAST_SERVER_PYTHON": sys.executable}
    # The tests start hundreds of processes, which would each compile the sources.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    command = ("-m", "pytest", "--by-suite", *arguments)
    if not (ROOT / ".venv" / "adk-ready").exists():
        done = subprocess.run([sys.executable, *command, *IN_PARALLEL], cwd=ROOT, check=False)
        print(f"all tests in {ADK} skipped: Google ADK is not installed: make .venv/adk-ready")
        sys.exit(bool(done.returncode or os.environ.get("CI")))
    with tempfile.TemporaryFile() as printed:
        beside = subprocess.Popen(
            [ADK_PYTHON, *command, f"--confcutdir={ADK}", ADK], cwd=ROOT, stdout=printed, stderr=subprocess.STDOUT
        )
        with beside:
            done = subprocess.run([sys.executable, *command, *IN_PARALLEL], cwd=ROOT, check=False)
        printed.seek(0)
        print(f"\n{printed.read().decode(errors='backslashreplace')}")
    sys.exit(bool(done.returncode or beside.returncode))


if __name__ == "__main__":
    main()
