from collections.abc import Iterator

import holdfast
import pytest


@pytest.fixture(scope="module")
def client(target: str) -> Iterator[holdfast.Client]:
    """A synchronous client, as CrewAI's methods are."""
    with holdfast.Client(target, timeout=20) as client:
        yield client
