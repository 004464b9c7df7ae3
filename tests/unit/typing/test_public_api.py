"""A change of the public API is deliberate: it changes the recorded listing, and the uses that mypy checks."""

from pathlib import Path

from tests.unit.typing.listing import listing

RECORDED = Path(__file__).with_name("public_api.txt")


def test_the_public_api_is_the_recorded_one() -> None:
    assert listing() == RECORDED.read_text(), "if deliberate: python -m tests.unit.typing.listing > public_api.txt"
