"""Run the code on the pages about engines as written."""

import re
from pathlib import Path

from tests.integration.adapters.programs import code as code_of_pages
from tests.integration.adapters.programs import imports_of
from tests.support import forked
from tests.support.repository import ROOT

_PAGES = ROOT / "docs" / "guides" / "engines"


def output_of(engine: str, folder: Path, *, block: int = 0) -> str:
    """Run the code of a page, and return its output.

    Args:
        engine: the page's name.
        folder: the folder to use instead of the one on the page.
        block: which of the code blocks to run, counted from 0.

    """
    snippets = re.findall(r"```python\n(.*?)```", (_PAGES / f"{engine}.md").read_text(), re.DOTALL)
    code = snippets[block].replace("file:///tmp/checkpoints", folder.as_uri())
    done = forked.run(code_of_pages.__name__, code, modules=imports_of(engine), stderr=None, timeout=100)
    done.check_returncode()
    return done.stdout


def commands_of(engine: str) -> list[tuple[str, str]]:
    """Return the arguments of the commands `holdfast` of a page, each with the output that the page shows."""
    return re.findall(r"```console\n\$ holdfast (.*?)\n(.*?)```", (_PAGES / f"{engine}.md").read_text(), re.DOTALL)
