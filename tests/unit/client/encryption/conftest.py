"""A client with a keyring, one without, and what lies in the store."""

import holdfast
import pytest
from holdfast.encryption import LocalKey

from tests.support.stored import Stored


@pytest.fixture
def key():
    return LocalKey.generate("tenant")


@pytest.fixture
def keyring(key):
    return holdfast.Keyring(key)


@pytest.fixture
async def client(connect, served, keyring):
    async with connect(served.target, timeout=20, encryption=keyring) as client:
        yield client


@pytest.fixture
async def plain(connect, served):
    """A client of the same service without a keyring."""
    async with connect(served.target, timeout=20) as client:
        yield client


@pytest.fixture
async def stored(served):
    async with Stored(served.target) as stored:
        yield stored
