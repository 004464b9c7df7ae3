"""Publish the table of reasons: `python tools/generate_reasons.py [--check]`.

The table is `proto/holdfast/v1/errors.proto`; which call fails for which reason is in the comments of
`checkpoint_service.proto`. From these and the exceptions of the SDK come `proto/holdfast/v1/reasons.json`, for clients
in other languages, and the part of the page of errors between the lines `<!-- reasons -->` and `<!-- /reasons -->`.
With `--check` nothing is written, and the exit code is 1 if one is stale.
"""

import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import grpc
from holdfast._core.errors import of_reason
from holdfast.v1 import errors_pb2

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "proto/holdfast/v1/errors.proto"
SERVICE = ROOT / "proto/holdfast/v1/checkpoint_service.proto"
JSON = ROOT / "proto/holdfast/v1/reasons.json"
PAGE = ROOT / "docs/reference/errors.md"
BEGIN, END = "<!-- reasons -->\n", "<!-- /reasons -->\n"

_PREFIX = "ERROR_REASON_"
_COMMENTED = re.compile(r"((?:^  //.*\n)+)^  ERROR_REASON_(\w+) = ", re.MULTILINE)
_COMMENTED_SERVICE = re.compile(r"((?:^//.*\n)+)^service ", re.MULTILINE)
_COMMENTED_CALL = re.compile(r"((?:^  //.*\n)+)^  rpc (\w+)\(", re.MULTILINE)
_LISTED = re.compile(r"// - ([A-Z_, ]+):")


def reasons_by_call() -> dict[str, set[str]]:
    """Return the reasons that the comment of each call lists, with those that the service lists for every call."""
    service = SERVICE.read_text()
    commented = _COMMENTED_SERVICE.search(service)
    if commented is None:
        raise RuntimeError(f"no comment of a service in {SERVICE}")
    of_every_call = _listed(commented[1])
    return {call: of_every_call | _listed(comment) for comment, call in _COMMENTED_CALL.findall(service)}


def _listed(comment: str) -> set[str]:
    return {name for names in _LISTED.findall(comment) for name in names.split(", ")}


def reasons() -> list[dict[str, Any]]:
    """Return the reasons in the order of the table, as `reasons.json` holds them."""
    codes = {code.value[0]: code for code in grpc.StatusCode}
    meanings = {name: " ".join(re.findall(r"// (.*)", text)) for text, name in _COMMENTED.findall(TABLE.read_text())}
    by_call = reasons_by_call()
    found = []
    for value in errors_pb2.ErrorReason.DESCRIPTOR.values[1:]:
        traits = value.GetOptions().Extensions[errors_pb2.traits]
        name = value.name.removeprefix(_PREFIX)
        found.append(
            {
                "reason": name,
                "number": value.number,
                "status": codes[traits.code].name,
                "status_code": traits.code,
                "retryable": traits.retryable,
                "python_exception": type(of_reason(name, "")).__name__,
                "meaning": meanings[name],
                "advice": traits.advice,
                "calls": [call for call, listed in by_call.items() if name in listed],
            }
        )
    return found


def as_json(table: list[dict[str, Any]]) -> str:
    """Return the text of `reasons.json`."""
    return json.dumps({"domain": "holdfast.dev", "reasons": table}, indent=2) + "\n"


def as_page(table: list[dict[str, Any]], page: str) -> str:
    """Return the page of errors with its generated part brought up to date.

    Args:
        table: the reasons.
        page: the page as it is.

    """
    lines = ["| reason | status | retried | Python exception |", "|---|---|---|---|"]
    for each in table:
        link = f"[{each['reason']}](#{each['reason'].lower()})"
        retried = "yes" if each["retryable"] else "no"
        lines.append(f"| {link} | {each['status']} | {retried} | `{each['python_exception']}` |")
    for each in table:
        what, reaction = textwrap.fill(each["meaning"], 100), textwrap.fill(f"What to do: {each['advice']}", 100)
        calls = textwrap.fill(f"Calls: {', '.join(each['calls'])}.", 100)
        if len(each["calls"]) == len(reasons_by_call()):
            calls = "Calls: all."
        lines += ["", f"### {each['reason']}", "", what, "", reaction, "", calls]
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{chr(10).join(lines)}\n\n{END}{rest.split(END)[1]}"


def main(arguments: list[str]) -> int:
    """Write or check the generated files. Return the exit code."""
    table = reasons()
    texts = {JSON: as_json(table), PAGE: as_page(table, PAGE.read_text())}
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if "--check" in arguments:
            print(f"stale: {path.relative_to(ROOT)}: run tools/generate_reasons.py")
        else:
            path.write_text(texts[path])
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
