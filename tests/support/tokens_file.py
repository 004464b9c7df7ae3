"""A file of static tokens for servers of tests."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from holdfast_server.trust import tokens


class TokensFile:
    """A file of tokens.

    Attributes:
        ci: the token of "ci", which does not end.
        brief: the token of "brief", which ends at `end`.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end = datetime.now(UTC) + timedelta(hours=1)
        self.ci, self.entry = tokens.new_token("ci", None)
        self.brief, self.brief_entry = tokens.new_token("brief", self.end)
        self.write(self.entry, self.brief_entry)

    def write(self, *entries: tokens.StaticToken) -> None:
        """Replace the content of the file."""
        self.path.write_bytes(tokens.serialized(list(entries)))
