"""The cases: tables of `cases/*.toml`, checked as they are read.

README.md lists the fields and the steps. A case has the name of its file, its group, and of its table.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "cases"
PLACES = ("server", "own", "two", "secure", "mutual", "scripted", "nowhere")
# The first key of a step says what it does; the others are its arguments. The ops of a driver have any arguments.
STEPS: Mapping[str, frozenset[str] | None] = {
    "call": None,
    "wait": frozenset({"expect", "fails", "as"}),
    "check": frozenset({"of"}),
    "proxy": frozenset({"after", "ms"}),
    "server": frozenset({"which"}),
    "commits": frozenset(),
    "damage": frozenset(),
    "seen": frozenset({"expect", "same", "differ", "count"}),
    "file": frozenset({"expect"}),
}


class CaseError(Exception):
    """A case that cannot be run as it is written."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        name: group/name.
        rules: the rules of docs/clients.md that it holds.
        catches: the mutants that must make it fail.
        place: where the client is sent: "server" (a real one), "own" (a real one that it may kill), "two" (two real
            ones with one store), "secure" (a real one with TLS and tokens), "mutual" (a real one
            that requires certificates of its callers), "scripted", or "nowhere" (nothing listens).
        proxy: whether a proxy lies between client and server.
        open: the options of the client, or None to open none.
        needs: features that the driver must have.
        stored: the parts of the checkpoint that the scripted server has.
        script: what the scripted server does, other than to answer as a server would.
        flags: more flags of its own servers.
        limit_seconds: the most time that it may take.
        passes_without_faults: whether it also passes if nothing misbehaves, since a fault shall make no difference.
        steps: the steps.

    """

    name: str
    rules: Sequence[str]
    steps: Sequence[Mapping[str, Any]]
    catches: Sequence[str] = ()
    place: str = "server"
    proxy: bool = False
    open: Mapping[str, Any] = field(default_factory=dict)
    needs: Sequence[str] = ()
    stored: Sequence[Sequence[Any]] = ()
    script: Sequence[Mapping[str, Any]] = ()
    flags: Sequence[str] = ()
    limit_seconds: float = 60
    passes_without_faults: bool = False

    def __post_init__(self) -> None:
        if not self.rules or not self.steps:
            raise CaseError(f"{self.name}: rules and steps are required")
        if self.place not in PLACES:
            raise CaseError(f"{self.name}: place must be one of {', '.join(PLACES)}, not {self.place!r}")
        for step in self.steps:
            kind = next(iter(step), "")
            known = STEPS.get(kind, frozenset())
            if kind not in STEPS or (known is not None and (unknown := step.keys() - known - {kind})):
                raise CaseError(f"{self.name}: unknown step or argument: {step if kind not in STEPS else unknown}")

    @property
    def group(self) -> str:
        """The group, which is the name of the file."""
        return self.name.partition("/")[0]

    @property
    def rests_on_faults(self) -> bool:
        """Whether the case needs a server, a proxy or a store that does wrong."""
        harm = any(step.keys() & {"proxy", "damage"} for step in self.steps)
        return not self.passes_without_faults and (bool(self.script) or harm)

    @property
    def kills(self) -> bool:
        """Whether the case needs a server of its own, or its files, which a server by address does not give."""
        return self.place in ("own", "two", "secure", "mutual") or any("damage" in step for step in self.steps)


def all_cases(patterns: Iterable[str] = ("*",)) -> list[Case]:
    """Return the cases whose names match one of the patterns, in the order of their files.

    Raises:
        CaseError: a case is not valid, or a pattern matches none.

    """
    found = [case for path in sorted(_FOLDER.glob("*.toml")) for case in _read(path)]
    patterns = list(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(case.name, pattern) for case in found):
            raise CaseError(f"no case matches {pattern!r}")
    return [case for case in found if any(fnmatchcase(case.name, pattern) for pattern in patterns)]


def _read(path: Path) -> Iterable[Case]:
    known = {each.name for each in fields(Case)} - {"name"}
    for name, given in tomllib.loads(path.read_text()).items():
        if unknown := given.keys() - known:
            raise CaseError(f"{path.stem}/{name}: unknown fields {', '.join(sorted(unknown))}")
        yield Case(name=f"{path.stem}/{name}", **{"rules": (), "steps": ()} | given)
