"""One search by coverage, in a process of its own: `python -m tests.fuzz.search TARGET FOLDER … [-option …]`."""

import importlib
import sys

import atheris


def main() -> None:
    target = sys.argv.pop(1)
    # Whatever is imported below this line is watched.
    with atheris.instrument_imports(include=["holdfast", "holdfast_server"]):
        check = importlib.import_module(f"tests.fuzz.targets.{target}").check
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
