"""Resolve the dependency groups into requirements/*.txt: exact versions with hashes, for every Python from 3.11 on.

Usage: lock.py [--upgrade | --check]. Versions that are locked stay unless a group excludes them; --upgrade takes the
newest that the groups allow. --check resolves nothing: it fails if a lock lacks a requirement of its groups, or has a
version that they exclude.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"


class Lock(NamedTuple):
    """What one file locks: groups of the workspace, and what its distributions need."""

    groups: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    # Another lock with which this one is installed: common packages have the same version.
    alongside: str = ""


# A lock comes after the one that it is alongside.
LOCKS = {
    "engines": Lock(("dev", "engines"), ("client[cli,encryption]", "server[console,obstore,prometheus]")),
    "dev": Lock(("dev",), ("client[cli,encryption]", "server[console,obstore,prometheus]"), alongside="engines"),
    "bench": Lock(("bench",), alongside="engines"),
    "docs": Lock(("docs",), alongside="engines"),
    "fuzz": Lock(("fuzz",), alongside="engines"),
    "adk": Lock(("adk",), ("client[cli,encryption]", "server")),
    "build": Lock(("build",)),
    "stubs": Lock(("stubs",)),
    "image": Lock((), ("client", "server[console,obstore,prometheus]")),
}


def main() -> None:
    """Resolve every lock, or check them all."""
    if "--check" in sys.argv:
        problems = [problem for name in LOCKS for problem in stale(name)]
        if problems:
            sys.exit("\n".join([*problems, "run make lock"]))
        return
    for name in LOCKS:
        resolve(name, upgrade="--upgrade" in sys.argv)


def resolve(name: str, *, upgrade: bool) -> None:
    """Write one lock."""
    lock = LOCKS[name]
    command = [str(Path(sys.executable).parent / "uv"), "pip", "compile", "--quiet", "-", "--universal"]
    command += ["--python-version", "3.11", "--generate-hashes", "--custom-compile-command", "make lock"]
    command += [argument for group in lock.groups for argument in ("--group", f"pyproject.toml:{group}")]
    command += ["--no-emit-package", "holdfast-client", "--no-emit-package", "holdfast-server"]
    if lock.alongside:
        command += ["--constraints", f"requirements/{lock.alongside}.txt"]
    if upgrade:
        command.append("--upgrade")
    folders = "".join(f"./{distribution}\n" for distribution in lock.distributions)
    subprocess.run([*command, "-o", f"requirements/{name}.txt"], cwd=ROOT, input=folders, text=True, check=True)


def stale(name: str) -> list[str]:
    """Return what one lock lacks, or has in a version that is excluded."""
    locked: dict[str, list[str]] = {}
    # A package has several lines if its version depends on the Python or the platform.
    for package, version in re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", (FOLDER / f"{name}.txt").read_text()):
        locked.setdefault(canonicalize_name(package), []).append(version)
    problems = []
    for requirement in requirements(LOCKS[name]):
        versions = locked.get(canonicalize_name(requirement.name), [])
        if not versions or not all(requirement.specifier.contains(version, prereleases=True) for version in versions):
            found = ", ".join(versions) or "nothing"
            problems.append(f"requirements/{name}.txt: expected {requirement}, found {found}")
    return problems


def requirements(lock: Lock) -> list[Requirement]:
    """Return the requirements that a lock must meet, without the distributions themselves."""
    groups = _toml(ROOT)["dependency-groups"]
    texts = [text for group in lock.groups for text in groups[group]]
    for distribution in map(Requirement, lock.distributions):
        project = _toml(ROOT / distribution.name)["project"]
        texts += project["dependencies"]
        texts += [text for extra in distribution.extras for text in project["optional-dependencies"][extra]]
    return [each for each in map(Requirement, texts) if not each.name.startswith("holdfast-")]


def _toml(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


if __name__ == "__main__":
    main()
