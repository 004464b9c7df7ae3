"""A new version of a program that resumes from a checkpoint of the old version.

Usage: python -m examples.migrations [TARGET]
"""

import json
import sys
from collections.abc import Mapping

import holdfast

OLD = holdfast.Format("order", 1)  # {"name": "Ada Lovelace"}
NEW = holdfast.Format("order", 2)  # {"first": "Ada", "last": "Lovelace"}

migrations = holdfast.Migrations()


@migrations.register("order", from_version=1)
def split_the_name(parts: Mapping[str, bytes]) -> dict[str, bytes]:
    """Make version 2 from version 1."""
    first, last = json.loads(parts[""])["name"].split(" ", 1)
    return {"": json.dumps({"first": first, "last": last}).encode()}


def main(target: str = "file:///tmp/holdfast-examples") -> None:
    """Save in the old format, and resume in the new one: without the migration, then with it."""
    with holdfast.Client(target) as client:
        client.save("examples", "migrations", b'{"name": "Ada Lovelace"}', format=OLD)
        try:
            client.resume("examples", "migrations", format=NEW)
        except holdfast.FormatIncompatibleError as error:
            print(f"without the migration: {error.reason}")
        loaded = client.resume("examples", "migrations", format=NEW, migrations=migrations)
        print(f"with the migration: {loaded.data.decode()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
