"""Format migrations: plain functions, registered per format name, each from one version to the next."""

from collections.abc import Callable, Mapping

from holdfast import arguments
from holdfast.checkpoint import MAX_FORMAT_VERSION, AcceptedFormat, Format
from holdfast.errors import of_reason

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
        """Register a function that makes version `from_version` + 1 of a format from `from_version`.

        Raises:
            TypeError: the name is not text, or the version is not a whole number.
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
        """The versions that can be brought to the wanted one."""
        lowest = wanted.version
        while Format(wanted.name, lowest - 1) in self._steps:
            lowest -= 1
        return AcceptedFormat(wanted.name, lowest, wanted.version)

    def migrate(self, parts: Parts, stored: Format, wanted: Format) -> Parts:
        """Bring parts from the stored format to the wanted one.

        Raises:
            FormatIncompatibleError: no path of migrations leads there, or a migration failed.

        """
        for version in range(stored.version, wanted.version):
            step = self._steps.get(Format(stored.name, version))
            if step is None:
                raise of_reason("FORMAT_INCOMPATIBLE", f"no migration of {stored.name!r} from version {version}")
            try:
                parts = step(parts)
            except Exception as error:
                message = f"the migration of {stored.name!r} from version {version} failed: {type(error).__name__}"
                raise of_reason("FORMAT_INCOMPATIBLE", message) from error
        return parts
