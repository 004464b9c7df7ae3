"""The pages about engines, whose code is run as written."""

import re
import subprocess
import sys

from tests.support.repository import ROOT

_PAGES = ROOT / "docs" / "guides" / "engines"


def output_of(engine: str, target: str) -> str:
    """What the code of a page prints, against a server.

    Args:
        engine: the page's name.
        target: the server.

    """
    [snippet] = re.findall(r"```python\n(.*?)```", (_PAGES / f"{engine}.md").read_text(), re.DOTALL)
    code = snippet.replace("127.0.0.1:7433", target)
    return subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=100, check=True
    ).stdout
