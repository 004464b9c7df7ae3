"""Import what a SQLite file of CrewAI has, flows or checkpoints, as its tables say."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Literal, TypeAlias

from holdfast._async.client import AsyncClient
from holdfast.adapters.crewai.moving import TABLE as FLOWS_TABLE
from holdfast.adapters.crewai.moving import move_flows
from holdfast.adapters.crewai.moving_checkpoints import TABLE as CHECKPOINTS_TABLE
from holdfast.adapters.crewai.moving_checkpoints import move_checkpoints
from holdfast.adapters.sqlite_copy import copied, tables
from holdfast.moving import Progress, Report, SourceError

Kind: TypeAlias = Literal["flows", "checkpoints"]

_KINDS: dict[str, Kind] = {FLOWS_TABLE: "flows", CHECKPOINTS_TABLE: "checkpoints"}


@dataclass(frozen=True, slots=True)
class File:
    """A copy of a file, and which kind of it is imported."""

    copy: Path
    shown: str
    kind: Kind

    async def move(
        self,
        client: AsyncClient,
        *,
        namespace: str,
        items: Iterable[str] | None,
        location: str | None,
        prefix: str,
        dry_run: bool,
        progress: Progress | None,
    ) -> Report:
        """Import the flows, or the branches of checkpoints, which `items` names; None for all.

        The other arguments, the result and the errors are those of `import_flows` and `import_checkpoints`.
        """
        if self.kind == "flows":
            return await move_flows(
                self.copy,
                self.shown,
                client,
                namespace=namespace,
                flows=items,
                prefix=prefix,
                dry_run=dry_run,
                progress=progress,
            )
        return await move_checkpoints(
            self.copy,
            self.shown,
            client,
            namespace=namespace,
            location=location,
            branches=items,
            prefix=prefix,
            dry_run=dry_run,
            progress=progress,
        )


@asynccontextmanager
async def opened(source: str | PathLike[str], kind: Kind | None) -> AsyncIterator[File]:
    """Copy a file, and find out what it has.

    Args:
        source: the file.
        kind: what to import; None for what it has.

    Raises:
        SourceError: the file cannot be copied, has neither flows nor checkpoints, or both and no kind is given.

    """
    shown = fspath(source)
    async with copied(source) as copy:
        if kind is None:
            found = tables(copy)
            kinds = [each for table, each in _KINDS.items() if table in found]
            if not kinds:
                names = ", ".join(map(repr, sorted(found))) or "none"
                raise SourceError(
                    f"{shown} is not a file of CrewAI: it has no table {FLOWS_TABLE!r} and no table "
                    f"{CHECKPOINTS_TABLE!r}. Its tables: {names:.500}"
                )
            if len(kinds) > 1:
                raise SourceError(f"{shown} has flows and checkpoints: import one kind after the other, with --kind")
            [kind] = kinds
        yield File(copy, shown, kind)
