"""Run the code on the pages about engines as written."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.repository import ROOT

_PAGES = ROOT / "docs" / "guides" / "engines"


def output_of(engine: str, folder: Path) -> str:
    """Run the code of a page, and return its output.

    Args:
        engine: the page's name.
        folder: the folder to use instead of the one on the page.

    """
    [snippet] = re.findall(r"```python\n(.*?)```", (_PAGES / f"{engine}.md").read_text(), re.DOTALL)
    code = snippet.replace("file:///tmp/checkpoints", folder.as_uri())
    return subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=100, check=True
    ).stdout
