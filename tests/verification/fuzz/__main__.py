"""Search for inputs that break a parser, by coverage: `python -m tests.verification.fuzz [--seconds N] [TARGET …]`.

The findings stay in `build/fuzz/TARGET/`: inputs that reach new code in `found/`, and inputs that break the parser as
`crash-…`, `timeout-…` or `oom-…`. Add such an input to `tests/verification/fuzz/corpus/TARGET/`, with the fix.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from tests.verification.fuzz.inputs import CORPUS, TARGETS

_BUILD = Path("build/fuzz")
_OPTIONS = ("-timeout=20", "-rss_limit_mb=1024", "-max_len=4096", "-print_final_stats=1", "-len_control=30")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all where none is given"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no target: {', '.join(sorted(unknown))}")
    broken = [each for each in arguments.targets or TARGETS if not _holds(each, arguments.seconds)]
    if broken:
        sys.exit(f"found something: {', '.join(broken)}; see {_BUILD}")


def _holds(target: str, seconds: int) -> bool:
    """Search one target in its own process, which ends with its first finding. Return whether it found nothing."""
    folder = _BUILD / target
    (folder / "found").mkdir(parents=True, exist_ok=True)
    print(f"== {target}", flush=True)  # noqa: T201
    known = [str(each) for each in (CORPUS / target,) if each.is_dir()]
    run = [sys.executable, "-m", "tests.verification.fuzz.search", target, str(folder / "found"), *known]
    limits = [f"-max_total_time={seconds}", f"-artifact_prefix={folder}/", *_OPTIONS]
    return subprocess.run([*run, *limits], check=False).returncode == 0


if __name__ == "__main__":
    main()
