"""How pages show values: ids, times and sizes. Each has a short text, and the exact value for a tooltip."""

from datetime import UTC, datetime

_ID_CHARACTERS = 36
_ID_TAIL = 12
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SPANS = ((86_400 * 365, "y"), (86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def printable(text: str) -> str:
    """Return a text in which characters that a browser would not show, or that reorder a line, are escaped."""
    return "".join(
        each if each.isprintable() or each == " " else each.encode("unicode_escape", "replace").decode()
        for each in text
    )


def short_id(text: str, characters: int = _ID_CHARACTERS) -> str:
    """Return an id without its middle if it is long. Both ends are what distinguishes ids."""
    shown = printable(text)
    if len(shown) <= characters:
        return shown
    tail = min(_ID_TAIL, characters // 2)
    return f"{shown[: characters - tail - 1]}…{shown[-tail:]}"


def size(size_bytes: int) -> str:
    """Return a number of bytes in binary units, to three digits."""
    value = float(size_bytes)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{size_bytes} B" if unit == "B" else f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"


def exact_size(size_bytes: int) -> str:
    """Return a number of bytes with all its digits."""
    return f"{size_bytes:,} bytes"


def age(moment: datetime, now: datetime | None = None) -> str:
    """Return how long ago a moment was, or how long until it comes, in its largest unit."""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    span = duration(abs(seconds))
    return "now" if span == "0 s" else f"{span} ago" if seconds > 0 else f"in {span}"


def duration(seconds: float) -> str:
    """Return a length of time in its largest unit."""
    for length, unit in _SPANS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return "0 s"


def exact_time(moment: datetime) -> str:
    """Return a moment to the second, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
