"""Publish the table of reasons: `python tools/generate_reasons.py [--check]`.

The table is `proto/holdfast/v1/errors.proto`. From it, its stubs and the exceptions of the SDK come
`proto/holdfast/v1/reasons.json`, for clients in other languages, and the part of the page of errors between the lines
`<!-- reasons -->` and `<!-- /reasons -->`. With `--check` nothing is written and the exit code is 1 if one is stale.
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
JSON = ROOT / "proto/holdfast/v1/reasons.json"
PAGE = ROOT / "docs/reference/errors.md"
BEGIN, END = "<!-- reasons -->\n", "<!-- /reasons -->\n"

_PREFIX = "ERROR_REASON_"
_COMMENTED = re.compile(r"((?:^  //.*\n)+)^  ERROR_REASON_(\w+) = ", re.MULTILINE)


def reasons() -> list[dict[str, Any]]:
    """Return the reasons in the order of the table, as `reasons.json` holds them."""
    codes = {code.value[0]: code for code in grpc.StatusCode}
    meanings = {name: " ".join(re.findall(r"// (.*)", text)) for text, name in _COMMENTED.findall(TABLE.read_text())}
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
        lines += ["", f"### {each['reason']}", "", what, "", reaction]
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
