"""What a scraper of metrics accepts: OpenMetrics or Prometheus' text, with gzip or without.

The library that writes both ignores weights, and fails for a version that is not a number.
"""

import math
from collections.abc import Iterator, Mapping

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TEXT = "text/plain; version=0.0.4"

_TEXT_RANGES = ("text/plain", "text/*", "*/*")


def media_type(accept: str) -> str:
    """Return OPENMETRICS if a scraper accepts it, and nothing else rather; TEXT otherwise.

    Args:
        accept: its header Accept; "" if it sent none.

    """
    openmetrics = text = 0.0
    for name, parameters, weight in _ranges(accept):
        if name == "application/openmetrics-text" and parameters.get("version", "1.0.0") == "1.0.0":
            openmetrics = max(openmetrics, weight)
        elif name in _TEXT_RANGES:
            text = max(text, weight)
    return OPENMETRICS if openmetrics and openmetrics >= text else TEXT


def takes_gzip(accept_encoding: str) -> bool:
    """Return whether a scraper takes an answer that is compressed.

    Args:
        accept_encoding: its header Accept-Encoding; "" if it sent none.

    """
    return any(name in ("gzip", "x-gzip") and weight > 0 for name, _, weight in _ranges(accept_encoding))


def _ranges(header: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Yield the alternatives of a header: name, parameters, weight."""
    for each in header.split(","):
        name, *given = (part.strip().lower() for part in each.split(";"))
        parameters = {key.strip(): value.strip(' "') for key, _, value in (part.partition("=") for part in given)}
        yield name, parameters, _weight(parameters.pop("q", "1"))


def _weight(text: str) -> float:
    """Parse a weight. One that is none counts as 0."""
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if math.isfinite(weight) and 0 <= weight <= 1 else 0.0
