"""The reasons that a call may fail for, according to the comments of the protos."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast_server.api import failures

from tests.support.repository import ROOT

_PUBLISHED = json.loads((ROOT / "proto/holdfast/v1/reasons.json").read_text())["reasons"]
CALLS_BY_REASON = {each["reason"]: each["calls"] for each in _PUBLISHED}


@contextmanager
def only_listed_reasons() -> Iterator[None]:
    """Fail if a server of this process has ended a call for a reason that the comment of the call does not list."""
    unlisted = set()
    failed_call = failures.failed_call

    def checked(error, *, method, **ids):
        name = method.rpartition("/")[2]
        # Reflection is of another service, whose comments list no reasons.
        if method.startswith("holdfast.v1.") and name not in CALLS_BY_REASON[error.reason]:
            unlisted.add(f"{name} fails with {error.reason}, which its comment does not list: {error.message}")
        return failed_call(error, method=method, **ids)

    failures.failed_call = checked
    try:
        yield
    finally:
        failures.failed_call = failed_call
    assert not unlisted
