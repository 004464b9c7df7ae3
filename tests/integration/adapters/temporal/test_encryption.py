"""The storage driver with a keyring: neither payloads nor their names say anything of their content."""

import hashlib
import os

import holdfast
import pytest
from holdfast.encryption import LocalKey

from tests.support.required import require_engine
from tests.support.visible import SECRET, require_sealed, visible

require_engine("temporalio")

from holdfast.adapters.temporal import HoldfastStorageDriver  # noqa: E402
from temporalio.api.common.v1 import Payload  # noqa: E402
from temporalio.converter import (  # noqa: E402
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)

CONTEXT = StorageDriverStoreContext(
    target=StorageDriverWorkflowInfo(namespace="default", id="order-1", run_id=None, type="Order")
)


async def test_payloads_are_encrypted_under_names_that_cannot_be_guessed_and_come_back(target, namespace):
    keyring = holdfast.Keyring(LocalKey.generate())
    payloads = [Payload(data=SECRET.encode()), Payload(data=SECRET.encode() * 100_000)]
    async with HoldfastStorageDriver.from_target(target, namespace=namespace, encryption=keyring) as driver:
        claims = await driver.store(CONTEXT, payloads)
        assert await driver.store(CONTEXT, payloads) == claims
        assert await driver.retrieve(StorageDriverRetrieveContext(), claims) == payloads
    await require_sealed(target, namespace)
    seen = await visible(target, namespace)
    for payload in payloads:
        assert hashlib.sha256(payload.SerializeToString(deterministic=True)).hexdigest() not in seen
    async with HoldfastStorageDriver.from_target(target, namespace=namespace) as driver:
        with pytest.raises(holdfast.KeyringRequiredError):
            await driver.retrieve(StorageDriverRetrieveContext(), claims)


async def test_a_payload_under_the_name_of_another_one_is_refused(target, namespace):
    keyring = holdfast.Keyring(LocalKey.generate())
    async with (
        HoldfastStorageDriver.from_target(target, namespace=namespace, encryption=keyring) as driver,
        holdfast.AsyncClient(target, encryption=keyring) as client,
    ):
        [claim] = await driver.store(CONTEXT, [Payload(data=b"one")])
        names = list(claim.claim_data.values())
        loaded = await client.load(*names)
        await client.save(*names[:2], Payload(data=b"two").SerializeToString(), format=loaded.format, checkpoint_id="x")
        forged = StorageDriverClaim({**claim.claim_data, list(claim.claim_data)[2]: "x"})
        with pytest.raises(holdfast.CheckpointCorruptedError, match="not the digest"):
            await driver.retrieve(StorageDriverRetrieveContext(), [forged])


async def test_a_key_that_cannot_name_payloads_is_refused(target, namespace):
    keyring = holdfast.Keyring(LocalKey("a", os.urandom(32)))
    with pytest.raises(ValueError, match="no label_key"):
        async with HoldfastStorageDriver.from_target(target, namespace=namespace, encryption=keyring):
            pass
