"""Check the subjects of commits: `area: imperative`, at most 72 characters, an empty line before the body.

Usage: check_commits.py BASE checks the commits of HEAD that BASE lacks.
"""

import re
import subprocess
import sys

MOST_CHARACTERS = 72
_AREA = r"[a-z][\w./*-]*"
SUBJECT = re.compile(rf"{_AREA}(, {_AREA})*: \S.*[^.\s]")


def main() -> None:
    """Check each commit. Exit with 1 if a subject has another form."""
    [base] = sys.argv[1:]
    log = ["git", "log", "--no-merges", "--format=%h%x00%B%x01", f"{base}..HEAD"]
    entries = subprocess.run(log, stdout=subprocess.PIPE, text=True, check=True).stdout.split("\x01")[:-1]
    commits = [entry.strip().split("\0") for entry in entries]
    problems = [f"{commit}: {problem}" for commit, message in commits for problem in problems_of(message)]
    if problems:
        sys.exit("\n".join([*problems, "CONTRIBUTING.md describes the form"]))


def problems_of(message: str) -> list[str]:
    """Return what is wrong with the subject of a commit message."""
    subject, _, rest = message.strip().partition("\n")
    problems = []
    if len(subject) > MOST_CHARACTERS:
        problems.append(f"expected a subject of at most {MOST_CHARACTERS} characters, found {len(subject)}: {subject}")
    if not SUBJECT.fullmatch(subject):
        problems.append(f"expected a subject `area: imperative` without a full stop, found: {subject}")
    if rest and not rest.startswith("\n"):
        problems.append(f"expected an empty line after the subject: {subject}")
    return problems


if __name__ == "__main__":
    main()
