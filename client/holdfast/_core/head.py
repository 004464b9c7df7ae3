"""The head of a workflow's log, as a value that callers may keep."""

import re
from dataclasses import dataclass

_TEXT = re.compile(r"([0-9]{1,19}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry of a workflow's log. Its text, by `str`, is short: keep it anywhere, and parse it again.

    Attributes:
        revision: its revision.
        digest: the digest of the entry and of all entries before it, 32 bytes.

    """

    revision: int
    digest: bytes

    def __str__(self) -> str:
        return f"{self.revision}:{self.digest.hex()}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Return the head with a text.

        Raises:
            ValueError: it is not the text of a head.
            TypeError: it is not text.

        """
        found = _TEXT.fullmatch(text)
        if found is None or not int(found[1]):
            raise ValueError(f"invalid head {text[:100]!r}: expected REVISION:DIGEST, with 64 hexadecimal digits")
        return cls(int(found[1]), bytes.fromhex(found[2]))
