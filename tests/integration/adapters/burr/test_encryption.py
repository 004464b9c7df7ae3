"""The persisters with a keyring: nothing that an application saves is readable in the store."""

import holdfast
import pytest
from holdfast.encryption import LocalKey

from tests.support.required import require_engine
from tests.support.visible import SECRET, require_sealed

require_engine("burr")

from burr.core import State  # noqa: E402
from holdfast.adapters.burr import AsyncHoldfastPersister, HoldfastPersister  # noqa: E402


async def test_steps_are_encrypted_and_come_back(target, namespace):
    keyring = holdfast.Keyring(LocalKey.generate())
    options = {"namespace": namespace, "encryption": keyring}
    async with AsyncHoldfastPersister.from_target(target, **options) as persister:
        for _ in range(2):
            await persister.save("p", "app", 0, SECRET, State({"text": SECRET}), "completed")
        await persister.save("p", "app", 1, "step", State({"text": f"{SECRET} again"}), "failed")
    with HoldfastPersister.from_target(target, **options) as persister:
        loaded = persister.load("p", "app", 0)
        assert (loaded["position"], loaded["state"].get_all()) == (SECRET, {"text": SECRET})
        assert persister.load("p", "app")["state"].get_all() == {"text": f"{SECRET} again"}
    await require_sealed(target, namespace)
    with (
        HoldfastPersister.from_target(target, namespace=namespace) as persister,
        pytest.raises(holdfast.KeyringRequiredError),
    ):
        persister.load("p", "app")
