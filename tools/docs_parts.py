"""Render the parts of pages that come from the code: `<!-- generated: NAME ARGUMENTS -->` is replaced by them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import holdfast
from holdfast.cli import exit_codes
from holdfast_server.config import Config

ROOT = Path(__file__).resolve().parent.parent
_PART = re.compile(r"<!-- generated: ([a-z-]+)((?: (?!-->)[^ ]+)*) -->")
_COLUMNS = "100"


def render(markdown: str) -> str:
    """Return a page with its generated parts in place.

    Raises:
        KeyError: the page names a part that does not exist.

    """
    return _PART.sub(lambda match: _PARTS[match[1]](*match[2].split()), markdown)


def installation() -> str:
    """Return the commands that install the distributions, as the README has them, which a test runs."""
    [script] = re.findall(r"```sh\n.*?```", (ROOT / "README.md").read_text(), re.DOTALL)
    return str(script)


def settings() -> str:
    """Return the table of the server's settings, from its configuration class."""
    meanings = re.findall(r"^ {8}(\w+): (.+(?:\n {12}.+)*)", Config.__doc__ or "", re.MULTILINE)
    defaults = {field.name: field.default for field in fields(Config)} | {"store": "./holdfast-data", "retention": {}}
    rows = [f"| {name} | {_default(name, defaults[name])} | {' '.join(text.split())} |" for name, text in meanings]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])


def _default(name: str, value: object) -> str:
    if name == "grace_seconds":
        return "86400"
    return f"{value:g}" if isinstance(value, float) else str(value)


def reasons_of_exit_code(code: str) -> str:
    """Return the error reasons that end the command `holdfast` with an exit code."""
    return ", ".join(reason for reason, value in exit_codes.BY_REASON.items() if value == int(code))


def errors() -> str:
    """Return the names of the client's errors as a list in YAML, base classes first."""
    names = [name for name in holdfast.__all__ if name.endswith("Error")]
    return json.dumps(sorted(names, key=lambda name: len(getattr(holdfast, name).__mro__)))


def values() -> str:
    """Return the names of all other exports, except clients and their handles, as a list in YAML."""
    excluded = {"AsyncClient", "AsyncWorkflow", "Client", "Workflow"}
    return json.dumps([name for name in holdfast.__all__ if not name.endswith("Error") and name not in excluded])


def help_of(program: str) -> str:
    """Return the help of a program, and of each of its commands under a heading of its own.

    Args:
        program: `holdfast` or `holdfast-server`.

    """
    overview, *others = _helps(program)
    return "\n\n".join([f"```text\n{overview[1]}```", *(f"### {name}\n\n```text\n{text}```" for name, text in others)])


def _helps(program: str, *command: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the help of a command, and then of each command below it."""
    text = _help(program, *command)
    yield " ".join((program, *command)), text
    # Below a command only a list of further commands begins with their names in braces.
    listed = text.partition("positional arguments:\n  {")[2] if command else text
    for name in re.findall(r"^    ([a-z-]+)(?:  |$)", listed, re.MULTILINE):
        yield from _helps(program, *command, name)


def _help(program: str, *command: str) -> str:
    module = {"holdfast": "holdfast_command", "holdfast-server": "holdfast_server.__main__"}[program]
    code = f"import sys; from {module} import main; sys.argv[0] = {program!r}; sys.exit(main())"
    environment = {**os.environ, "COLUMNS": _COLUMNS, "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *command, "--help"], env=environment, check=True, capture_output=True, text=True
    ).stdout


_PARTS: dict[str, Callable[..., str]] = {
    "errors": errors,
    "help": help_of,
    "installation": installation,
    "reasons-of-exit-code": reasons_of_exit_code,
    "settings": settings,
    "values": values,
}
