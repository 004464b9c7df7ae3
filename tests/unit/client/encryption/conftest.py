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


@pytest.fixture
def new_key(key):
    return key.successor("new")


@pytest.fixture
async def rewrapping(connect, served, new_key, key):
    """A client that writes by the new key and reads by both."""
    async with connect(served.target, timeout=20, encryption=holdfast.Keyring(new_key, key)) as client:
        yield client


@pytest.fixture
async def renewed(connect, served, new_key):
    """A client that has the new key only."""
    async with connect(served.target, timeout=20, encryption=holdfast.Keyring(new_key)) as client:
        yield client
