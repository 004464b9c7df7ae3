"""One search by coverage, in a process of its own.

`python -m tests.verification.fuzz.search TARGET FOLDER … [-option …]`
"""

import importlib
import sys

import atheris

# Packages whose branches guide the search: the product, and the parsers of text that it uses.
_WATCHED = ["holdfast", "holdfast_server", "tomllib", "google.protobuf.json_format"]


def main() -> None:
    target = sys.argv.pop(1)
    with atheris.instrument_imports(include=_WATCHED):
        check = importlib.import_module(f"tests.verification.fuzz.targets.{target}").check
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
