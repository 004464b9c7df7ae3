"""Format migrations: functions, registered by format name, each from one version to the next."""

from collections.abc import Callable, Coroutine, Mapping
from reprlib import repr  # noqa: A004 - bounded, unlike the built-in one

from holdfast._core import arguments
from holdfast._core.checkpoint import MAX_FORMAT_VERSION, AcceptedFormat, Format
from holdfast._core.errors import of_reason

_SHOWN_CHARACTERS = 300

Parts = Mapping[str, bytes]
Migration = Callable[[Parts], Parts]


class Migrations:
    """A registry of migrations.

    Example:
        migrations = Migrations()

        @migrations.register("my-engine", from_version=1)
        def add_totals(parts: Parts) -> Parts: ...

    """

    def __init__(self) -> None:
        self._steps: dict[Format, Migration] = {}

    def register(self, name: str, *, from_version: int) -> Callable[[Migration], Migration]:
        """Register a function that migrates a format from `from_version` to the next version.

        Raises:
            TypeError: the name is not a str, or the version is not an integer.
            ValueError: the version is out of range, or has a migration already.

        """
        key = Format(
            arguments.text("name", name), arguments.integer("from_version", from_version, 1, MAX_FORMAT_VERSION - 1)
        )
        if key in self._steps:
            raise ValueError(f"format {name!r} version {from_version} has a migration already")

        def add(step: Migration) -> Migration:
            self._steps[key] = step
            return step

        return add

    def accepted(self, wanted: Format) -> AcceptedFormat:
        """Return the versions that can be migrated to a format, including its own."""
        lowest = wanted.version
        while Format(wanted.name, lowest - 1) in self._steps:
            lowest -= 1
        return AcceptedFormat(wanted.name, lowest, wanted.version)

    def migrate(self, parts: Parts, stored: Format, wanted: Format) -> Parts:
        """Migrate parts from the stored format to the wanted format.

        Raises:
            FormatIncompatibleError: a migration is missing or failed, or returned something else than parts.

        """
        for version in range(stored.version, wanted.version):
            step = self._steps.get(Format(stored.name, version))
            if step is None:
                raise of_reason("FORMAT_INCOMPATIBLE", f"no migration of {stored.name!r} from version {version}")
            parts = _migrated(step, parts, f"the migration of {stored.name!r} from version {version}")
        return parts


def _migrated(step: Migration, parts: Parts, what: str) -> Parts:
    """Run one migration and check that it returns parts."""
    what = f"{what} ({getattr(step, '__qualname__', repr(step))})"
    try:
        migrated: object = step(parts)
    except Exception as error:
        message = f"{what} failed: {type(error).__name__}: {str(error)[:_SHOWN_CHARACTERS]}"
        raise of_reason("FORMAT_INCOMPATIBLE", message) from error
    if isinstance(migrated, Coroutine):
        migrated.close()
    if not isinstance(migrated, Mapping):
        message = f"{what} returned {repr(migrated)}, not parts: a mapping of part names to bytes"
        raise of_reason("FORMAT_INCOMPATIBLE", message)
    try:
        return {arguments.text("a part's name", name): arguments.octets(name, data) for name, data in migrated.items()}
    except (TypeError, ValueError) as error:
        raise of_reason("FORMAT_INCOMPATIBLE", f"{what} returned something else than parts: {error}") from error
