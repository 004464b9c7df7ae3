"""Migrations: they must return parts, and an error of one names it."""

import holdfast
import pytest

OLD, NEW = holdfast.Format("test", 1), holdfast.Format("test", 2)


async def asynchronous(parts):
    return parts


RETURNED = [
    None,
    "text",
    b"bytes",
    bytearray(b"bytes"),
    [("", b"x")],
    {"": "text"},
    {"": 3},
    {"": None},
    {1: b"x"},
    {None: b"x"},
    {"\ud83c": b"x"},
    iter(()),
    object(),
]


@pytest.mark.parametrize("returned", RETURNED, ids=lambda each: repr(each)[:20])
async def test_a_migration_that_does_not_return_parts_is_named_by_an_error(client, returned):
    await client.save("n", "w", b"x", format=OLD)
    migrations = holdfast.Migrations()

    @migrations.register("test", from_version=1)
    def add_totals(parts):
        return returned

    with pytest.raises(holdfast.FormatIncompatibleError) as caught:
        await client.resume("n", "w", format=NEW, migrations=migrations)
    assert "the migration of 'test' from version 1" in str(caught.value)
    assert "add_totals" in str(caught.value)
    assert "returned" in str(caught.value)
    assert caught.value.last_good is not None


async def test_an_asynchronous_migration_is_refused_without_a_warning(client, recwarn):
    await client.save("n", "w", b"x", format=OLD)
    migrations = holdfast.Migrations()
    migrations.register("test", from_version=1)(asynchronous)
    with pytest.raises(holdfast.FormatIncompatibleError, match="asynchronous"):
        await client.resume("n", "w", format=NEW, migrations=migrations)
    assert not [each for each in recwarn if "never awaited" in str(each.message)]


async def test_an_error_of_a_migration_is_the_cause_of_the_error_that_is_raised(client):
    await client.save("n", "w", b"x", format=OLD)
    migrations = holdfast.Migrations()

    @migrations.register("test", from_version=1)
    def fails(parts):
        raise KeyError("totals")

    with pytest.raises(holdfast.FormatIncompatibleError, match="KeyError: 'totals'") as caught:
        await client.resume("n", "w", format=NEW, migrations=migrations)
    assert isinstance(caught.value.__cause__, KeyError)


async def test_bytes_like_parts_of_a_migration_become_bytes(client):
    await client.save("n", "w", b"x", format=OLD)
    migrations = holdfast.Migrations()

    @migrations.register("test", from_version=1)
    def split(parts):
        return {"a": bytearray(parts[""]), "b": memoryview(b"y")}

    loaded = await client.resume("n", "w", format=NEW, migrations=migrations)
    assert loaded.parts == {"a": b"x", "b": b"y"}
    assert all(type(each) is bytes for each in loaded.parts.values())
    assert loaded.migrated_from == OLD


@pytest.mark.parametrize("version", [0, -1, 2**31 - 1, 2**31])
def test_a_migration_must_begin_at_a_version_that_has_a_next(version):
    with pytest.raises(ValueError, match="from_version must be 1 to"):
        holdfast.Migrations().register("f", from_version=version)


@pytest.mark.parametrize("version", [True, 1.0, "1", None])
def test_a_version_must_be_a_whole_number(version):
    with pytest.raises(TypeError, match="from_version must be a whole number"):
        holdfast.Migrations().register("f", from_version=version)
