"""Logs as JSON, one object per line on stderr, with the trace id if there is one."""

import json
import logging
from datetime import UTC, datetime

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Formats a log record as a JSON object that has the record's `extra` as further fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS and value != ""}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def first_line(message: str, **fields: str) -> str:
    """Return the line that a server prints to stdout when it serves. It has the form of a line of the log."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"message": message, "time": now, "level": "info", "logger": "holdfast.server", **fields}
    return json.dumps(line, separators=(",", ":"))


def configure(level: str = "info") -> None:
    """Send the log to stderr: Holdfast's own messages from a level on, and warnings of the libraries.

    Args:
        level: debug, info, warning or error.

    """
    number = logging.getLevelNamesMapping()[level.upper()]
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=max(logging.WARNING, number), handlers=[handler], force=True)
    logging.getLogger("holdfast").setLevel(number)
