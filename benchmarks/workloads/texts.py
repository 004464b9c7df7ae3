"""Text that compresses as chats do: words of uneven frequency. The same in every run."""

import random

_SYLLABLES = [first + second for first in "bcdfglmnprstvz" for second in "aeiou"]
_WORDS = 20_000
_UNEVENNESS = 0.8
_LEAST_SYLLABLES, _MOST_SYLLABLES = 1, 4


def _words() -> list[str]:
    source = random.Random(1)
    return [
        "".join(source.choices(_SYLLABLES, k=source.randint(_LEAST_SYLLABLES, _MOST_SYLLABLES))) for _ in range(_WORDS)
    ]


class Texts:
    """An endless source of texts."""

    def __init__(self, seed: int) -> None:
        self._source = random.Random(seed)
        self._words = _words()
        # A list of English words has about 1 here. With more, the text compresses better than a chat.
        self._weights = [rank**-_UNEVENNESS for rank in range(1, _WORDS + 1)]

    def next(self, size: int) -> str:
        """Return the next text, of a number of characters."""
        # A word and a space have at least three characters.
        return " ".join(self._source.choices(self._words, self._weights, k=size // 3 + 1))[:size]
