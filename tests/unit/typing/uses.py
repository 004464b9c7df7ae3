"""Uses of the public API, which mypy checks with the code (`make lint`); nothing here runs."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import assert_type

import holdfast

FORMAT = holdfast.Format("state", 2)
ACCEPTED = holdfast.AcceptedFormat("state", 1, 2)

migrations = holdfast.Migrations()


@migrations.register("state", from_version=1)
def add_totals(parts: Mapping[str, bytes]) -> Mapping[str, bytes]:
    return {**parts, "totals": b"{}"}


def synchronous() -> None:
    with holdfast.Client("localhost:7433", timeout=5, retry=holdfast.RetryPolicy(), producer=("n", "1")) as client:
        assert_type(client, holdfast.Client)
        saved = client.save("n", "w", b"data", format=FORMAT, labels={"k": "v"}, ttl=timedelta(days=1))
        assert_type(saved, holdfast.Checkpoint)
        assert_type(saved.expires, datetime | None)
        assert_type(saved.parts, tuple[holdfast.PartInfo, ...])
        with open("data", "rb") as file:
            client.save("n", "w", file, format=FORMAT)
        client.save("n", "w", {"a": b"1", "b": bytearray(b"2")}, format=FORMAT, progress=lambda sent, total: None)
        loaded = client.load("n", "w", accepted_formats=[ACCEPTED], fallback=True, max_bytes=1 << 30)
        assert_type(loaded, holdfast.LoadedCheckpoint)
        assert_type(loaded.data, bytes)
        assert_type(loaded.parts, Mapping[str, bytes])
        assert_type(loaded.skipped, tuple[holdfast.Skipped, ...])
        assert_type(client.resume("n", "w", format=FORMAT, migrations=migrations), holdfast.LoadedCheckpoint)
        for checkpoint in client.list("n", created_after=datetime.now(UTC), formats=[ACCEPTED]):
            assert_type(checkpoint, holdfast.Checkpoint)
        for found in client.history("n", "w", records=True):
            assert_type(found, holdfast.LoadedCheckpoint)
        for workflow in client.list_workflows("n", prefix="w"):
            assert_type(workflow, holdfast.WorkflowInfo)
        for namespace in client.namespaces("team-"):
            assert_type(namespace, str)
        for usage in client.usage("n", prefix="w", stored_only=True):
            assert_type(usage.checkpoints, int | None)
        assert_type(client.usage_page("n").total, holdfast.NamespaceUsage | None)
        validation = client.validate("n", "w", depth="presence")
        assert_type(validation, holdfast.Validation)
        assert_type(validation.last_good, holdfast.Checkpoint | None)
        assert_type(client.acquire_writer("n", "w", lease=timedelta(minutes=1)), holdfast.Writer)
        client.attach("n", "w", "c", [holdfast.Record("key", b"data")])
        assert_type(client.records("n", "w", "c"), tuple[holdfast.Record, ...])
        assert_type(client.delete("n", "w", "c", purge=True), int)
        assert_type(client.delete_checkpoints("n", labels={"k": "v"}), int)
        assert_type(client.delete_workflow("n", "w"), int)
        assert_type(client.delete_workflows("n", "w-"), int)
        assert_type(client.prune("n", "w", keep_last=3), int)
        assert_type(client.copy_workflow("n", "w", "v"), int)
        handle = client.workflow("n", "w")
        assert_type(handle, holdfast.Workflow)
        assert_type(handle.save(b"data", format=FORMAT), holdfast.Checkpoint)
        assert_type(handle.revision, int | None)
        assert_type(handle.load_to("file"), holdfast.LoadedFile)
        assert_type(client.load_to("n", "w", "file"), holdfast.LoadedFile)
        assert_type(list(client.read_part("n", "w", part="a", offset=1, length=2)), list[bytes])


async def asynchronous() -> None:
    async with holdfast.AsyncClient("localhost:7433") as client:
        assert_type(client, holdfast.AsyncClient)
        assert_type(await client.save("n", "w", b"data", format=FORMAT), holdfast.Checkpoint)
        assert_type(await client.load("n", "w"), holdfast.LoadedCheckpoint)
        assert_type(await client.resume("n", "w", format=FORMAT), holdfast.LoadedCheckpoint)
        async for checkpoint in client.list("n"):
            assert_type(checkpoint, holdfast.Checkpoint)
        async for found in client.history("n"):
            assert_type(found, holdfast.LoadedCheckpoint)
        async for piece in client.read_part("n", "w", "c"):
            assert_type(piece, bytes)
        async for workflow in client.list_workflows("n"):
            assert_type(workflow, holdfast.WorkflowInfo)
        async for namespace in client.namespaces("team-"):
            assert_type(namespace, str)
        assert_type(await client.records("n", "w", "c"), tuple[holdfast.Record, ...])
        assert_type(await client.acquire_writer("n", "w"), holdfast.Writer)
        assert_type(await client.prune("n", "w"), int)
        handle = client.workflow("n", "w")
        assert_type(handle, holdfast.AsyncWorkflow)
        assert_type(await handle.acquire_writer(), holdfast.Writer)
        assert_type(await handle.resume(format=FORMAT), holdfast.LoadedCheckpoint)
        assert_type(await handle.prune(), int)


def errors() -> None:
    try:
        holdfast.Client("localhost:7433").load("n", "w")
    except holdfast.CheckpointCorruptedError as error:
        resume_error: holdfast.WorkflowCheckpointResumeError = error
        assert_type(resume_error.last_good, holdfast.Checkpoint | None)
    except holdfast.InvalidRequestError as error:
        as_value_error: ValueError = error
        raise as_value_error from None
    except holdfast.HoldfastError as error:
        assert_type(error.reason, str)
        assert_type(error.metadata, dict[str, str])
        assert_type(error.retry_after_seconds, float | None)
        assert_type(error.field_violations, tuple[tuple[str, str], ...])


def mistakes() -> None:
    """Each line is an error to mypy, which also reports an ignore that it does not need."""
    holdfast.Server()  # type: ignore[attr-defined]
    client = holdfast.Client("localhost:7433")
    client.load(1, "w")  # type: ignore[arg-type]
    client.save("n", "w", b"data")  # type: ignore[call-arg]
    client.validate("n", "w", depth="deep")  # type: ignore[arg-type]
