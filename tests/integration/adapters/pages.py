"""Run the code on the pages about engines as written."""

import re
import subprocess
import sys

from tests.support.repository import ROOT

_PAGES = ROOT / "docs" / "guides" / "engines"


def output_of(engine: str, target: str) -> str:
    """Run the code of a page, and return its output.

    Args:
        engine: the page's name.
        target: the server to use instead of the one on the page.

    """
    [snippet] = re.findall(r"```python\n(.*?)```", (_PAGES / f"{engine}.md").read_text(), re.DOTALL)
    code = snippet.replace("127.0.0.1:7433", target)
    return subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=100, check=True
    ).stdout
