"""The targets, and the kept inputs of each."""

from importlib import import_module
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
TARGETS = tuple(sorted(path.stem for path in (Path(__file__).parent / "targets").glob("[a-z]*.py")))


def check(target: str, data: bytes) -> None:
    """Give an input to the parser of a target.

    Raises:
        Exception: whatever the parser must not raise, or an AssertionError about what it must not do.

    """
    import_module(f"tests.verification.fuzz.targets.{target}").check(data)


def kept(target: str) -> list[Path]:
    """Return the kept inputs of a target."""
    return sorted((CORPUS / target).iterdir())
