"""Each module of the protocol's packages is either exported by its package or protected from other packages."""

import importlib
import tomllib

import pytest

from tests.support.repository import ROOT

PACKAGES = ["format", "log", "payload", "checkpoints", "maintenance", "archive"]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_module_is_exported_or_protected(package):
    name = f"holdfast_server.protocol.{package}"
    folder = ROOT / "server" / "holdfast_server" / "protocol" / package
    modules = {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    protected = [
        module.removeprefix(f"{name}.")
        for contract in contracts
        for module in contract.get("protected_modules", ())
        if module.startswith(f"{name}.")
    ]
    assert sorted([*importlib.import_module(name).__all__, *protected]) == sorted(modules)
