"""The layout of the tests: a module of tests is run, and never imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.repository import ROOT


def _imported(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_no_module_imports_a_module_of_tests_or_a_conftest():
    found = {
        f"{module.relative_to(ROOT)} imports {name}"
        for folder in ("tests", "benchmarks", "examples")
        for module in (ROOT / folder).rglob("*.py")
        for name in _imported(module)
        if name.startswith("tests.") and any(part == "conftest" or part.startswith("test_") for part in name.split("."))
    }
    assert found == set()
