"""The command `holdfast import langgraph`, with points before and after each write to Holdfast."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from holdfast import AsyncClient
from holdfast.cli.main import main

from tests.integration.adapters.killing import point


def stopping(method: Any, name: str) -> Any:
    """Return a method with a point before and after it."""

    async def call(*arguments: Any, **options: Any) -> Any:
        point(f"before {name}")
        result = await method(*arguments, **options)
        point(f"after {name}")
        return result

    return call


if __name__ == "__main__":
    target, result = sys.argv[1:]
    for name in ("save", "attach"):
        setattr(AsyncClient, name, stopping(getattr(AsyncClient, name), name))
    source, namespace = os.environ["HOLDFAST_TEST_SOURCE"], os.environ["HOLDFAST_TEST_NAMESPACE"]
    try:
        main(["import", "langgraph", source, "--namespace", namespace, "--target", target, "--json"])
    except SystemExit as end:
        if end.code:
            raise
    Path(result).write_text(json.dumps("imported"))
