"""The code blocks of the pages, and how their programs run."""

import asyncio
import os
import re
import sys
from pathlib import Path

from tests.support.repository import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page that are in a language."""
    return [
        "".join(line.removeprefix(indent) for line in code.splitlines(keepends=True))
        for indent, name, code in FENCE.findall(page.read_text())
        if name == language
    ]


def environment(target: str) -> dict[str, str]:
    """Return the environment of a program, with a server's target, and with our programs on its path."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "HOLDFAST_TARGET": target, "NO_COLOR": "1", "PATH": path}


async def run(command: list[str], folder: Path, target: str) -> str:
    """Run a program beside a server that it reaches at a target, and return its output."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment(target), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, (out + err).decode()
    return out.decode()
