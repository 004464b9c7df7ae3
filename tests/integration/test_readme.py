"""The README's code runs as written."""

import asyncio
import re
import sys

import pytest

from tests.support.repository import ROOT

README = (ROOT / "README.md").read_text()


async def test_the_lines_of_python_run_as_written(tmp_path):
    [snippet] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        snippet.replace("file:///tmp/checkpoints", tmp_path.as_uri()),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"b'state after step 1'\n")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_path_that_a_page_names_exists(page):
    paths = re.findall(r"`((?:client|docs|proto|requirements|server|tests|tools)/[^` ]*)`", (ROOT / page).read_text())
    assert [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] == []
